"""An operation: one thing that a processor is to do, from its instruction to its result.

    queued ──take──▶ sent ──end──▶ succeeded ──reverse──▶ reversed
       ▲              │
       │              ├─────end──▶ declined
       └───requeue────┤
                      └─────end──▶ not_done   certain that nothing happened, and nothing will

A sent operation may have reached the processor, whose silence proves nothing: the instruction can
still be on its way. It ends by a result alone, which is brought by the same instruction sent again
under the same key, by a read, a fence or a notice of the processor, or by a person's decision.
`docs/decisions/0003-operations-at-a-processor.md` has the rules and the reasons.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
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


class NotDone(msgspec.Struct, frozen=True, tag="not_done"):
    """It is certain that nothing happened, and that nothing will."""


class NextAction(msgspec.Struct, frozen=True):
    """What the payer has to do, as in 3-D Secure: act at `url`, before `expires_at`."""

    url: str
    expires_at: datetime


class Received(msgspec.Struct, frozen=True, tag="received"):
    """The processor has the instruction, and says later what became of it. No result yet.

    With `next_action` it waits for the payer, and goes on by itself once the payer has acted.
    """

    reference: str
    next_action: NextAction | None = None


class Reversed(msgspec.Struct, frozen=True, tag="reversed"):
    """What the processor had done has failed afterwards, as a capture or a refund can days later.

    `code` and `message` are the processor's reason.
    """

    code: str
    message: str


ProcessorResult = Approved | Declined | NotDone
"""What ends an operation, for good unless it is reversed."""


class Proposal(msgspec.Struct, frozen=True):
    """What one person says became of an operation. It counts once a second person says the same."""

    by: str
    result: ProcessorResult


class OperationState(StrEnum):
    QUEUED = "queued"
    SENT = "sent"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    NOT_DONE = "not_done"
    REVERSED = "reversed"


OPEN = frozenset({OperationState.QUEUED, OperationState.SENT})


class Operation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One operation at a processor. Its `id` is its idempotency key there, for this instruction
    and no other, for ever.

    `caller` and `action` name the request that asked for it, and `scope` and `fingerprint` that
    request's idempotency key: whoever records the result completes the key's record. `processes`
    counts those that may have sent the instruction since it was last certain that it has not left
    us, and `sent_at` is when the first of them took it. `reference` is the processor's name for the
    operation, known before its result where the processor prepares operations or receives them for
    later. `action_expires_at` is until when the payer can act. `leased_until` keeps two processes
    from calling at once, and decides nothing else. `due_at` is when the sweep takes the operation
    up. `late_result` contradicts `result` and came after it. An operation that `compensates`
    another gives back what that one did too late. For one that `is_promised` no caller repeats its
    request: it is sent until it has a result or expires.
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
    compensates: str | None = None
    is_promised: bool = False
    scope: KeyScope | None = None
    fingerprint: str = ""
    state: OperationState = OperationState.SENT
    version: int = 1
    attempts: int = 0
    processes: int = 0
    sent_at: datetime | None = None
    reference: str | None = None
    is_received: bool = False
    action_expires_at: datetime | None = None
    leased_until: datetime | None = None
    expires_at: datetime | None = None
    due_at: datetime | None = None
    needs_decision: bool = False
    proposal: Proposal | None = None
    result: ProcessorResult | None = None
    late_result: ProcessorResult | None = None
    reversal: Reversed | None = None

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    def has_expired(self, now: datetime) -> bool:
        """Whether it was queued for too long. A sent one may be done already, and never expires."""
        return (
            self.state is OperationState.QUEUED
            and self.expires_at is not None
            and self.expires_at <= now
        )

    def is_leased(self, now: datetime) -> bool:
        return self.leased_until is not None and self.leased_until > now

    def can_be_sent(self, now: datetime, key_lifetime: timedelta | None) -> bool:
        """Whether its key is young enough at the processor to send the instruction once more.

        Half of the key's lifetime is left for the instruction's way and for clocks that are apart.
        """
        if self.sent_at is None or key_lifetime is None:
            return True
        return now < self.sent_at + key_lifetime / 2

    def take(self, *, now: datetime, until: datetime) -> "Operation":
        """The operation about to be sent, or asked after, by one more process, which has it leased
        until `until`.

        This is committed before the processor is called. Raises InvalidState if it has ended.
        """
        self._require_open()
        is_first = self.state is OperationState.QUEUED
        return self._next(
            state=OperationState.SENT,
            attempts=self.attempts + 1,
            processes=1 if is_first else self.processes + 1,
            sent_at=now if is_first else self.sent_at,
            leased_until=until,
            due_at=until,
        )

    def prepare(self, reference: str) -> "Operation":
        """The operation that the processor has prepared as `reference`: it can be told to do it."""
        self._require_open()
        return self._next(reference=reference)

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
            state=OperationState.QUEUED,
            processes=0,
            sent_at=None,
            leased_until=None,
            due_at=due_at,
        )

    def receive(self, received: Received, *, until: datetime) -> "Operation":
        """The operation that the processor has and does later. It is asked after from `until` on,
        unless a notice comes first, however often its request is repeated.
        """
        self._require_open()
        return self._next(
            reference=received.reference,
            is_received=True,
            action_expires_at=received.next_action and received.next_action.expires_at,
            leased_until=until,
            due_at=until,
        )

    def awaits_payer(self, now: datetime) -> bool:
        """Whether the payer can still act."""
        return self.action_expires_at is not None and now < self.action_expires_at

    def give_up_payer(self, *, now: datetime) -> "Operation":
        """The operation whose payer is waited for no more: it is taken up at once."""
        self._require_open()
        return self._next(action_expires_at=now, leased_until=None, due_at=now)

    def wait(self, *, until: datetime) -> "Operation":
        """The operation without a result, to be taken up again after `until`."""
        self._require_open()
        return self._next(leased_until=until, due_at=until)

    def postpone(self, *, until: datetime) -> "Operation":
        """The operation for which a worker was sent a message: the sweep waits until `until`."""
        self._require_open()
        return self._next(due_at=until)

    def await_decision(self, *, until: datetime) -> "Operation":
        """The operation that a person has to decide, unless it ends after `until` by itself."""
        self._require_open()
        return self._next(needs_decision=True, leased_until=until, due_at=until)

    def propose(self, proposal: Proposal) -> "Operation":
        """The operation with what one person proposes as its result.

        Raises InvalidState unless it waits for a decision.
        """
        self._require_open()
        if not self.needs_decision:
            raise InvalidState("The operation still ends by itself: no decision is needed yet.")
        return self._next(proposal=proposal)

    def end(self, result: ProcessorResult) -> "Operation":
        """The operation with its result."""
        self._require_open()
        return self._next(
            state=_STATE_AFTER[type(result)],
            result=result,
            leased_until=None,
            due_at=None,
            needs_decision=False,
        )

    def reverse(self, reversal: Reversed) -> "Operation":
        """The operation that the processor did and that failed afterwards.

        The news of the failure can come before the news that it was done, which then changes
        nothing. Raises InvalidState for a second failure.
        """
        if self.state is OperationState.REVERSED:
            raise InvalidState("An operation that is reversed cannot fail again.")
        return self._next(
            state=OperationState.REVERSED,
            reversal=reversal,
            leased_until=None,
            due_at=None,
            needs_decision=False,
        )

    @property
    def is_orphan(self) -> bool:
        """Whether the processor did it after it had ended otherwise, so that no payment has it."""
        return isinstance(self.late_result, Approved)

    def contradicts(self, result: ProcessorResult) -> bool:
        """Whether `result` cannot be true if the recorded one is.

        That it was approved does not contradict that it was reversed later.
        """
        return isinstance(result, Approved) != (
            self.state in (OperationState.SUCCEEDED, OperationState.REVERSED)
        )

    def contradict(self, result: ProcessorResult) -> "Operation":
        """The ended operation with a result that came later and contradicts it."""
        if self.is_open:
            raise InvalidState("An operation that is open has no result to contradict.")
        return self._next(late_result=result)

    def _require_open(self) -> None:
        if not self.is_open:
            raise InvalidState(f"An operation that is {self.state} cannot change.")

    def _next(self, **fields: object) -> "Operation":
        return replace(self, version=self.version + 1, **fields)


_STATE_AFTER: Mapping[type, OperationState] = {
    Approved: OperationState.SUCCEEDED,
    Declined: OperationState.DECLINED,
    NotDone: OperationState.NOT_DONE,
}
