"""Builders for tests: an `App` over memory, PostgreSQL or DynamoDB, its callers and requests.

Only the clock, the ids and the processor are not the real ones.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from msgspec import structs

from remit.adapters.aws import elasticache
from remit.adapters.dynamodb.table import INDEXES, PARTITION_KEY, Table
from remit.adapters.files.storage import FolderBucket
from remit.adapters.files.vault import FileVault
from remit.adapters.processors.simulated.processor import balance_of, past_instruction
from remit.adapters.redis.connection import RedisConnection
from remit.assembly.dynamodb import dynamodb_adapters
from remit.assembly.memory import assemble_in_memory
from remit.assembly.parts import (
    CloudServices,
    DatabaseAdapters,
    Process,
    WorkQueue,
    build,
    no_disk,
    no_measures,
    this_process,
)
from remit.assembly.postgres import make_connections, postgres_adapters, postgres_queue
from remit.domain.caller import Caller, KeyScope
from remit.domain.card import Card
from remit.domain.errors import ProcessorTimeout, ProcessorUnavailable
from remit.domain.ids import NewId
from remit.domain.operation import (
    Approved,
    Declined,
    Operation,
    OperationKind,
    ProcessorResult,
    Received,
)
from remit.domain.payment import Payment
from remit.oversight.metrics import NullMetrics
from remit.payments.validate import Amount, CardInput, PaymentRequest
from remit.ports.app import App
from remit.ports.processor import (
    Capabilities,
    Instruction,
    Processor,
    ProcessorBalance,
    SettlementLine,
)
from remit.settings import Secret, Settings
from remit_infra.emulated.cache import EmulatedCache

GOOD_CARD = "4242424242424242"
DECLINED_CARD = "4000000000000002"

RETRY_SECONDS = 1e-9
"""A failed message returns to the queue at once, so that no test waits."""

Fault = Literal["timeout", "lost", "down"]


class StoppedClock:
    """A clock that stands still until the test advances it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def sequential_ids() -> NewId:
    """Ids that count up, so that a failing test is the same each time."""
    numbers = count(1)
    return lambda: f"00000000-0000-7000-8000-{next(numbers):012x}"


class ScriptedProcessor(Processor):
    """A processor in memory. Each call takes the next of `faults`, if there is one."""

    name = "scripted"
    capabilities = Capabilities(modes=frozenset({"test", "live"}))

    def __init__(self) -> None:
        self.faults: deque[Fault | None] = deque()
        self.results: dict[str, tuple[Instruction, ProcessorResult]] = {}
        self.down = False

    async def execute(self, instruction: Instruction) -> ProcessorResult | Received:
        fault = self.faults.popleft() if self.faults else None
        if self.down or fault == "down":
            raise ProcessorUnavailable("The processor cannot be reached. Try again.")
        if fault == "timeout":
            raise ProcessorTimeout("The processor did not answer in time.")
        if instruction.key not in self.results:
            declined = instruction.card is not None and instruction.card.number == DECLINED_CARD
            result: ProcessorResult = Approved(f"ref_{instruction.key}")
            if declined:
                result = Declined("card_declined", "The card was declined.", "generic_decline")
            self.results[instruction.key] = (instruction, result)
        if fault == "lost":
            raise ProcessorTimeout("The processor did not answer in time.")
        return self.results[instruction.key][1]

    async def balance(self, payment_id: str) -> ProcessorBalance | None:
        past = [
            past_instruction(*pair)
            for pair in self.results.values()
            if pair[0].payment_id == payment_id
        ]
        return balance_of(past) if past else None

    async def settlement(self) -> AsyncIterator[SettlementLine]:
        moved = {OperationKind.CHARGE, OperationKind.CAPTURE, OperationKind.REFUND}
        for instruction, result in list(self.results.values()):
            if isinstance(result, Approved) and instruction.operation in moved:
                yield SettlementLine(
                    operation=instruction.operation,
                    amount_minor=instruction.amount_minor,
                    currency=instruction.currency,
                    reference=result.reference,
                    operation_id=instruction.key,
                )


def a_process(settings: Settings | None) -> Process:
    """A process with a stopped clock and sequential ids."""
    return this_process(settings or Settings(), StoppedClock(), sequential_ids())


def memory_app(folder: Path, *, settings: Settings | None = None) -> App:
    """The service over memory, with a stopped clock, sequential ids and a scripted processor."""
    vault = FileVault(folder / "vault.key")
    return assemble_in_memory(a_process(settings), ScriptedProcessor(), vault)


def postgres_app(folder: Path, url: str, *, settings: Settings | None = None) -> App:
    """The same service over PostgreSQL and a folder for a bucket. Close it afterwards."""
    process = a_process(
        structs.replace(
            settings or Settings(), database_url=Secret(url), work_retry_seconds=RETRY_SECONDS
        )
    )
    connections = make_connections(process)
    database = postgres_adapters(process, connections)
    queue = postgres_queue(process, connections.delivery)
    return app_over(process, folder, database, queue)


