"""A payment, the states it can be in, and the only ways from one to the next.

Every change is a new `Payment` value with the next version; the store refuses a version that was
not made from what it holds. A step that asks the processor passes through `unknown` twice: the
claim moves the payment there before the question is sent, and the answer moves it on. Whatever
happens in between, what is stored says that we asked and do not know.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

import msgspec
from msgspec.structs import replace

from remit.domain.card import CardSummary
from remit.domain.errors import InvalidState
from remit.domain.ledger import Posting, merchant_account, processor_account, transfer
from remit.domain.money import Money, major_units

Mode = Literal["test", "live"]


class State(StrEnum):
    VALIDATED = "validated"
    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    DECLINED = "declined"
    UNKNOWN = "unknown"
    CANCELED = "canceled"


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.VALIDATED: frozenset(
        {State.AUTHORIZED, State.CAPTURED, State.DECLINED, State.UNKNOWN, State.CANCELED}
    ),
    State.AUTHORIZED: frozenset({State.CAPTURED, State.UNKNOWN, State.CANCELED}),
    State.CAPTURED: frozenset(),
    State.DECLINED: frozenset(
        {State.AUTHORIZED, State.CAPTURED, State.DECLINED, State.UNKNOWN, State.CANCELED}
    ),
    State.UNKNOWN: frozenset(State),
    State.CANCELED: frozenset(),
}
if set(TRANSITIONS) != set(State):
    raise AssertionError("every state needs its row in TRANSITIONS")


STATUS_NAMES: Mapping[State, str] = {
    State.VALIDATED: "validated",
    State.AUTHORIZED: "authorized",
    State.CAPTURED: "processed",
    State.DECLINED: "declined",
    State.UNKNOWN: "processing",
    State.CANCELED: "canceled",
}
"""The name of each state on the two-step endpoints, on the command line and in tables."""

V1_STATUSES: Mapping[State, str] = {
    State.VALIDATED: "requires_confirmation",
    State.AUTHORIZED: "requires_capture",
    State.CAPTURED: "succeeded",
    State.DECLINED: "requires_payment_method",
    State.UNKNOWN: "processing",
    State.CANCELED: "canceled",
}
"""The name of each state in notifications: Stripe's, as everything under `/v1` has it."""

EVENTS: Mapping[State, str] = {
    State.VALIDATED: "payment_intent.created",
    State.AUTHORIZED: "payment_intent.amount_capturable_updated",
    State.CAPTURED: "payment_intent.succeeded",
    State.DECLINED: "payment_intent.payment_failed",
    State.UNKNOWN: "payment_intent.processing",
    State.CANCELED: "payment_intent.canceled",
}
"""The event that tells of each state, by Stripe's name for it."""

for _names in (STATUS_NAMES, V1_STATUSES, EVENTS):
    if set(_names) != set(State):
        raise AssertionError("every state needs its name in each table")


class Operation(StrEnum):
    """What a processor can be asked to do with a payment."""

    CHARGE = "charge"
    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"


ALLOWED_FROM: Mapping[Operation, frozenset[State]] = {
    Operation.CHARGE: frozenset({State.VALIDATED, State.DECLINED}),
    Operation.AUTHORIZE: frozenset({State.VALIDATED, State.DECLINED}),
    Operation.CAPTURE: frozenset({State.AUTHORIZED}),
    Operation.VOID: frozenset({State.AUTHORIZED}),
    Operation.REFUND: frozenset({State.CAPTURED}),
}
if set(ALLOWED_FROM) != set(Operation):
    raise AssertionError("every operation needs its row in ALLOWED_FROM")


class Approved(msgspec.Struct, frozen=True, tag="approved"):
    """The processor did the work. `reference` is its own name for it."""

    reference: str


class Declined(msgspec.Struct, frozen=True, tag="declined"):
    """The processor refused the work. `decline_code` is the issuer's reason, where there is one."""

    code: str
    message: str
    decline_code: str | None = None


ProcessorResult = Approved | Declined


class PendingOperation(msgspec.Struct, frozen=True, omit_defaults=True):
    """A question that the processor has been, or is being, asked.

    `key` is stable: asking again under it can never do the work twice. `resume` is the state to
    return to if the processor never heard the question. Until `until`, whoever asked still owns it.
    `promised` is a question whose caller was told that it will be asked: it is asked again then.
    """

    operation: Operation
    amount_minor: int
    key: str
    previous_state: State
    until: datetime
    final: bool = True
    queued: bool = False


