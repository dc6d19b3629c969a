"""Assembles the service: the only file that knows which adapter fills which port.

Also the only one that knows the real clock, ids and randomness.
"""

import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import time_ns
from typing import TYPE_CHECKING, Any, NamedTuple

from remit.adapters.cache import NoCache, WriteThrough
from remit.adapters.limiter import LocalLimiter
from remit.adapters.processors.simulated import Memory, SimulatedProcessor
from remit.adapters.sessions import MemorySessions
from remit.counted import Uncounted
from remit.ports import (
    App,
    Bucket,
    Cache,
    Check,
    Keys,
    Limiter,
    Metrics,
    Publisher,
    Sessions,
    Vault,
)
from remit.settings import Settings, SettingsError

if TYPE_CHECKING:
    from remit.adapters.postgres_connection import Connection, Login

AUDIT_TIMEOUT_SECONDS = 3_600.0
"""For one question about the whole of the books."""


def now() -> datetime:
    return datetime.now(UTC)


class Ids:
    """UUIDs of version 7, each greater than the one before (RFC 9562, section 6.2, method 3).

    48 bits are milliseconds, 12 the fraction of one, 62 are random: what a process does in a row
    sorts in that row, even where a commit takes less than a millisecond or the clock steps back.
    """

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        milliseconds, rest = divmod(time_ns(), 1_000_000)
        self._last = max(self._last + 1, milliseconds << 12 | (rest << 12) // 1_000_000)
        random = int.from_bytes(os.urandom(8), "big") & (1 << 62) - 1
        high = (self._last >> 12) << 16 | 0x7000 | self._last & 0xFFF
        text = f"{high << 64 | 0x2 << 62 | random:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


new_id = Ids()


def new_secret() -> str:
    """256 random bits in 43 characters."""
    return secrets.token_urlsafe(32)


async def nothing_measured() -> dict[str, Check]:
    """On a laptop nobody counts what is not a dependency."""
    return {}


def assemble(settings: Settings) -> App:
    """The service over what the settings name. Only what is used is imported; nothing is opened."""
    app = _over_its_store(settings)
    return app if settings.cache_endpoint is None else with_redis(app)


def _over_its_store(settings: Settings) -> App:
    if settings.quiet_after_seconds is not None and settings.work_queue_url is None:
        raise SettingsError("REMIT_QUIET_AFTER_SECONDS: a queue in the database knows no rest.")
    if settings.operator_function is not None:
        return _out_of_reach(settings, settings.operator_function)
    if settings.transactions_table is not None:
        return _on_dynamodb(settings, settings.transactions_table)
    if settings.database_secret_arn is not None and settings.work_queue_url is not None:
        return _on_aurora(settings)
    if settings.database_secret_arn is not None:
        return _on_rds(settings)
    if settings.database_url is not None:
        return _on_laptop(settings, settings.database_url)
    raise SettingsError("REMIT_DATABASE_URL is not set; `remit up` starts a database itself.")


def database_login(settings: Settings) -> "Login":
    """How to reach the PostgreSQL that the settings name. Raises SettingsError if none is."""
    from remit.adapters.postgres_connection import UrlLogin

    if settings.database_secret_arn is not None:
        from remit.adapters.aws import LazyClient
        from remit.adapters.rds import SecretLogin

        return SecretLogin(
            LazyClient("secretsmanager"),
            secret_arn=settings.database_secret_arn,
            endpoint=settings.needed("database_endpoint"),
            database=settings.database_name,
            ca=settings.database_ca,
        )
    return UrlLogin(settings.needed("database_url"))


class Around(NamedTuple):
    """What a topology has around its database."""

    notifications: Publisher
    alerts: Publisher
    bucket: Bucket
    vault: Vault
    measures: Callable[[], Awaitable[Mapping[str, Check]]]
    metrics: Metrics


def _in_files(settings: Settings) -> Around:
    """Files in the data folder."""
    from remit.adapters.files import FileTopic, FolderBucket
    from remit.adapters.vault import FileVault

    data = settings.data_dir
    (data / "topics").mkdir(parents=True, exist_ok=True)
    return Around(
        notifications=FileTopic(data / "topics" / "notifications.jsonl"),
        alerts=FileTopic(data / "topics" / "alerts.jsonl"),
        bucket=FolderBucket(data / "bucket"),
        vault=FileVault(data / "vault.key"),
        measures=nothing_measured,
        metrics=Uncounted(),
    )


def _in_aws(settings: Settings) -> Around:
    """SNS, S3, KMS and CloudWatch, as the settings name them."""
    from remit.adapters.aws import LazyClient
    from remit.adapters.cloudwatch import CloudWatchMeasures, CloudWatchMetrics
    from remit.adapters.kms import kms_vault
    from remit.adapters.s3 import S3Bucket
    from remit.adapters.sns import SnsTopic

    sns, cloudwatch = LazyClient("sns"), LazyClient("cloudwatch")
    service = settings.service_name
    return Around(
        notifications=SnsTopic(sns, settings.needed("notification_topic_arn")),
        alerts=SnsTopic(sns, settings.needed("alarm_topic_arn")),
        bucket=S3Bucket(LazyClient("s3"), settings.needed("audit_bucket")),
        vault=kms_vault(
            LazyClient("kms"),
            key_id=settings.needed("card_key_id"),
            mac_key_id=settings.needed("fingerprint_key_id"),
        ),
        measures=CloudWatchMeasures(cloudwatch, settings.watched_metrics, now),
        metrics=CloudWatchMetrics(cloudwatch, service) if service else Uncounted(),
    )


def _on_laptop(settings: Settings, url: str) -> App:
    """PostgreSQL by its URL, a connection for each thing to do, and files for everything else."""
    from remit.adapters.postgres_connection import Connection, UrlLogin
    from remit.adapters.processors.sqlite_memory import SqliteMemory

    login = UrlLogin(url)
    writing, reading, delivery = (Connection(login, by_index=True) for _ in range(3))
    around = _in_files(settings)
    memory = SqliteMemory(settings.data_dir / "processor.sqlite")
    app = _on_postgres(settings, around, memory, login, writing, reading, delivery)

    async def close() -> None:
        memory.close()
        await app.close()

    return replace(app, close=close)


def _on_rds(settings: Settings) -> App:
    """PostgreSQL in RDS, over one connection for all that a container does, and AWS around it."""
    from remit.adapters import rds
    from remit.adapters.postgres_connection import Connection
    from remit.adapters.processors.postgres_memory import PostgresMemory

    login = database_login(settings)
    connection = Connection(login, by_index=True, span=rds.span)
    memory = PostgresMemory(connection)
    around = _in_aws(settings)
    app = _on_postgres(settings, around, memory, login, connection, connection, connection)
    if settings.usage_plan_id is None:
        return app
    return replace(app, keys=_in_plan(app.keys, settings))


def _on_aurora(settings: Settings) -> App:
    """PostgreSQL in Aurora for processes that stay, a connection for each thing to do; work in SQS,
    and AWS around it.
    """
    from remit.adapters import rds
    from remit.adapters.aws import LazyClient
    from remit.adapters.postgres_connection import Connection
    from remit.adapters.processors.postgres_memory import PostgresMemory
    from remit.adapters.sqs import SqsQueue
    from remit.adapters.waking import WakingStore

    login, quiet = database_login(settings), settings.quiet_after_seconds
    writing, reading, delivery = (
        Connection(login, by_index=True, span=rds.span, quiet_after_seconds=quiet) for _ in range(3)
    )
    queue = SqsQueue(
        LazyClient("sqs"),
        settings.needed("work_queue_url"),
        settings.needed("work_dead_letter_url"),
        retry_seconds=settings.work_retry_seconds,
        wait_seconds=settings.work_wait_seconds,
        visibility_seconds=settings.work_visibility_seconds,
    )
    around, memory = _in_aws(settings), PostgresMemory(delivery)
    app = _on_postgres(settings, around, memory, login, writing, reading, delivery)
    app = replace(app, queue=queue, failed=queue)
    if quiet is None:
        return app
    waking = WakingStore(app.store, queue, now, new_id, every_seconds=quiet / 2)

    async def close() -> None:
        await waking.close()
        await app.close()

    return replace(app, store=waking, close=close)


def _in_plan(keys: Keys, settings: Settings) -> Keys:
    """The keys, registered in API Gateway's usage plan as well."""
    from remit.adapters.aws import LazyClient
    from remit.adapters.gateway_keys import GatewayKeys

    plan = settings.needed("usage_plan_id")
    return GatewayKeys(LazyClient("apigateway"), keys, usage_plan_id=plan)


def _out_of_reach(settings: Settings, function: str) -> App:
    """An operator's machine, for a database that only functions reach: keys, failed work, trail."""
    from remit.adapters.aws import LazyClient
    from remit.adapters.operator import Operator, OperatorFailed, OperatorKeys, OutOfReach

    operator = Operator(LazyClient("lambda"), function)
    nothing: Any = OutOfReach()

    async def close() -> None:
        return None

    return App(
        settings=settings,
        clock=now,
        new_id=new_id,
        store=nothing,
        reader=nothing,
        books=nothing,
        keys=_in_plan(OperatorKeys(operator), settings),
        outbox=nothing,
        audit_log=nothing,
        retention=nothing,
        verdicts=nothing,
        queue=nothing,
        failed=OperatorFailed(operator),
        processor=nothing,
        ping=nothing.ping,
        close=close,
        **_in_aws(settings)._asdict(),
        **_in_process(settings)._asdict(),
    )


def _on_postgres(
    settings: Settings,
    around: Around,
    memory: Memory,
    login: "Login",
    writing: "Connection",
    reading: "Connection",
    delivery: "Connection",
) -> App:
    """Everything that is committed in PostgreSQL, the queue of work too."""
    from remit.adapters.postgres import PostgresStore
    from remit.adapters.postgres_books import PostgresBooks
    from remit.adapters.postgres_connection import Connection
    from remit.adapters.postgres_delivery import (
        PostgresKeys,
        PostgresOutbox,
        PostgresQueue,
        PostgresVerdicts,
    )

    store = PostgresStore(writing, reading)
    quiet = settings.quiet_after_seconds
    auditing = Connection(login, timeout_seconds=AUDIT_TIMEOUT_SECONDS, quiet_after_seconds=quiet)
    connections = (writing, reading, delivery, auditing)
    outbox = PostgresOutbox(delivery, holder=new_id(), lease_seconds=settings.lease_seconds)
    queue = PostgresQueue(
        delivery,
        new_id,
        max_receives=settings.work_max_receives,
        visibility_seconds=settings.work_visibility_seconds,
        retry_seconds=settings.work_retry_seconds,
    )

    async def close() -> None:
        await outbox.release()
        for connection in connections:
            await connection.close()

    def rests() -> bool:
        return quiet is not None and not any(connection.is_open for connection in connections)

    return App(
        settings=settings,
        clock=now,
        new_id=new_id,
        store=store,
        reader=store,
        books=PostgresBooks(auditing),
        keys=PostgresKeys(delivery),
        outbox=outbox,
        audit_log=outbox,
        retention=outbox,
        verdicts=PostgresVerdicts(delivery),
        queue=queue,
        failed=queue,
        processor=SimulatedProcessor(memory, settings),
        ping=store.ping,
        close=close,
        rests=rests,
        **around._asdict(),
        **_in_process(settings)._asdict(),
    )


def _on_dynamodb(settings: Settings, table_name: str) -> App:
    """DynamoDB and SQS, as the settings name them, and AWS around them."""
    from remit.adapters.aws import LazyClient, client
    from remit.adapters.dynamodb import DynamoStore
    from remit.adapters.dynamodb_books import DynamoBooks
    from remit.adapters.dynamodb_delivery import DynamoKeys, DynamoOutbox, DynamoVerdicts
    from remit.adapters.dynamodb_table import Table
    from remit.adapters.processors.dynamodb_memory import DynamoMemory
    from remit.adapters.sqs import SqsQueue

    table = Table(client("dynamodb"), table_name)
    kept = timedelta(seconds=settings.idempotency_retention_seconds)
    store = DynamoStore(table, kept=kept)
    outbox = DynamoOutbox(table)
    queue = SqsQueue(
        LazyClient("sqs"),
        settings.needed("work_queue_url"),
        settings.needed("work_dead_letter_url"),
        retry_seconds=settings.work_retry_seconds,
    )

    async def close() -> None:
        return None

    return App(
        settings=settings,
        clock=now,
        new_id=new_id,
        store=store,
        reader=store,
        books=DynamoBooks(table),
        keys=DynamoKeys(table),
        outbox=outbox,
        audit_log=outbox,
        retention=outbox,
        verdicts=DynamoVerdicts(table),
        queue=queue,
        failed=queue,
        processor=SimulatedProcessor(DynamoMemory(table), settings),
        ping=store.ping,
        close=close,
        **_in_aws(settings)._asdict(),
        **_in_process(settings)._asdict(),
    )


class Shared(NamedTuple):
    """What the processes of a service share where there is Redis, and else have each their own."""

    limiter: Limiter
    cache: Cache
    sessions: Sessions


def _in_process(settings: Settings) -> Shared:
    return Shared(
        limiter=LocalLimiter(now, per_second=settings.rate_per_second, burst=settings.rate_burst),
        cache=NoCache(),
        sessions=MemorySessions(now, new_secret),
    )


def with_redis(app: App) -> App:
    """The service with limits, shown payments and sessions in ElastiCache for Redis."""
    from remit.adapters import elasticache
    from remit.adapters.redis_cache import RedisCache
    from remit.adapters.redis_connection import RedisConnection
    from remit.adapters.redis_limiter import RedisLimiter
    from remit.adapters.redis_sessions import RedisSessions

    settings = app.settings
    endpoint = settings.needed("cache_endpoint")
    login = elasticache.IamLogin(
        cache_name=settings.needed("cache_name"), user=settings.needed("cache_user")
    )
    redis = RedisConnection(
        lambda: elasticache.connection(endpoint, login, settings.cache_ca), app.clock
    )
    cache = RedisCache(redis, seconds=settings.cache_seconds)
    limiter = RedisLimiter(
        redis,
        per_second=settings.rate_per_second,
        burst=settings.rate_burst,
        otherwise=app.limiter,
    )

    async def close() -> None:
        await redis.close()
        await app.close()

    return replace(
        app,
        store=WriteThrough(app.store, cache),
        limiter=limiter,
        cache=cache,
        sessions=RedisSessions(redis, new_secret),
        close=close,
    )
