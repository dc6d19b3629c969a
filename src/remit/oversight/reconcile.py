"""Reconciles books, payments, refunds, processor and audit trail, and names each discrepancy.

For operators, after an incident or a restore. It reads everything and changes nothing.
"""

from collections.abc import AsyncIterator, Callable

import msgspec

from remit.domain.refund import RefundState
from remit.oversight.audit import TamperFound, verify_archived
from remit.ports.app import App
from remit.ports.store import BookedPayment


class Discrepancy(msgspec.Struct, frozen=True, kw_only=True):
    """One record that does not agree with the others: the check, the record, the problem."""

    check: str
    record: str
    problem: str


async def reconcile(
    app: App, report_progress: Callable[[], None] = lambda: None
) -> AsyncIterator[Discrepancy]:
    """Yields every discrepancy, in the order of the checks. Without one, all money is accounted
    for.

    Calls `report_progress` once for each payment.
    """
    books = app.database.books
    if (transaction_id := await books.find_unbalanced()) is not None:
        yield Discrepancy(
            check="ledger", record=transaction_id, problem="its postings do not sum to zero"
        )
    if (record := await books.find_orphan()) is not None:
        yield Discrepancy(check="links", record=record, problem="what it belongs to is missing")
    async for booked in books.booked_payments():
        async for discrepancy in _payment_discrepancies(app, booked):
            yield discrepancy
        report_progress()
    trail = await verify_archived(app)
    if isinstance(trail, TamperFound):
        yield Discrepancy(check="audit", record=trail.key, problem=trail.problem)


async def _payment_discrepancies(app: App, booked: BookedPayment) -> AsyncIterator[Discrepancy]:
    payment = booked.payment
    kept_minor = payment.captured_minor - booked.refunds_minor
    if booked.booked_minor != kept_minor:
        yield Discrepancy(
            check="ledger",
            record=payment.id,
            problem=f"the books hold {booked.booked_minor} and the payment {kept_minor} "
            f"{payment.currency} (minor units)",
        )
    has_refunds = payment.refunded_minor or booked.refunds_minor
    refunds = await app.database.reader.refunds(payment.id) if has_refunds else []
    reserved_minor = sum(
        refund.amount_minor for refund in refunds if refund.state is not RefundState.FAILED
    )
    if payment.refunded_minor != reserved_minor:
        yield Discrepancy(
            check="refunds",
            record=payment.id,
            problem=f"its refunds come to {reserved_minor} and the payment says "
            f"{payment.refunded_minor} {payment.currency} (minor units)",
        )
    if payment.pending is not None or reserved_minor != booked.refunds_minor:
        return  # An operation is pending: the processor may already have done it.
    at_processor = await app.processor.balance(payment.id)
    if (at_processor or 0) != kept_minor:
        yield Discrepancy(
            check="processor",
            record=payment.id,
            problem=f"the processor holds {at_processor or 0} and the payment {kept_minor} "
            f"{payment.currency} (minor units)",
        )