class Payment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One payment of one merchant. Amounts are minor units of `currency`.

    `refunded_minor` includes refunds still under way, so what is left to refund is never promised
    twice. `encrypted_card` is the vault's ciphertext, there only while the card is still needed.
    `attempt` counts the processor's definite answers. `due_at` is when a worker must next look.
    """

    id: str
    merchant_id: str
    mode: Mode
    amount_minor: int
    currency: str
    created_at: datetime
    fingerprint: str
    state: State = State.VALIDATED
    version: int = 1
    attempt: int = 0
    customer_id: str | None = None
    reference: str | None = None
    metadata: dict[str, str] | None = None
    card: CardSummary | None = None
    encrypted_card: str | None = None
    pending: PendingOperation | None = None
    authorized_minor: int = 0
    captured_minor: int = 0
    refunded_minor: int = 0
    failure: Declined | None = None
    processor_reference: str | None = None
    processed_at: datetime | None = None
    due_at: datetime | None = None

    @property
    def refundable_minor(self) -> int:
        return self.captured_minor - self.refunded_minor

    def claim(
        self,
        operation: Operation,
        *,
        now: datetime,
        lease: timedelta,
        amount_minor: int | None = None,
        final: bool = True,
        queued: bool = False,
    ) -> "Payment":
        """The payment with the question to the processor on record, before it is asked.

        Raises InvalidState where the state, or what is left to capture, does not allow it.
        """
        if self.state not in ALLOWED_FROM[operation]:
            raise InvalidState(f"A payment that is {self.state} cannot take the step: {operation}.")
        amount_minor = self._claimable(operation, amount_minor)
        pending = PendingOperation(
            operation=operation,
            amount_minor=amount_minor,
            key=f"{self.id}-{self.attempt}",
            previous_state=self.state,
            until=now + lease,
            final=final,
            queued=queued,
        )
        return self._move(State.UNKNOWN, pending=pending, due_at=pending.until)

    def _claimable(self, operation: Operation, amount_minor: int | None) -> int:
        if operation is Operation.CAPTURE:
            left = self.authorized_minor - self.captured_minor
            wanted = left if amount_minor is None else amount_minor
            if not 0 < wanted <= left:
                most = f"{major_units(left, self.currency)} {self.currency}"
                raise InvalidState(f"At most {most} is left to capture.")
            return wanted
        if operation is Operation.VOID and self.captured_minor:
            raise InvalidState(
                "Part of this payment is captured: it can be refunded, not canceled."
            )
        return self.amount_minor

    def extend_lease(self, *, until: datetime) -> "Payment":
        """The same question, owned until `until` by whoever now asks what became of it."""
        pending = self._open_operation()
        return replace(
            self, version=self.version + 1, pending=replace(pending, until=until), due_at=until
        )

    def apply_result(self, answer: ProcessorResult, *, now: datetime) -> "Payment":
        """The payment once the processor's answer to the pending question is known."""
        pending = self._open_operation()
        if isinstance(answer, Declined):
            if pending.operation in (Operation.CHARGE, Operation.AUTHORIZE):
                return self._finished(State.DECLINED, failure=answer, processed_at=now)
            return self._finished(pending.previous_state, failure=answer)
        match pending.operation:
            case Operation.CHARGE:
                return self._finished(
                    State.CAPTURED,
                    authorized_minor=pending.amount_minor,
                    captured_minor=pending.amount_minor,
                    processor_reference=answer.reference,
                    processed_at=now,
                )
            case Operation.AUTHORIZE:
                return self._finished(
                    State.AUTHORIZED,
                    authorized_minor=pending.amount_minor,
                    processor_reference=answer.reference,
                )
            case Operation.CAPTURE:
                captured_minor = self.captured_minor + pending.amount_minor
                done = pending.final or captured_minor == self.authorized_minor
                return self._finished(
                    State.CAPTURED if done else State.AUTHORIZED,
                    captured_minor=captured_minor,
                    processed_at=now,
                )
            case Operation.VOID:
                return self._finished(State.CANCELED)
            case Operation.REFUND:
                raise AssertionError("refunds settle on the refund, not on the payment")

    def postings_of_result(
        self, answer: ProcessorResult, *, processor: str, transaction_id: str, now: datetime
    ) -> tuple[Posting, ...]:
        """What the answer to the pending question moves in the books: captures do, nothing else."""
        pending = self._open_operation()
        if isinstance(answer, Declined) or pending.operation not in (
            Operation.CHARGE,
            Operation.CAPTURE,
        ):
            return ()
        return transfer(
            transaction_id=transaction_id,
            payment_id=self.id,
            debit=processor_account(processor, self.mode),
            credit=merchant_account(self.merchant_id, self.mode),
            money=Money(pending.amount_minor, self.currency),
            at=now,
        )

    def return_to_previous_state(self, *, due_at: datetime | None) -> "Payment":
        """The payment as before the question, once it is certain that nobody heard it."""
        return self._move(self._open_operation().previous_state, pending=None, due_at=due_at)

    def with_card(self, card: CardSummary, encrypted_card: str) -> "Payment":
        """A declined or not yet processed payment that will be tried with another card."""
        if self.state not in ALLOWED_FROM[Operation.CHARGE]:
            raise InvalidState(f"A payment that is {self.state} cannot take another card.")
        return replace(self, card=card, encrypted_card=encrypted_card)

    def cancel(self) -> "Payment":
        """Canceled without asking the processor, which has never been asked anything that holds."""
        if self.state not in ALLOWED_FROM[Operation.CHARGE]:
            raise InvalidState(f"A payment that is {self.state} cannot be canceled.")
        return self._finished(State.CANCELED)

    def erase_card(self) -> "Payment":
        return replace(self, version=self.version + 1, encrypted_card=None, due_at=None)

    def reserve_refund(self, amount_minor: int) -> "Payment":
        """The payment with `amount_minor` promised to a refund. Raises InvalidState."""
        if self.state is not State.CAPTURED:
            raise InvalidState(f"A payment that is {self.state} cannot be refunded.")
        if not 0 < amount_minor <= self.refundable_minor:
            left = major_units(self.refundable_minor, self.currency)
            raise InvalidState(f"At most {left} {self.currency} of this payment is left to refund.")
        return replace(
            self, version=self.version + 1, refunded_minor=self.refunded_minor + amount_minor
        )

    def release_refund(self, amount_minor: int) -> "Payment":
        return replace(
            self, version=self.version + 1, refunded_minor=self.refunded_minor - amount_minor
        )

    def _open_operation(self) -> PendingOperation:
        if self.pending is None:
            raise InvalidState(f"A payment that is {self.state} has no question open.")
        return self.pending

    def _finished(self, to: State, **fields: object) -> "Payment":
        """A definite end of a step: no card is needed and the next question gets a new key."""
        return self._move(
            to,
            **{
                "attempt": self.attempt + 1,
                "pending": None,
                "encrypted_card": None,
                "due_at": None,
                "failure": None,
                **fields,
            },
        )

    def _move(self, to: State, **fields: object) -> "Payment":
        if to not in TRANSITIONS[self.state]:
            raise InvalidState(f"A payment that is {self.state} cannot become {to}.")
        return replace(self, state=to, version=self.version + 1, **fields)


