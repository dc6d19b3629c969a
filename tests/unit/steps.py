"""Steps of unit tests: payments in each state, and reads of what the service in memory stored."""

from datetime import timedelta

from msgspec.structs import replace

from remit.adapters.memory.queue import MemoryQueue
from remit.adapters.memory.services import MemoryBucket, MemoryPublisher
from remit.adapters.memory.store import MemoryStore
from remit.delivery.relay import relay
from remit.delivery.sweep import sweep
from remit.delivery.work_messages import handle_batch
from remit.domain.change import Change
from remit.domain.errors import InvalidRequest, ProcessorTimeout, RemitError
from remit.domain.operation import (
    NEEDS_CARD,
    NextAction,
    Operation,
    ProcessorResult,
    Received,
    Reversed,
)
from remit.domain.payment import Payment
from remit.domain.refund import Refund
from remit.oversight.audit.archiver import AuditArchiver
from remit.payments.operation_results import DECISION_AFTER
from remit.payments.process import ProcessRequest, authorize, process
from remit.payments.refund import refund
from remit.payments.results import Accepted, Queued, Rejected, Replayed, StepResult
from remit.payments.validate import validate
from remit.ports.app import App
from remit.ports.audit import Bucket
from remit.ports.delivery import Publisher
from remit.ports.processor import Capabilities, Instruction, Notice
from tests.builders import GOOD_CARD, ScriptedProcessor, caller, clock_of, order, processor_of


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
    """The balance of each account that has one, in minor units."""
    sums: dict[str, int] = {}
    for posting in store_of(app).postings:
        sums[posting.account] = sums.get(posting.account, 0) + posting.amount_minor
    return {account: total for account, total in sums.items() if total}


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


def the_operation(app: App) -> Operation:
    """The only operation that there is."""
    [operation] = store_of(app).operations_by_id.values()
    return operation


async def an_undecided_operation(app: App) -> Operation:
    """A charge whose answer was lost, that only a person can end."""
    processor_of(app).faults.append("timeout")
    payment = await a_processed_payment(app)
    [sent] = await app.database.reader.operations(payment.id)
    undecided = sent.await_decision(until=app.clock() + DECISION_AFTER)
    assert await app.store.commit(Change(operation=undecided, audit=())) is None
    return undecided


def alerts(app: App) -> list[str]:
    """The kinds of the alerts that were published."""
    return [kind for kind, _ in published(app.delivery.alerts)]


def notice(operation_id: str, result: ProcessorResult | Reversed) -> Notice:
    return Notice(event_id="evt_1", operation_id=operation_id, result=result)


async def pass_time(app: App, passed: timedelta) -> None:
    """Lets time pass, and a worker do what is due then."""
    clock_of(app).advance(passed.total_seconds())
    await sweep(app)
    await handle_all(app)


class LaterProcessor(ScriptedProcessor):
    """Does every operation later, and says so by a notice."""

    capabilities = Capabilities(modes=frozenset({"test"}))

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0

    async def execute(self, instruction: Instruction) -> ProcessorResult | Received:
        self.sent += 1
        return Received(f"psp_{instruction.key}")


KEY_LIFETIME = timedelta(hours=24)


class TwoPhaseProcessor(ScriptedProcessor):
    """Prepares charges and authorizations, forgets keys after a day, and can be asked and fenced.

    `known` is what it says when it is asked, and `fenced` what it says to a fence. With `action`
    the payer has to act first.
    """

    capabilities = Capabilities(
        modes=frozenset({"test"}), key_lifetime=KEY_LIFETIME, prepares=NEEDS_CARD
    )

    def __init__(self) -> None:
        super().__init__()
        self.known: ProcessorResult | None = None
        self.fenced: ProcessorResult | None = None
        self.calls: list[tuple[str, str | None]] = []
        self.is_silent = False
        self.action: NextAction | None = None

    async def prepare(self, instruction: Instruction) -> str:
        self.calls.append(("prepare", instruction.reference))
        if self.is_silent:
            raise ProcessorTimeout("The processor did not answer in time.")
        return f"pi_{instruction.key}"

    async def execute(self, instruction: Instruction) -> ProcessorResult | Received:
        self.calls.append(("execute", instruction.reference))
        if self.action is not None:
            return Received(f"pi_{instruction.key}", self.action)
        return await super().execute(instruction)

    async def read(self, instruction: Instruction) -> ProcessorResult | None:
        self.calls.append(("read", instruction.reference))
        return self.known

    async def fence(self, instruction: Instruction) -> ProcessorResult | None:
        self.calls.append(("fence", instruction.reference))
        return self.fenced

    def methods(self) -> list[str]:
        return [method for method, _ in self.calls]
