"""Assembles the service: the only file that knows which adapter fills which port.

Also the only one that knows the real clock, ids and randomness.
"""

import os
import secrets
from datetime import UTC, datetime, timedelta
from time import time_ns

from remit.adapters.limiter import LocalLimiter
from remit.adapters.processors.simulated import SimulatedProcessor
from remit.ports import App, Check
from remit.settings import Settings, SettingsError

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
    if settings.transactions_table is not None:
        return _on_dynamodb(settings, settings.transactions_table)
    if settings.database_url is not None:
        return _on_postgres(settings, settings.database_url)
    raise SettingsError("REMIT_DATABASE_URL is not set; `remit up` starts a database itself.")


def _on_postgres(settings: Settings, url: str) -> App:
    """PostgreSQL, and files in the data folder for everything else."""
    from remit.adapters.files import FileTopic, FolderBucket
    from remit.adapters.postgres import PostgresStore
    from remit.adapters.postgres_books import PostgresBooks
    from remit.adapters.postgres_connection import Connection
    from remit.adapters.postgres_delivery import (
        PostgresKeys,
        PostgresOutbox,
        PostgresQueue,
        PostgresVerdicts,
    )
    from remit.adapters.processors.sqlite_memory import SqliteMemory
    from remit.adapters.vault import FileVault

    data = settings.data_dir
    (data / "topics").mkdir(parents=True, exist_ok=True)
    store = PostgresStore(url)
    delivery = Connection(url, by_index=True)
    auditing = Connection(url, timeout_seconds=AUDIT_TIMEOUT_SECONDS)
    outbox = PostgresOutbox(delivery)
    queue = PostgresQueue(
        delivery,
        new_id,
        max_receives=settings.work_max_receives,
        visibility_seconds=settings.work_visibility_seconds,
        retry_seconds=settings.work_retry_seconds,
    )
    memory = SqliteMemory(data / "processor.sqlite")

    async def close() -> None:
        memory.close()
        await store.close()
        await delivery.close()
        await auditing.close()

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
        notifications=FileTopic(data / "topics" / "notifications.jsonl"),
        alerts=FileTopic(data / "topics" / "alerts.jsonl"),
        bucket=FolderBucket(data / "bucket"),
        processor=SimulatedProcessor(memory, settings),
        vault=FileVault(data / "vault.key"),
        limiter=LocalLimiter(now, per_second=settings.rate_per_second, burst=settings.rate_burst),
        ping=store.ping,
        measures=nothing_measured,
        close=close,
    )


def _on_dynamodb(settings: Settings, table_name: str) -> App:
    """DynamoDB, SQS, SNS, S3 and KMS, as the settings name them."""
    from remit.adapters.aws import LazyClient, client
    from remit.adapters.cloudwatch import CloudWatchMeasures
    from remit.adapters.dynamodb import DynamoStore
    from remit.adapters.dynamodb_books import DynamoBooks
    from remit.adapters.dynamodb_delivery import DynamoKeys, DynamoOutbox, DynamoVerdicts
    from remit.adapters.dynamodb_table import Table
    from remit.adapters.kms import kms_vault
    from remit.adapters.processors.dynamodb_memory import DynamoMemory
    from remit.adapters.s3 import S3Bucket
    from remit.adapters.sns import SnsTopic
    from remit.adapters.sqs import SqsQueue

    table = Table(client("dynamodb"), table_name)
    kept = timedelta(seconds=settings.idempotency_retention_seconds)
    store = DynamoStore(table, kept=kept)
    outbox = DynamoOutbox(table)
    queue = SqsQueue(
        LazyClient("sqs"),
        settings.needed("failed_queue_url"),
        settings.needed("failed_dead_letter_url"),
        retry_seconds=settings.work_retry_seconds,
    )
    sns = LazyClient("sns")

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
        notifications=SnsTopic(sns, settings.needed("notification_topic_arn")),
        alerts=SnsTopic(sns, settings.needed("alarm_topic_arn")),
        bucket=S3Bucket(LazyClient("s3"), settings.needed("audit_bucket")),
        processor=SimulatedProcessor(DynamoMemory(table), settings),
        vault=kms_vault(
            LazyClient("kms"),
            key_id=settings.needed("card_key_id"),
            mac_key_id=settings.needed("fingerprint_key_id"),
        ),
        limiter=LocalLimiter(now, per_second=settings.rate_per_second, burst=settings.rate_burst),
        ping=store.ping,
        measures=CloudWatchMeasures(LazyClient("cloudwatch"), settings.watched_metrics, now),
        close=close,
    )