class RefundState(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


REFUND_EVENTS: Mapping[RefundState, str] = {
    RefundState.PENDING: "refund.created",
    RefundState.SUCCEEDED: "refund.updated",
    RefundState.FAILED: "refund.failed",
}
"""The event that tells of each state of a refund, by Stripe's name for it."""
if set(REFUND_EVENTS) != set(RefundState):
    raise AssertionError("every state of a refund needs its event")


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """Money on its way back. The processor knows it by `id`, which is also its stable key."""

    id: str
    payment_id: str
    merchant_id: str
    mode: Mode
    amount_minor: int
    currency: str
    created_at: datetime
    state: RefundState = RefundState.PENDING
    version: int = 1
    failure: Declined | None = None
    due_at: datetime | None = None

    def apply_result(self, answer: ProcessorResult) -> "Refund":
        self._require_pending()
        failure = answer if isinstance(answer, Declined) else None
        return replace(
            self,
            state=RefundState.FAILED if failure else RefundState.SUCCEEDED,
            version=self.version + 1,
            failure=failure,
            due_at=None,
        )

    def extend_lease(self, *, until: datetime) -> "Refund":
        self._require_pending()
        return replace(self, version=self.version + 1, due_at=until)

    def postings(
        self, *, processor: str, transaction_id: str, now: datetime
    ) -> tuple[Posting, ...]:
        return transfer(
            transaction_id=transaction_id,
            payment_id=self.payment_id,
            debit=merchant_account(self.merchant_id, self.mode),
            credit=processor_account(processor, self.mode),
            money=Money(self.amount_minor, self.currency),
            at=now,
        )

    def _require_pending(self) -> None:
        if self.state is not RefundState.PENDING:
            raise InvalidState(f"A refund that is {self.state} cannot change.")