def app_over(
    process: Process, folder: Path, database: DatabaseAdapters, queue: WorkQueue | None = None
) -> App:
    """The service over the database, and over memory for everything else."""
    memory = assemble_in_memory(process, ScriptedProcessor(), FileVault(folder / "vault.key"))
    services = CloudServices(
        notifications=memory.delivery.notifications,
        alerts=memory.delivery.alerts,
        bucket=FolderBucket(folder / "bucket"),
        signer=memory.audit.signer,
        vault=memory.vault,
        measures=no_measures,
        metrics=NullMetrics(),
        disk=no_disk,
    )
    in_memory: Any = memory.delivery.queue
    return build(process, database, services, queue or in_memory, memory.processor)


GROUPS = ("database", "delivery", "audit", "monitoring", "process_state")


def group_of(app: App, part: str) -> str:
    """The group of `App` with a part of this name."""
    [group] = [group for group in GROUPS if part in type(getattr(app, group)).__slots__]
    return group


def part_of(app: App, part: str) -> Any:
    """A part of `App` by its name, in whichever group it is."""
    return getattr(app if part in App.__slots__ else getattr(app, group_of(app, part)), part)


def replace_parts(app: App, **parts: Any) -> App:
    """The service with some of its parts replaced, each by its name in its group."""
    for name, part in parts.items():
        if name in App.__slots__:
            app = replace(app, **{name: part})
            continue
        group = group_of(app, name)
        app = replace(app, **{group: replace(getattr(app, group), **{name: part})})
    return app


class SerialClient:
    """A client whose calls take turns, because moto does not support two at once."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._turn = Lock()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        @wraps(method)
        def call(**parameters: Any) -> Any:
            with self._turn:
                return method(**parameters)

        vars(call)["__self__"] = self._client
        return call


def make_table(client: Any, name: str) -> None:
    """Creates the table that every deployment has."""
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": PARTITION_KEY, "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": attribute, "AttributeType": "S"}
            for attribute in sorted(
                {PARTITION_KEY, *(key for keys in INDEXES.values() for key in keys)}
            )
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": index,
                "KeySchema": [
                    {"AttributeName": partition, "KeyType": "HASH"},
                    {"AttributeName": sort, "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
            for index, (partition, sort) in INDEXES.items()
        ],
    )


def dynamodb_app(
    folder: Path,
    client: Any,
    *,
    table_name: str = "transactions-test",
    settings: Settings | None = None,
) -> App:
    """The same service over a DynamoDB table of its own."""
    process = a_process(settings)
    table = Table(client, table_name)
    make_table(client, table.name)
    return app_over(process, folder, dynamodb_adapters(process, table))


def redis_settings(cache: EmulatedCache, **others: Any) -> Settings:
    """The service's settings for the emulated Redis."""
    return Settings(
        cache_endpoint=cache.endpoint,
        cache_name=cache.name,
        cache_user=cache.user,
        cache_ca=cache.certificate,
        **others,
    )


def redis_connection(cache: EmulatedCache, clock: StoppedClock) -> RedisConnection:
    """A connection as one process of the service has it. Close it afterwards."""
    login = elasticache.IamLogin(cache_name=cache.name, user=cache.user)
    return RedisConnection(
        lambda: elasticache.connection(cache.endpoint, login, cache.certificate), clock
    )


def clock_of(app: App) -> StoppedClock:
    assert isinstance(app.clock, StoppedClock)
    return app.clock


def processor_of(app: App) -> ScriptedProcessor:
    assert isinstance(app.processor, ScriptedProcessor)
    return app.processor


def caller(merchant_id: str = "acme", *, request_id: str = "req") -> Caller:
    return Caller(merchant_id, "test", "key:test", request_id)


def an_operation(payment: Payment, kind: OperationKind, **fields: Any) -> Operation:
    """An operation on the payment that one process has taken. `fields` replace the defaults."""
    operation = Operation(
        id="00000000-0000-7000-8000-0000000000f1",
        kind=kind,
        payment_id=payment.id,
        processor="scripted",
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        created_at=payment.created_at,
        caller=caller(),
        action=kind.value,
        attempts=1,
        processes=1,
    )
    return structs.replace(operation, **fields)


def key_of(action: str, key: str | None, merchant_id: str = "acme") -> KeyScope | None:
    """The scope of a caller's Idempotency-Key on the route of a step, or None without a key."""
    return None if key is None else KeyScope(merchant_id, "test", f"POST /{action}", key)


def order(
    amount: object = "100.00",
    currency: str | None = "USD",
    *,
    card: str | None = GOOD_CARD,
    reference: str | None = None,
    customer_id: str | None = None,
    metadata: dict[str, str] | None = None,
) -> PaymentRequest:
    """A request to validate a payment. Every field that is not given is valid."""
    return PaymentRequest(
        amount=Amount(amount),
        currency=currency,
        customer_id=customer_id,
        payment_id=reference,
        card=card and CardInput(card, 12, 2030, "123"),
        metadata=metadata,
    )


def plain_card(number: str = GOOD_CARD) -> Card:
    return Card(number, "visa", 12, 2030)


AppFactory = Callable[..., App]


async def held(processor: Processor, payment_id: str) -> int:
    """What the processor holds of the payment, in minor units."""
    balance = await processor.balance(payment_id)
    assert balance is not None
    return balance.held_minor
