"""Why a request is refused or a step fails, in the words of payments and not of HTTP.

    RemitError
    ├── InvalidRequest     a field is wrong: `param` names it
    ├── Unauthenticated    no key, or one that is unknown or revoked
    ├── LiveModeUnavailable   a live key, and no processor that moves real money
    ├── NotFound           no such object for this merchant
    ├── InvalidState       the payment's state does not allow the step
    ├── CardUnreadable     what was sealed does not open
    ├── ReferenceTaken     the merchant's own reference already names another payment
    ├── KeyInFlight        the same idempotency key is still being worked on
    ├── KeyReused          the same idempotency key came with a different request
    ├── RateLimited        the caller is over its rate
    └── Unavailable        a dependency is down; nothing was done; safe to retry
        └── ProcessorUnavailable   the processor refused before doing any work

`ProcessorTimeout` stands apart: it does not say that nothing was done.

Every error carries a stable `code` and a sentence for people. Neither holds card data.
The one table that turns these into statuses is `http/errors.py`.
"""

from typing import ClassVar


class RemitError(Exception):
    """The root. `code` is stable and machine-readable; `message` is one sentence for people."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequest(RemitError):
    """A field is wrong. `param` is its path (`card.number`), or None when the whole body is."""

    def __init__(self, message: str, *, param: str | None, code: str = "invalid") -> None:
        super().__init__(message)
        self.param = param
        self.reason = code


class Unauthenticated(RemitError):
    code = "api_key_invalid"


class LiveModeUnavailable(RemitError):
    """A live key was used where only the simulated processor is configured."""

    code = "live_mode_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "This is a live key, and only the simulated processor is configured, which moves no "
            "money: use a test key."
        )


class NotFound(RemitError):
    """No such object for this merchant. The message does not quote what was asked for."""

    code = "not_found"

    def __init__(self, kind: str, *, param: str | None = None) -> None:
        super().__init__(f"No such {kind}.")
        self.param = param


class InvalidState(RemitError):
    """The payment's state forbids the step. `retry_after_seconds` is set when it soon may not."""

    code = "payment_invalid_state"

    def __init__(self, message: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class CardUnreadable(RemitError):
    """What was sealed does not open: another key, another payment, or altered bytes."""

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
    """A dependency is down and nothing was done. Safe to retry with the same key."""

    code = "service_unavailable"


class ProcessorUnavailable(Unavailable):
    code = "processor_unavailable"


class ProcessorTimeout(RemitError):
    """No answer from the processor in time: the work may or may not have been done."""

    code = "processor_timeout"
