"""A payment: its states, the transitions between them, and what a processor's result changes.

Every change makes a new `Payment` value with the next version. The store rejects a version that
was not made from the one it holds. An operation at a processor has two changes: the claim moves
the payment to `unknown` before the processor is called, and the result moves it on. If the
service dies in between, the stored payment says that its operation is pending.
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
"""The name of each state in notifications. It is Stripe's name, as under `/v1`."""

EVENTS: Mapping[State, str] = {
    State.VALIDATED: "payment_intent.created",
    State.AUTHORIZED: "payment_intent.amount_capturable_updated",
    State.CAPTURED: "payment_intent.succeeded",
    State.DECLINED: "payment_intent.payment_failed",
    State.UNKNOWN: "payment_intent.processing",
    State.CANCELED: "payment_intent.canceled",
}
"""The event that announces each state, by Stripe's name."""

for _names in (STATUS_NAMES, V1_STATUSES, EVENTS):
    if set(_names) != set(State):
        raise AssertionError("every state needs its name in each table")


class Operation(StrEnum):
    """What a processor can do with a payment."""

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
    """The processor did the operation. `reference` is the processor's own name for it."""

    reference: str


class Declined(msgspec.Struct, frozen=True, tag="declined"):
    """The processor declined the operation. `decline_code` is the issuer's reason, if any."""

    code: str
    message: str
    decline_code: str | None = None


ProcessorResult = Approved | Declined


class PendingOperation(msgspec.Struct, frozen=True, omit_defaults=True):
    """An operation at the processor whose result is not recorded yet.

    `key` is the processor's idempotency key: a second call under it does not do the operation
    twice. `previous_state` is the state to return to if the processor never received the
    instruction. `until` is the end of the lease of the process that called the processor. `queued`
    means that a worker took the step for a caller who was answered 202: it is queued again then.
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

    `refunded_minor` includes pending refunds, so that no amount is reserved twice.
    `encrypted_card` is the vault's ciphertext. It is present only while the card is still needed.
    `attempt` counts the processor's definite results. `due_at` is when the sweep takes it up.
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
        """The payment with `operation` pending, to be committed before the processor is called.

        Raises InvalidState if the state, or the amount left to capture, does not allow it.
        """
        if self.state not in ALLOWED_FROM[operation]:
            raise InvalidState(f"A payment that is {self.state} cannot take the step: {operation}.")
        amount_minor = self._amount_to_claim(operation, amount_minor)
        pending = PendingOperation(
            operation=operation,
            amount_minor=amount_minor,
            key=f"{self.id}-{self.attempt}",
            previous_state=self.state,
            until=now + lease,
            final=final,
            queued=queued,
        )
        return self._transition(State.UNKNOWN, pending=pending, due_at=pending.until)

    def _amount_to_claim(self, operation: Operation, amount_minor: int | None) -> int:
        if operation is Operation.CAPTURE:
            left_minor = self.authorized_minor - self.captured_minor
            capture_minor = left_minor if amount_minor is None else amount_minor
            if not 0 < capture_minor <= left_minor:
                left = f"{major_units(left_minor, self.currency)} {self.currency}"
                raise InvalidState(f"At most {left} is left to capture.")
            return capture_minor
        if operation is Operation.VOID and self.captured_minor:
            raise InvalidState(
                "Part of this payment is captured: it can be refunded, not canceled."
            )
        return self.amount_minor

    def extend_lease(self, *, until: datetime) -> "Payment":
        """The payment with the lease of its pending operation extended to `until`.

        A process commits this before it looks the operation up at the processor, so that no other
        process does the same at the same time.
        """
        pending = self._require_pending()
        return replace(
            self, version=self.version + 1, pending=replace(pending, until=until), due_at=until
        )

    def apply_result(self, result: ProcessorResult, *, now: datetime) -> "Payment":
        """The payment after `result` of its pending operation. Raises InvalidState without one."""
        pending = self._require_pending()
        if isinstance(result, Declined):
            if pending.operation in (Operation.CHARGE, Operation.AUTHORIZE):
                return self._end_step(State.DECLINED, failure=result, processed_at=now)
            return self._end_step(pending.previous_state, failure=result)
        match pending.operation:
            case Operation.CHARGE:
                return self._end_step(
                    State.CAPTURED,
                    authorized_minor=pending.amount_minor,
                    captured_minor=pending.amount_minor,
                    processor_reference=result.reference,
                    processed_at=now,
                )
            case Operation.AUTHORIZE:
                return self._end_step(
                    State.AUTHORIZED,
                    authorized_minor=pending.amount_minor,
                    processor_reference=result.reference,
                )
            case Operation.CAPTURE:
                captured_minor = self.captured_minor + pending.amount_minor
                is_last = pending.final or captured_minor == self.authorized_minor
                return self._end_step(
                    State.CAPTURED if is_last else State.AUTHORIZED,
                    captured_minor=captured_minor,
                    processed_at=now,
                )
            case Operation.VOID:
                return self._end_step(State.CANCELED)
            case Operation.REFUND:
                raise AssertionError("the result of a refund is applied to the refund")

    def postings_of_result(
        self, result: ProcessorResult, *, processor: str, transaction_id: str, now: datetime
    ) -> tuple[Posting, ...]:
        """The postings of `result` of the pending operation. Only a capture or a charge has any."""
        pending = self._require_pending()
        if isinstance(result, Declined) or pending.operation not in (
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
        """The payment as before its claim, once it is certain that the processor did nothing."""
        return self._transition(self._require_pending().previous_state, pending=None, due_at=due_at)

    def with_card(self, card: CardSummary, encrypted_card: str) -> "Payment":
        """The payment with another card, if it is declined or not processed yet.

        Raises InvalidState otherwise.
        """
        if self.state not in ALLOWED_FROM[Operation.CHARGE]:
            raise InvalidState(f"A payment that is {self.state} cannot take another card.")
        return replace(self, card=card, encrypted_card=encrypted_card)

    def cancel(self) -> "Payment":
        """The payment canceled without a call: the processor holds no money of it.

        Raises InvalidState if it may hold some.
        """
        if self.state not in ALLOWED_FROM[Operation.CHARGE]:
            raise InvalidState(f"A payment that is {self.state} cannot be canceled.")
        return self._end_step(State.CANCELED)

    def erase_card(self) -> "Payment":
        return replace(self, version=self.version + 1, encrypted_card=None, due_at=None)

    def reserve_refund(self, amount_minor: int) -> "Payment":
        """The payment with `amount_minor` reserved for a refund.

        Raises InvalidState if it is not captured, or if less than that is left to refund.
        """
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

    def _require_pending(self) -> PendingOperation:
        if self.pending is None:
            raise InvalidState(f"A payment that is {self.state} has no pending operation.")
        return self.pending

    def _end_step(self, to: State, **fields: object) -> "Payment":
        """A definite end of a step erases the card, and gives the next operation a new key."""
        return self._transition(
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

    def _transition(self, to: State, **fields: object) -> "Payment":
        if to not in TRANSITIONS[self.state]:
            raise InvalidState(f"A payment that is {self.state} cannot become {to}.")
        return replace(self, state=to, version=self.version + 1, **fields)
