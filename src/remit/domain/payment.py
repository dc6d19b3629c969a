"""A payment: its states, the transitions between them, and what a processor's result changes.

Every change makes a new `Payment` value with the next version. The store rejects a version that
was not made from the one it holds. An operation at a processor (`domain/operation.py`) has two
changes: the claim moves the payment to `unknown` before the processor is called, and the result
moves it on. If the service dies in between, the stored payment says that its operation is pending.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from remit.domain.caller import Caller, Mode
from remit.domain.card import CardSummary
from remit.domain.errors import InvalidState
from remit.domain.ledger import (
    Posting,
    merchant_account,
    processor_account,
    suspense_account,
    transfer,
)
from remit.domain.money import Money, major_units
from remit.domain.operation import (
    NEEDS_CARD,
    Approved,
    Declined,
    NextAction,
    NotDone,
    Operation,
    OperationKind,
    ProcessorResult,
    Reversed,
)


class State(StrEnum):
    VALIDATED = "validated"
    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    DECLINED = "declined"
    UNKNOWN = "unknown"
    REQUIRES_ACTION = "requires_action"
    CANCELED = "canceled"


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.VALIDATED: frozenset(
        {State.AUTHORIZED, State.CAPTURED, State.DECLINED, State.UNKNOWN, State.CANCELED}
    ),
    State.AUTHORIZED: frozenset({State.CAPTURED, State.UNKNOWN, State.CANCELED}),
    # A capture or charge can fail afterwards.
    State.CAPTURED: frozenset({State.AUTHORIZED, State.DECLINED}),
    State.DECLINED: frozenset(
        {State.AUTHORIZED, State.CAPTURED, State.DECLINED, State.UNKNOWN, State.CANCELED}
    ),
    State.UNKNOWN: frozenset(State),
    State.REQUIRES_ACTION: frozenset(
        {State.AUTHORIZED, State.CAPTURED, State.DECLINED, State.CANCELED}
    ),
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
    State.REQUIRES_ACTION: "requires_action",
    State.CANCELED: "canceled",
}
"""The name of each state on the two-step endpoints, on the command line and in tables."""

V1_STATUSES: Mapping[State, str] = {
    State.VALIDATED: "requires_confirmation",
    State.AUTHORIZED: "requires_capture",
    State.CAPTURED: "succeeded",
    State.DECLINED: "requires_payment_method",
    State.UNKNOWN: "processing",
    State.REQUIRES_ACTION: "requires_action",
    State.CANCELED: "canceled",
}
"""The name of each state in notifications. It is Stripe's name, as under `/v1`."""

EVENTS: Mapping[State, str] = {
    State.VALIDATED: "payment_intent.created",
    State.AUTHORIZED: "payment_intent.amount_capturable_updated",
    State.CAPTURED: "payment_intent.succeeded",
    State.DECLINED: "payment_intent.payment_failed",
    State.UNKNOWN: "payment_intent.processing",
    State.REQUIRES_ACTION: "payment_intent.requires_action",
    State.CANCELED: "payment_intent.canceled",
}
"""The event that announces each state, by Stripe's name."""

for _names in (STATUS_NAMES, V1_STATUSES, EVENTS):
    if set(_names) != set(State):
        raise AssertionError("every state needs its name in each table")


ALLOWED_FROM: Mapping[OperationKind, frozenset[State]] = {
    OperationKind.CHARGE: frozenset({State.VALIDATED, State.DECLINED}),
    OperationKind.AUTHORIZE: frozenset({State.VALIDATED, State.DECLINED}),
    OperationKind.CAPTURE: frozenset({State.AUTHORIZED}),
    OperationKind.VOID: frozenset({State.AUTHORIZED}),
    OperationKind.REFUND: frozenset({State.CAPTURED}),
}
if set(ALLOWED_FROM) != set(OperationKind):
    raise AssertionError("every operation needs its row in ALLOWED_FROM")


class PendingOperation(msgspec.Struct, frozen=True):
    """The operation that holds the payment until its result is recorded, and the state to return to
    if it is certain that nothing happened. A cancel by `canceled_by` came meanwhile: it is done
    once the result is known.
    """

    operation_id: str
    kind: OperationKind
    previous_state: State
    canceled_by: Caller | None = None


