"""A refund of a payment: its states, and what the processor's result changes."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from remit.domain.caller import Mode
from remit.domain.errors import InvalidState
from remit.domain.ledger import Posting, merchant_account, processor_account, transfer
from remit.domain.money import Money
from remit.domain.operation import Declined, ProcessorResult


class RefundState(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


REFUND_EVENTS: Mapping[RefundState, str] = {
    RefundState.PENDING: "refund.created",
    RefundState.SUCCEEDED: "refund.updated",
    RefundState.FAILED: "refund.failed",
}
"""The event that announces each state of a refund, by Stripe's name."""
if set(REFUND_EVENTS) != set(RefundState):
    raise AssertionError("every state of a refund needs its event")


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """One refund of a payment. Its operation says what the processor was asked for."""

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

    def apply_result(self, result: ProcessorResult) -> "Refund":
        """The refund after the processor's result. Raises InvalidState unless it is pending."""
        self._require_pending()
        failure = result if isinstance(result, Declined) else None
        return replace(
            self,
            state=RefundState.FAILED if failure else RefundState.SUCCEEDED,
            version=self.version + 1,
            failure=failure,
        )

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
