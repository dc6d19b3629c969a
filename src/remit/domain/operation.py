"""An operation: one thing that a processor is to do, from its instruction to its result.

    queued ──take──▶ sent ──record──▶ succeeded, declined
       ▲              │
       └───requeue────┤   certain that nothing of it has left us
                      └──▶ not_done   certain that nothing happened, and that nothing will

A sent operation may have reached the processor. It ends by a result alone, which sending the same
instruction again under the same key brings: absence at the processor proves nothing, because the
instruction can still be on its way. `docs/decisions/0003-operations-at-a-processor.md` has the
rules and the reasons.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from remit.domain.caller import Caller, KeyScope
from remit.domain.errors import InvalidState


class OperationKind(StrEnum):
    """What a processor can do with a payment."""

    CHARGE = "charge"
    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"


NEEDS_CARD = frozenset({OperationKind.CHARGE, OperationKind.AUTHORIZE})


class Approved(msgspec.Struct, frozen=True, tag="approved"):
    """The processor did the operation. `reference` is the processor's own name for it."""

    reference: str


class Declined(msgspec.Struct, frozen=True, tag="declined"):
    """The processor declined the operation. `decline_code` is the issuer's reason, if any."""

    code: str
    message: str
    decline_code: str | None = None


ProcessorResult = Approved | Declined


class OperationState(StrEnum):
    QUEUED = "queued"
    SENT = "sent"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    NOT_DONE = "not_done"


OPEN = frozenset({OperationState.QUEUED, OperationState.SENT})


class Operation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One operation at a processor. Its `id` is its idempotency key there, for this instruction
    and no other, for ever.

    `caller` and `action` name the request that asked for it, and `scope` and `fingerprint` that
    request's idempotency key: whoever records the result completes the key's record. `processes`
    counts those that may have sent the instruction since it was last certain that it has not left
    us. `leased_until` keeps two processes from calling at once, and decides nothing else. `due_at`
    is when the sweep takes the operation up.
    """

    id: str
    kind: OperationKind
    payment_id: str
    processor: str
    amount_minor: int
    currency: str
    created_at: datetime
    caller: Caller
    action: str
    final: bool = True
    refund_id: str | None = None
    scope: KeyScope | None = None
    fingerprint: str = ""
    state: OperationState = OperationState.SENT
    version: int = 1
    attempts: int = 0
    processes: int = 0
    leased_until: datetime | None = None
    expires_at: datetime | None = None
    due_at: datetime | None = None
    result: ProcessorResult | None = None

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    def has_expired(self, now: datetime) -> bool:
        """Whether it was queued for too long. Of a sent one nobody can say that."""
        return (
            self.state is OperationState.QUEUED
            and self.expires_at is not None
            and self.expires_at <= now
        )

    def is_leased(self, now: datetime) -> bool:
        return self.leased_until is not None and self.leased_until > now

    def take(self, *, until: datetime) -> "Operation":
        """The operation about to be sent by one more process, which has it leased until `until`.

        This is committed before the processor is called. Raises InvalidState if it has ended.
        """
        self._require_open()
        was_queued = self.state is OperationState.QUEUED
        return self._next(
            state=OperationState.SENT,
            attempts=self.attempts + 1,
            processes=1 if was_queued else self.processes + 1,
            leased_until=until,
            due_at=until,
        )

    def is_certainly_with(self, sender: "Operation") -> bool:
        """Whether the process that took the operation as `sender` is the only one that may have
        sent it, so that nothing has left us if nothing has left that process.
        """
        return (self.state, self.attempts, self.processes) == (
            OperationState.SENT,
            sender.attempts,
            1,
        )

    def requeue(self, *, due_at: datetime) -> "Operation":
        """The operation queued again. Only for the one process that may have sent it and did not.

        Its message takes it up again. The sweep does at `due_at`, in case the message was handled
        while another process had the operation.
        """
        self._require_open()
        return self._next(
            state=OperationState.QUEUED, processes=0, leased_until=None, due_at=due_at
        )

    def wait(self, *, until: datetime) -> "Operation":
        """The operation without a result, to be sent again after `until`."""
        self._require_open()
        return self._next(leased_until=until, due_at=until)

    def postpone(self, *, until: datetime) -> "Operation":
        """The operation for which a worker was sent a message: the sweep waits until `until`."""
        self._require_open()
        return self._next(due_at=until)

    def end(self, result: ProcessorResult | None) -> "Operation":
        """The operation with its result, or with none if it is certain that nothing happened."""
        self._require_open()
        return self._next(
            state=_STATE_AFTER[type(result)], result=result, leased_until=None, due_at=None
        )

    def _require_open(self) -> None:
        if not self.is_open:
            raise InvalidState(f"An operation that is {self.state} cannot change.")

    def _next(self, **fields: object) -> "Operation":
        return replace(self, version=self.version + 1, **fields)


_STATE_AFTER: Mapping[type, OperationState] = {
    Approved: OperationState.SUCCEEDED,
    Declined: OperationState.DECLINED,
    type(None): OperationState.NOT_DONE,
}
