"""Prove that books, payments and processor agree, or name the first record that does not.

For operators, after an incident or a restore. Reads everything and changes nothing.
"""

from collections.abc import AsyncIterator, Callable

import msgspec

from remit.domain.payment import RefundState
from remit.oversight.audit import TamperFound, verify
from remit.ports.app import App
from remit.ports.store import BookedPayment


class Discrepancy(msgspec.Struct, frozen=True, kw_only=True):
    """One record that disagrees: which check, which record, and how."""

    check: str
    record: str
    problem: str


async def reconcile(
    app: App, seen: Callable[[], None] = lambda: None
) -> AsyncIterator[Discrepancy]:
    """Every disagreement, in the order of the checks. None means that all money is accounted for.

    Calls `seen` once for each payment, for whoever shows progress.
    """
    if (transaction_id := await app.database.books.unbalanced()) is not None:
        yield Discrepancy(
            check="ledger", record=transaction_id, problem="its postings do not sum to zero"
        )
    if (record := await app.database.books.orphaned()) is not None:
        yield Discrepancy(check="links", record=record, problem="what it belongs to is missing")
    async for examined in app.database.books.booked_payments():
        async for found in _examine_payment(app, examined):
            yield found
        seen()
    outcome = await verify(app.audit.bucket)
    if isinstance(outcome, TamperFound):
        yield Discrepancy(check="audit", record=outcome.key, problem=outcome.problem)
    elif (last := await app.database.books.last_segment()) > outcome.segments:
        yield Discrepancy(
            check="audit",
            record=f"segment {outcome.segments + 1}",
            problem=f"the trail ends here, but {last} segments were sealed",
        )


async def _examine_payment(app: App, examined: BookedPayment) -> AsyncIterator[Discrepancy]:
    payment = examined.payment
    kept_minor = payment.captured_minor - examined.refunds_minor
    if examined.booked_minor != kept_minor:
        yield Discrepancy(
            check="ledger",
            record=payment.id,
            problem=f"the books hold {examined.booked_minor} and the payment {kept_minor} "
            f"{payment.currency} (minor units)",
        )
    refunded = payment.refunded_minor or examined.refunds_minor
    refunds = await app.database.reader.refunds(payment.id) if refunded else []
    promised_minor = sum(
        refund.amount_minor for refund in refunds if refund.state is not RefundState.FAILED
    )
    if payment.refunded_minor != promised_minor:
        yield Discrepancy(
            check="refunds",
            record=payment.id,
            problem=f"its refunds come to {promised_minor} and the payment says "
            f"{payment.refunded_minor} {payment.currency} (minor units)",
        )
    if payment.pending is not None or promised_minor != examined.refunds_minor:
        return  # A question is open: the processor may rightly be ahead.
    at_processor = await app.processor.balance(payment.id)
    if (at_processor or 0) != kept_minor:
        yield Discrepancy(
            check="processor",
            record=payment.id,
            problem=f"the processor holds {at_processor or 0} and the payment {kept_minor} "
            f"{payment.currency} (minor units)",
        )
