"""Errors: why a request is rejected or a step fails. They know nothing of HTTP.

    RemitError
    ├── InvalidRequest     a field is wrong: `param` names it
    ├── Unauthenticated    there is no API key, or it is unknown or revoked
    ├── LiveModeUnavailable   the key is live, and no processor moves real money
    ├── NotFound           the merchant has no such object
    ├── InvalidState       the payment's state does not allow the step
    ├── CardUnreadable     the encrypted card cannot be decrypted
    ├── ReferenceTaken     the merchant's own reference already names another payment
    ├── KeyInFlight        the first request under the idempotency key is still in progress
    ├── KeyReused          the idempotency key was first used with a different request
    ├── RateLimited        the caller is over its rate
    ├── ResultUnknown      the database failed when the step may have been taken
    ├── ProcessorTimeout   the processor did not answer: the operation is done or not done
    └── Unavailable        a dependency is down, nothing was done, and a retry is safe
        ├── ConnectionLost         the call was sent and its response was lost: it may be done
        ├── NotAllSent             a queue or topic took some of the messages alone
        └── ProcessorUnavailable   the processor was not reached, or did nothing

Every error has a stable `code` and one sentence for people. Neither holds card data.
`http/errors.py` is the table of their statuses.
"""

from typing import ClassVar


class RemitError(Exception):
    """The root. `code` is stable, for programs. `message` is one sentence, for people."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequest(RemitError):
    """A field is wrong. `param` is its path (`card.number`), or None for the body as a whole."""

    def __init__(self, message: str, *, param: str | None, code: str = "invalid") -> None:
        super().__init__(message)
        self.param = param
        self.reason = code


class Unauthenticated(RemitError):
    code = "api_key_invalid"


class LiveModeUnavailable(RemitError):
    """A live key was used where no processor takes live payments."""

    code = "live_mode_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "This is a live key, and only the simulated processor is configured, which moves no "
            "money: use a test key."
        )


class NotFound(RemitError):
    """The merchant has no such object. The message does not quote the id."""

    code = "not_found"

    def __init__(self, kind: str, *, param: str | None = None) -> None:
        super().__init__(f"No such {kind}.")
        self.param = param


class InvalidState(RemitError):
    """The payment's state does not allow the step. `retry_after_seconds` is set where the state is
    about to change.
    """

    code = "payment_invalid_state"

    def __init__(self, message: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class CardUnreadable(RemitError):
    """The ciphertext was made with another key or for another payment, or was altered."""

    code = "card_unreadable"


class ReferenceTaken(RemitError):
    code = "payment_id_taken"


class KeyInFlight(RemitError):
    code = "idempotency_key_in_use"
    retry_after_seconds: ClassVar[int] = 1


class KeyReused(RemitError):
    code = "idempotency_key_reused"


class RateLimited(RemitError):
    code = "rate_limit"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__("Too many requests for this key. Slow down and try again.")
        self.retry_after_seconds = retry_after_seconds


class Unavailable(RemitError):
    """A dependency is down and nothing was done. A retry with the same key is safe."""

    code = "service_unavailable"


class ConnectionLost(Unavailable):
    """The call was sent and no response came. A read did nothing; a write may be done."""


class NotAllSent(Unavailable):
    """A queue or topic took some messages and refused others, whose ids are `refused`."""

    def __init__(self, refused: frozenset[str]) -> None:
        super().__init__(f"{len(refused)} messages were not taken. Try again.")
        self.refused = refused


class ProcessorUnavailable(Unavailable):
    code = "processor_unavailable"


class ResultUnknown(RemitError):
    """The step may have been taken: the database failed when it was written. A worker finishes what
    was begun. The same request under the same key finds it, or takes the step.
    """

    code = "result_unknown"

    def __init__(self) -> None:
        super().__init__(
            "It is not known yet whether this was done. Send the same request again with the same "
            "Idempotency-Key, or look at the payment."
        )


class ProcessorTimeout(RemitError):
    """The processor did not answer in time. The operation may or may not have been done."""

    code = "processor_timeout"
