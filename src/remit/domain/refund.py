"""A refund of a payment: its states, and what the processor's result changes."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from remit.domain.caller import Mode
from remit.domain.errors import InvalidState
from remit.domain.operation import Approved, Declined, Reversed


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

    def apply_result(self, result: Approved | Declined) -> "Refund":
        """The refund after the processor's result. Raises InvalidState unless it is pending."""
        self._require_pending()
        failure = result if isinstance(result, Declined) else None
        return replace(
            self,
            state=RefundState.FAILED if failure else RefundState.SUCCEEDED,
            version=self.version + 1,
            failure=failure,
        )

    def reverse(self, reversal: Reversed) -> "Refund":
        """The refund after it has failed at the processor, which had done it.

        Raises InvalidState unless it had succeeded.
        """
        if self.state is not RefundState.SUCCEEDED:
            raise InvalidState(f"A refund that is {self.state} cannot fail afterwards.")
        failure = Declined(reversal.code, reversal.message)
        return replace(self, state=RefundState.FAILED, version=self.version + 1, failure=failure)

    def _require_pending(self) -> None:
        if self.state is not RefundState.PENDING:
            raise InvalidState(f"A refund that is {self.state} cannot change.")
