"""What tests arrange with: an `App` over memory or PostgreSQL, a clock that stands still, orders.

Everything real but the clock, the ids and, where a test wants faults, the processor.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from remit.adapters.aws import elasticache
from remit.adapters.dynamodb.books import DynamoBooks
from remit.adapters.dynamodb.delivery import DynamoApiKeys, DynamoHealthStates, DynamoOutbox
from remit.adapters.dynamodb.store import DynamoStore
from remit.adapters.dynamodb.table import INDEXES, PARTITION_KEY, Table
from remit.adapters.files.storage import FolderBucket
from remit.adapters.files.vault import FileVault
from remit.adapters.memory.cache import NoCache
from remit.adapters.memory.limiter import LocalLimiter
from remit.adapters.memory.sessions import MemorySessions
from remit.adapters.memory.store import (
    MemoryBucket,
    MemoryHealthStates,
    MemoryPublisher,
    MemoryQueue,
    MemoryStore,
)
from remit.adapters.postgres.books import PostgresBooks
from remit.adapters.postgres.connection import Connection, UrlLogin
from remit.adapters.postgres.delivery import (
    PostgresApiKeys,
    PostgresHealthStates,
    PostgresOutbox,
    PostgresQueue,
)
from remit.adapters.postgres.store import PostgresStore
from remit.adapters.redis.connection import RedisConnection
from remit.assembly.service import nothing_measured
from remit.clock_and_ids import new_id, new_secret
from remit.domain.card import Card
from remit.domain.change import Caller
from remit.domain.errors import ProcessorTimeout, ProcessorUnavailable
from remit.domain.ids import NewId
from remit.domain.payment import Approved, Declined, Operation, ProcessorResult
from remit.oversight.metrics import NullMetrics
from remit.payments.validate import Amount, CardInput, PaymentRequest
from remit.ports.app import App
from remit.ports.processor import Instruction
from remit.settings import Settings
from remit_infra.emulated.cache import EmulatedCache

GOOD_CARD = "4242424242424242"
DECLINED_CARD = "4000000000000002"

Fault = Literal["timeout", "lost", "down"]


class StoppedClock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def counted_ids() -> NewId:
    """Identifiers of our shape that count up, so that a failing test reads the same each time."""
    numbers = count(1)
    return lambda: f"00000000-0000-7000-8000-{next(numbers):012x}"


class ScriptedProcessor:
    """A processor in memory that fails as told: each call takes the next of `faults`."""

    name = "scripted"

    def __init__(self) -> None:
        self.faults: deque[Fault | None] = deque()
        self.answers: dict[str, tuple[Instruction, ProcessorResult]] = {}
        self.down = False

    async def execute(self, instruction: Instruction) -> ProcessorResult:
        fault = self.faults.popleft() if self.faults else None
        if self.down or fault == "down":
            raise ProcessorUnavailable("The processor cannot be reached. Try again.")
        if fault == "timeout":
            raise ProcessorTimeout("The processor did not answer in time.")
        if instruction.key not in self.answers:
            declined = instruction.card is not None and instruction.card.number == DECLINED_CARD
            answer: ProcessorResult = Approved(f"ref_{instruction.key}")
            if declined:
                answer = Declined("card_declined", "The card was declined.", "generic_decline")
            self.answers[instruction.key] = (instruction, answer)
        if fault == "lost":
            raise ProcessorTimeout("The processor did not answer in time.")
        return self.answers[instruction.key][1]

    async def find(self, key: str) -> ProcessorResult | None:
        if self.down:
            raise ProcessorUnavailable("The processor cannot be reached. Try again.")
        return self.answers[key][1] if key in self.answers else None

    async def balance(self, payment_id: str) -> int | None:
        sign = {Operation.CHARGE: 1, Operation.CAPTURE: 1, Operation.REFUND: -1}
        asked = [pair for pair in self.answers.values() if pair[0].payment_id == payment_id]
        return sum(
            sign.get(instruction.operation, 0) * instruction.amount_minor
            for instruction, answer in asked
            if isinstance(answer, Approved)
        )


def memory_app(folder: Path, *, settings: Settings | None = None) -> App:
    """The service over memory, with a stopped clock, counted ids and a scripted processor."""
    settings = settings or Settings()
    clock = StoppedClock()
    store = MemoryStore()
    queue = MemoryQueue(settings.work_max_receives, clock, settings.work_visibility_seconds)

    async def nothing() -> None:
        return None

    return App(
        settings=settings,
        clock=clock,
        new_id=counted_ids(),
        store=store,
        reader=store,
        books=store,
        keys=store,
        outbox=store,
        audit_log=store,
        retention=store,
        verdicts=MemoryHealthStates(),
        queue=queue,
        failed=queue,
        notifications=MemoryPublisher(),
        alerts=MemoryPublisher(),
        bucket=MemoryBucket(),
        processor=ScriptedProcessor(),
        vault=FileVault(folder / "vault.key"),
        limiter=LocalLimiter(clock, per_second=settings.rate_per_second, burst=settings.rate_burst),
        cache=NoCache(),
        sessions=MemorySessions(clock, new_secret),
        ping=nothing,
        measures=nothing_measured,
        metrics=NullMetrics(),
        close=nothing,
    )


def postgres_app(folder: Path, url: str, *, settings: Settings | None = None) -> App:
    """The same service over PostgreSQL and a folder for a bucket. Close it afterwards."""
    base = memory_app(folder, settings=settings)
    login = UrlLogin(url)
    writing, reading, delivery = (Connection(login, by_index=True) for _ in range(3))
    auditing = Connection(login)
    store = PostgresStore(writing, reading)
    outbox = PostgresOutbox(delivery, holder=new_id(), lease_seconds=base.settings.lease_seconds)
    queue = PostgresQueue(
        delivery,
        base.new_id,
        max_receives=base.settings.work_max_receives,
        visibility_seconds=base.settings.work_visibility_seconds,
        retry_seconds=0.0,
    )

    async def close() -> None:
        await outbox.release()
        for connection in (writing, reading, delivery, auditing):
            await connection.close()

    return replace(
        base,
        store=store,
        reader=store,
        books=PostgresBooks(auditing),
        keys=PostgresApiKeys(delivery),
        outbox=outbox,
        audit_log=outbox,
        retention=outbox,
        verdicts=PostgresHealthStates(delivery),
        queue=queue,
        failed=queue,
        bucket=FolderBucket(folder / "bucket"),
        ping=store.ping,
        close=close,
    )


class InTurn:
    """A client whose calls take turns, for an AWS in memory that cannot take two at once."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._turn = Lock()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        @wraps(method)
        def call(**asked: Any) -> Any:
            with self._turn:
                return method(**asked)

        vars(call)["__self__"] = self._client
        return call