class Payment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One payment of one merchant. Amounts are minor units of `currency`.

    `refunded_minor` includes pending refunds, so that no amount is reserved twice.
    `encrypted_card` is the vault's ciphertext. It is present only while the card is still needed.
    `due_at` is when the sweep erases it. `next_action` is what a pending operation waits for the
    payer to do. `processor` approved it and has its money: every
    later operation goes there, and knows the payment by `processor_reference`.
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
    customer_id: str | None = None
    reference: str | None = None
    metadata: dict[str, str] | None = None
    card: CardSummary | None = None
    encrypted_card: str | None = None
    pending: PendingOperation | None = None
    next_action: NextAction | None = None
    authorized_minor: int = 0
    captured_minor: int = 0
    refunded_minor: int = 0
    failure: Declined | None = None
    processor: str | None = None
    processor_reference: str | None = None
    processed_at: datetime | None = None
    due_at: datetime | None = None

    @property
    def refundable_minor(self) -> int:
        return self.captured_minor - self.refunded_minor

    def amount_of(self, kind: OperationKind, amount_minor: int | None = None) -> int:
        """The amount that an operation of this kind moves: `amount_minor`, or all that it can.

        Raises InvalidState if the state, or the amount left to capture, does not allow it.
        """
        if self.state not in ALLOWED_FROM[kind]:
            raise InvalidState(f"A payment that is {self.state} cannot take the step: {kind}.")
        if kind is OperationKind.CAPTURE:
            left_minor = self.authorized_minor - self.captured_minor
            capture_minor = left_minor if amount_minor is None else amount_minor
            if not 0 < capture_minor <= left_minor:
                left = f"{major_units(left_minor, self.currency)} {self.currency}"
                raise InvalidState(f"At most {left} is left to capture.")
            return capture_minor
        if kind is OperationKind.VOID:
            return self.authorized_minor - self.captured_minor
        return self.amount_minor

    def claim(self, operation: Operation) -> "Payment":
        """The payment with `operation` pending, to be committed before the processor is called.

        Raises InvalidState if the state does not allow it.
        """
        self.amount_of(operation.kind, operation.amount_minor)
        pending = PendingOperation(operation.id, operation.kind, self.state)
        return self._transition(State.UNKNOWN, pending=pending)

    def require_action(self, operation: Operation, action: NextAction) -> "Payment":
        """The payment whose payer has to act before its pending operation has a result. The
        processor has the card by then.
        """
        self._require_pending(operation)
        return self._transition(
            State.REQUIRES_ACTION, next_action=action, encrypted_card=None, due_at=None
        )

    def apply_result(
        self, operation: Operation, result: ProcessorResult, *, now: datetime
    ) -> "Payment":
        """The payment after `result` of its pending operation. Raises InvalidState if another
        operation is pending, or none.
        """
        pending = self._require_pending(operation)
        if pending.canceled_by is not None and not isinstance(result, Approved):
            return self._end_step(State.CANCELED)
        if isinstance(result, NotDone):
            return self._transition(pending.previous_state, pending=None)
        if isinstance(result, Declined):
            if operation.kind in (OperationKind.CHARGE, OperationKind.AUTHORIZE):
                return self._end_step(State.DECLINED, failure=result, processed_at=now)
            return self._end_step(pending.previous_state, failure=result)
        match operation.kind:
            case OperationKind.CHARGE:
                return self._end_step(
                    State.CAPTURED,
                    authorized_minor=operation.amount_minor,
                    captured_minor=operation.amount_minor,
                    processor=operation.processor,
                    processor_reference=result.reference,
                    processed_at=now,
                )
            case OperationKind.AUTHORIZE:
                return self._end_step(
                    State.AUTHORIZED,
                    authorized_minor=operation.amount_minor,
                    processor=operation.processor,
                    processor_reference=result.reference,
                )
            case OperationKind.CAPTURE:
                captured_minor = self.captured_minor + operation.amount_minor
                is_last = operation.final or captured_minor == self.authorized_minor
                return self._end_step(
                    State.CAPTURED if is_last else State.AUTHORIZED,
                    captured_minor=captured_minor,
                    processed_at=now,
                )
            case OperationKind.VOID:
                return self._end_step(State.CAPTURED if self.captured_minor else State.CANCELED)
            case OperationKind.REFUND:
                raise AssertionError("the result of a refund is applied to the refund")

    def reverse(self, operation: Operation, reversal: Reversed) -> "Payment":
        """The payment after the capture or charge that `operation` made has failed.

        Raises InvalidState if some of that money was refunded, or if `operation` took none.
        """
        captured_minor = self.captured_minor - operation.amount_minor
        takes_money = operation.kind in (OperationKind.CHARGE, OperationKind.CAPTURE)
        if not takes_money or captured_minor < self.refunded_minor:
            raise InvalidState("What was captured is not there any more.")
        failure = Declined(reversal.code, reversal.message)
        if operation.kind is OperationKind.CHARGE:
            return self._end_step(
                State.DECLINED, authorized_minor=0, captured_minor=0, failure=failure
            )
        state = self.state if self.pending is not None else State.AUTHORIZED
        return replace(
            self,
            state=state,
            version=self.version + 1,
            captured_minor=captured_minor,
            failure=failure,
        )

    def with_card(self, card: CardSummary, encrypted_card: str, *, due_at: datetime) -> "Payment":
        """The payment with another card, to be erased at `due_at`, if it is declined or not
        processed yet.

        Raises InvalidState otherwise.
        """
        if self.state not in ALLOWED_FROM[OperationKind.CHARGE]:
            raise InvalidState(f"A payment that is {self.state} cannot take another card.")
        return replace(self, card=card, encrypted_card=encrypted_card, due_at=due_at)

    def cancel(self) -> "Payment":
        """The payment canceled without a call: the processor holds no money of it.

        Raises InvalidState if it may hold some.
        """
        if self.state not in ALLOWED_FROM[OperationKind.CHARGE]:
            raise InvalidState(f"A payment that is {self.state} cannot be canceled.")
        return self._end_step(State.CANCELED)

    def remember_cancel(self, caller: Caller) -> "Payment":
        """The payment to be canceled once its charge or authorization has a result: what that took
        is given back then.

        Raises InvalidState if neither is pending, or if a cancel is remembered already.
        """
        pending = self.pending
        if pending is None or pending.kind not in NEEDS_CARD or pending.canceled_by is not None:
            raise InvalidState(f"A payment that is {self.state} cannot be canceled.")
        return replace(self, version=self.version + 1, pending=replace(pending, canceled_by=caller))

    def cancel_queued(self, operation: Operation) -> "Payment":
        """The payment canceled with its operation, of which nothing has left us."""
        self._require_pending(operation)
        return self._end_step(State.CANCELED)

    def erase_card(self) -> "Payment":
        return replace(self, version=self.version + 1, encrypted_card=None, due_at=None)

    def reserve_refund(self, amount_minor: int) -> "Payment":
        """The payment with `amount_minor` reserved for a refund.

        Raises InvalidState if nothing of it is captured, if a step on it is in progress, or if less
        than that is left to refund.
        """
        is_captured = self.state is State.CAPTURED
        if not is_captured and not (self.state is State.AUTHORIZED and self.captured_minor):
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

    def awaits(self, operation: Operation) -> bool:
        """Whether the payment waits for this operation's result."""
        return self.pending is not None and self.pending.operation_id == operation.id

    def _require_pending(self, operation: Operation) -> PendingOperation:
        if self.pending is None or not self.awaits(operation):
            raise InvalidState(f"The operation {operation.id} is not pending on its payment.")
        return self.pending

    def _end_step(self, to: State, **fields: object) -> "Payment":
        """A definite end of a step erases the card."""
        return self._transition(
            to,
            **{
                "pending": None,
                "next_action": None,
                "encrypted_card": None,
                "due_at": None,
                "failure": None,
                **fields,
            },
        )

    def _transition(self, to: State, **fields: object) -> "Payment":
        if to not in TRANSITIONS[self.state]:
            raise InvalidState(f"A payment that is {self.state} cannot become {to}.")
        return replace(self, state=to, version=self.version + 1, **fields)


def postings_of(
    operation: Operation,
    payment: Payment,
    *,
    to_suspense: bool = False,
    is_reversal: bool = False,
    transaction_id: str,
    now: datetime,
) -> tuple[Posting, ...]:
    """The postings of an operation that the processor did, or of its reversal.

    The other side of the processor's account is the merchant's. It is the suspense account where
    the payment does not take the money (`to_suspense`), and for what compensates such money. An
    authorization and a void move no money and have no postings.
    """
    processor = processor_account(operation.processor, payment.mode)
    owner = merchant_account(payment.merchant_id, payment.mode)
    if to_suspense or operation.compensates is not None:
        owner = suspense_account(payment.mode)
    match operation.kind:
        case OperationKind.CHARGE | OperationKind.CAPTURE:
            debit, credit = processor, owner
        case OperationKind.REFUND:
            debit, credit = owner, processor
        case _:
            return ()
    if is_reversal:
        debit, credit = credit, debit
    return transfer(
        transaction_id=transaction_id,
        payment_id=payment.id,
        debit=debit,
        credit=credit,
        money=Money(operation.amount_minor, operation.currency),
        at=now,
    )
