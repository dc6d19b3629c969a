"""Steps of unit tests: payments in each state, and reads of what the service in memory stored."""

from msgspec.structs import replace

from remit.adapters.memory.queue import MemoryQueue
from remit.adapters.memory.services import MemoryBucket, MemoryPublisher
from remit.adapters.memory.store import MemoryStore
from remit.delivery.relay import relay
from remit.delivery.work_messages import handle_batch
from remit.domain.errors import InvalidRequest, RemitError
from remit.domain.payment import Payment
from remit.domain.refund import Refund
from remit.oversight.audit import AuditArchiver
from remit.payments.process import ProcessRequest, authorize, process
from remit.payments.refund import refund
from remit.payments.results import Accepted, Queued, Rejected, Replayed, StepResult
from remit.payments.validate import validate
from remit.ports.app import App
from remit.ports.audit import Bucket
from remit.ports.delivery import Publisher
from tests.builders import GOOD_CARD, caller, order


def store_of(app: App) -> MemoryStore:
    assert isinstance(app.store, MemoryStore)
    return app.store


def queue_of(app: App) -> MemoryQueue:
    assert isinstance(app.delivery.queue, MemoryQueue)
    return app.delivery.queue


def objects_of(bucket: Bucket) -> dict[str, bytes]:
    assert isinstance(bucket, MemoryBucket)
    return bucket.objects


def published(publisher: Publisher) -> list[tuple[str, str | None]]:
    """The published messages, as (kind, detail)."""
    assert isinstance(publisher, MemoryPublisher)
    return [(message.kind, message.detail) for message in publisher.published]


def accepted(result: StepResult) -> Payment:
    assert isinstance(result, Accepted), result
    return result.payment


def replayed(result: StepResult) -> Payment:
    assert isinstance(result, Replayed), result
    return result.payment


def queued(result: StepResult) -> Payment:
    assert isinstance(result, Queued), result
    return result.payment


def rejected(result: StepResult) -> RemitError:
    assert isinstance(result, Rejected), result
    return result.error


def invalid_field(result: StepResult) -> tuple[str | None, str]:
    """Which field was refused, and why."""
    error = rejected(result)
    assert isinstance(error, InvalidRequest)
    return error.param, error.reason


async def a_validated_payment(
    app: App, amount: object = "100.00", card: str | None = GOOD_CARD
) -> Payment:
    return accepted(await validate(app, caller(), order(amount, card=card), None))


async def a_processed_payment(
    app: App, amount: object = "100.00", card: str = GOOD_CARD
) -> Payment:
    """A payment after it was processed. The card and the processor's faults decide its state."""
    payment = await a_validated_payment(app, amount, card)
    return accepted(await process(app, caller(), ProcessRequest(payment.id)))


async def an_authorized_payment(app: App, amount: object = "100.00") -> Payment:
    payment = await a_validated_payment(app, amount)
    return accepted(await authorize(app, caller(), ProcessRequest(payment.id)))


async def a_refund(app: App, payment: Payment, amount_minor: int | None = None) -> Refund:
    result = await refund(app, caller(), payment.id, amount_minor=amount_minor)
    assert isinstance(result, Accepted), result
    assert result.refund is not None
    return result.refund


async def current(app: App, payment: Payment) -> Payment:
    stored = await app.store.payment(payment.id)
    assert stored is not None
    return stored


async def current_refund(app: App, refund: Refund) -> Refund:
    stored = await app.store.refund(refund.id)
    assert stored is not None
    return stored


async def history(app: App, payment: Payment) -> list[tuple[str, str]]:
    """The payment's audit trail, as (action, outcome)."""
    return [
        (entry.action, entry.outcome) for entry in await app.database.reader.history(payment.id)
    ]


def balances(app: App) -> dict[str, int]:
    """The balance of each account, in minor units."""
    sums: dict[str, int] = {}
    for posting in store_of(app).postings:
        sums[posting.account] = sums.get(posting.account, 0) + posting.amount_minor
    return sums


def tamper(app: App, payment: Payment, **fields: object) -> None:
    """Alters a stored payment, as no use case would."""
    store_of(app).payments[payment.id] = replace(store_of(app).payments[payment.id], **fields)


async def handle_all(app: App) -> None:
    """Relays and handles messages until none waits. For messages that succeed."""
    while await relay(app) or await handle_batch(app):
        pass


async def archive_all(app: App) -> None:
    archiver = AuditArchiver(app)
    while await archiver.archive():
        pass
