"""Reconciles books, payments, refunds, processor and audit trail, and names each discrepancy; and
names what has waited for too long.

For operators, after an incident or a restore. It reads everything and changes nothing.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta

import msgspec

from remit.domain.ids import is_id
from remit.domain.ledger import merchant_account, processor_account, suspense_account
from remit.domain.operation import Operation, OperationState
from remit.domain.payment import State
from remit.domain.refund import RefundState
from remit.oversight.audit.verification import TamperFound, verify_archived
from remit.ports.app import App
from remit.ports.processor import ProcessorBalance, SettlementLine
from remit.ports.store import BookedPayment


class Discrepancy(msgspec.Struct, frozen=True, kw_only=True):
    """One record that does not agree with the others: the check, the record, the problem."""

    check: str
    record: str
    problem: str

    @property
    def next_step(self) -> str:
        """What a person does about it."""
        return NEXT_STEPS[self.check]


NEXT_STEPS: Mapping[str, str] = {
    "ledger": "compare with the last backup; correct it by a new ledger transaction",
    "links": "compare with the last backup: the rows were changed by other means",
    "refunds": "compare `remit payments show` with the processor's refunds",
    "suspense": "give the money back at the processor, or settle it with the merchant",
    "processor": "the processor's statement decides: refund or record the difference",
    "authorization": "void what is left at the processor, or capture it with the merchant",
    "settlement": "find who did it at the processor: give it back, or record it with the merchant",
    "audit": "leave the bucket as it is, and compare it with a backup",
}


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What has waited for too long, since when, and what a person does about it."""

    kind: str
    record: str
    since: datetime | None = None
    next_step: str


OVERDUE = timedelta(minutes=15)
"""How long work may wait for a worker, and a message for its topic."""

MOST_WAITING = 1_000


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
        for discrepancy in _ledger_discrepancies(booked):
            yield discrepancy
        async for discrepancy in _payment_discrepancies(app, booked):
            yield discrepancy
        report_progress()
    async for discrepancy in _settlement_discrepancies(app):
        yield discrepancy
    trail = await verify_archived(app)
    if isinstance(trail, TamperFound):
        yield Discrepancy(check="audit", record=trail.key, problem=trail.problem)


async def find_waiting(app: App) -> AsyncIterator[Waiting]:
    """Yields what waits for a person, and what should not wait any more: operations, the oldest
    message, dead letters. All money can be accounted for meanwhile.
    """
    reader = app.database.reader
    overdue_at = app.clock() - OVERDUE
    for operation in await reader.open_operations(MOST_WAITING, needs_decision=True):
        yield Waiting(
            kind="decision",
            record=operation.id,
            since=operation.sent_at or operation.created_at,
            next_step=f"remit operations show {operation.id}",
        )
    for operation in await reader.due_operations(overdue_at, MOST_WAITING):
        yield Waiting(
            kind="operation",
            record=operation.id,
            since=operation.due_at,
            next_step="see that a worker runs: none has taken it up",
        )
    oldest = await app.delivery.outbox.oldest_created_at()
    if oldest is not None and oldest <= overdue_at:
        yield Waiting(
            kind="message",
            record="the oldest one",
            since=oldest,
            next_step="see that a worker runs, and whether its log names a topic that refuses",
        )
    if count := await app.delivery.failed.count_dead_letters():
        yield Waiting(kind="dead letters", record=str(count), next_step="remit failed list")


def _ledger_discrepancies(booked: BookedPayment) -> list[Discrepancy]:
    """Postings of one payment on an account or in a currency that is not its own, or in amounts
    that are not the payment's.
    """
    payment = booked.payment
    processors = booked.processors | {payment.processor}
    accounts = {processor_account(name, payment.mode) for name in processors if name is not None}
    accounts |= {
        merchant_account(payment.merchant_id, payment.mode),
        suspense_account(payment.mode),
    }
    problems = [
        f"{balance.amount_minor} {balance.currency} (minor units) is booked on {balance.account}, "
        "which is not the payment's"
        for balance in booked.balances
        if balance.amount_minor
        and (balance.account not in accounts or balance.currency != payment.currency)
    ]
    kept_minor = payment.captured_minor - booked.refunds_minor
    if booked.owed_minor != kept_minor:
        problems.append(
            f"the books hold {booked.owed_minor} and the payment {kept_minor} "
            f"{payment.currency} (minor units)"
        )
    return [Discrepancy(check="ledger", record=payment.id, problem=p) for p in problems]


async def _payment_discrepancies(app: App, booked: BookedPayment) -> AsyncIterator[Discrepancy]:
    payment = booked.payment
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
    if booked.has_open_operation:
        return  # The processor may already have done it.
    suspense_minor = -booked.booked_minor(suspense_account(payment.mode))
    if suspense_minor:
        yield Discrepancy(
            check="suspense",
            record=payment.id,
            problem=f"{suspense_minor} {payment.currency} (minor units) is in suspense",
        )
    held_minor = payment.captured_minor - booked.refunds_minor + suspense_minor
    at_processor = await app.processor.balance(payment.id) or ProcessorBalance(held_minor=0)
    if at_processor.held_minor != held_minor:
        yield Discrepancy(
            check="processor",
            record=payment.id,
            problem=f"the processor holds {at_processor.held_minor} and the books {held_minor} "
            f"{payment.currency} (minor units)",
        )
    is_authorized = payment.state is State.AUTHORIZED
    left_minor = payment.authorized_minor - payment.captured_minor if is_authorized else 0
    if at_processor.authorized_minor != left_minor:
        yield Discrepancy(
            check="authorization",
            record=payment.id,
            problem=f"{at_processor.authorized_minor} {payment.currency} (minor units) is "
            f"authorized at the processor and not captured; the payment is {payment.state}, and "
            f"{left_minor} of it is left to capture",
        )


async def _settlement_discrepancies(app: App) -> AsyncIterator[Discrepancy]:
    """What moved at the processor, and that no operation of ours did so."""
    async for line in app.processor.settlement():
        is_ours = line.operation_id is not None and is_id(line.operation_id)
        operation = await app.store.operation(line.operation_id or "") if is_ours else None
        moved = f"{line.operation} of {line.amount_minor} {line.currency or ''}".rstrip()
        if operation is None:
            problem = f"the processor did a {moved} (minor units), and no operation did so"
        elif operation.is_open or (_moved(operation) and _is_same(operation, line)):
            continue
        else:
            problem = (
                f"the processor did a {moved} (minor units); our operation is a "
                f"{operation.kind} of {operation.amount_minor} {operation.currency} and "
                f"{operation.state}"
            )
        yield Discrepancy(check="settlement", record=line.reference, problem=problem)


def _moved(operation: Operation) -> bool:
    """Whether the operation is known to have moved money, whatever became of that."""
    states = (OperationState.SUCCEEDED, OperationState.REVERSED)
    return operation.state in states or operation.is_orphan


def _is_same(operation: Operation, line: SettlementLine) -> bool:
    ours = (operation.kind, operation.amount_minor, operation.currency)
    return ours == (line.operation, line.amount_minor, line.currency or operation.currency)