def make_table(client: Any, name: str) -> None:
    """The table as every deployment has it."""
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
    base = memory_app(folder, settings=settings)
    table = Table(client, table_name)
    make_table(client, table.name)
    store = DynamoStore(table, kept=timedelta(hours=48))
    outbox = DynamoOutbox(table)
    return replace(
        base,
        store=store,
        reader=store,
        books=DynamoBooks(table),
        keys=DynamoApiKeys(table),
        outbox=outbox,
        audit_log=outbox,
        retention=outbox,
        verdicts=DynamoHealthStates(table),
        ping=store.ping,
    )


def redis_settings(cache: EmulatedCache, **others: Any) -> Settings:
    """The service's settings for a Redis as it runs here."""
    return Settings(
        cache_endpoint=cache.endpoint,
        cache_name=cache.name,
        cache_user=cache.user,
        cache_ca=cache.certificate,
        **others,
    )


def redis_connection(cache: EmulatedCache, clock: StoppedClock) -> RedisConnection:
    """As one process of the service holds it. Close it afterwards."""
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


def order(
    amount: object = "100.00",
    currency: str | None = "USD",
    *,
    card: str | None = GOOD_CARD,
    reference: str | None = None,
    customer_id: str | None = None,
    metadata: dict[str, str] | None = None,
) -> PaymentRequest:
    """A request to validate a payment that is right in every field unless told otherwise."""
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
