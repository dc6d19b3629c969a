"""What the unit tests start from: payments at each stage, and a look into what memory holds."""

from msgspec.structs import replace

from remit.adapters.memory.queue import MemoryQueue
from remit.adapters.memory.services import MemoryBucket, MemoryPublisher
from remit.adapters.memory.store import MemoryStore
from remit.delivery.relay import consume_batch, relay
from remit.domain.errors import InvalidRequest, RemitError
from remit.domain.payment import Payment, Refund
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


def told(publisher: Publisher) -> list[tuple[str, str | None]]:
    """What was published, as (kind, detail)."""
    assert isinstance(publisher, MemoryPublisher)
    return [(message.kind, message.detail) for message in publisher.published]


def accepted(outcome: StepResult) -> Payment:
    assert isinstance(outcome, Accepted), outcome
    return outcome.payment


def replayed(outcome: StepResult) -> Payment:
    assert isinstance(outcome, Replayed), outcome
    return outcome.payment


def queued(outcome: StepResult) -> Payment:
    assert isinstance(outcome, Queued), outcome
    return outcome.payment


def refused(outcome: StepResult) -> RemitError:
    assert isinstance(outcome, Rejected), outcome
    return outcome.error


def invalid(outcome: StepResult) -> tuple[str | None, str]:
    """Which field was refused, and why."""
    error = refused(outcome)
    assert isinstance(error, InvalidRequest)
    return error.param, error.reason


async def a_validated(app: App, amount: object = "100.00", card: str | None = GOOD_CARD) -> Payment:
    return accepted(await validate(app, caller(), order(amount, card=card), None))


async def a_processed(app: App, amount: object = "100.00", card: str = GOOD_CARD) -> Payment:
    """A payment that was sent to the processor; what came of it is for the test to say."""
    payment = await a_validated(app, amount, card)
    return accepted(await process(app, caller(), ProcessRequest(payment.id)))


async def an_authorized(app: App, amount: object = "100.00") -> Payment:
    payment = await a_validated(app, amount)
    return accepted(await authorize(app, caller(), ProcessRequest(payment.id)))


async def a_refund(app: App, payment: Payment, amount_minor: int | None = None) -> Refund:
    outcome = await refund(app, caller(), payment.id, amount_minor=amount_minor)
    assert isinstance(outcome, Accepted), outcome
    assert outcome.refund is not None
    return outcome.refund


async def current(app: App, payment: Payment) -> Payment:
    found = await app.store.payment(payment.id)
    assert found is not None
    return found


async def current_refund(app: App, asked: Refund) -> Refund:
    found = await app.store.refund(asked.id)
    assert found is not None
    return found


async def history(app: App, payment: Payment) -> list[tuple[str, str]]:
    """The payment's audit trail, as (action, outcome)."""
    return [
        (entry.action, entry.outcome) for entry in await app.database.reader.history(payment.id)
    ]


def balances(app: App) -> dict[str, int]:
    """What each account holds, in minor units."""
    sums: dict[str, int] = {}
    for posting in store_of(app).postings:
        sums[posting.account] = sums.get(posting.account, 0) + posting.amount_minor
    return sums


def tamper(app: App, payment: Payment, **fields: object) -> None:
    """Alters what the store holds, as no use case would."""
    store_of(app).payments[payment.id] = replace(store_of(app).payments[payment.id], **fields)


async def deliver_all(app: App) -> None:
    """Relays and works until nothing waits; for steps that succeed."""
    while await relay(app) or await consume_batch(app):
        pass


async def seal_all(app: App) -> None:
    archiver = AuditArchiver(app)
    while await archiver.archive():
        pass
