"""Assembles the service: the only file that knows which adapter fills which port.

Also the only one that knows the real clock, ids and randomness.
"""

import os
import secrets
from datetime import UTC, datetime
from time import time_ns

from remit.adapters.files import FileTopic, FolderBucket
from remit.adapters.limiter import LocalLimiter
from remit.adapters.postgres import PostgresStore
from remit.adapters.postgres_books import PostgresBooks
from remit.adapters.postgres_connection import Connection
from remit.adapters.postgres_delivery import PostgresKeys, PostgresOutbox, PostgresQueue
from remit.adapters.processors.simulated import SimulatedProcessor
from remit.adapters.vault import FileVault
from remit.ports import App
from remit.settings import Settings, SettingsError

AUDIT_TIMEOUT_SECONDS = 3_600.0
"""For one question about the whole of the books."""


def now() -> datetime:
    return datetime.now(UTC)


def new_id() -> str:
    """A UUID of version 7 (RFC 9562, section 5.7): milliseconds, then 74 random bits."""
    random = int.from_bytes(os.urandom(10), "big")
    value = (time_ns() // 1_000_000) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_secret() -> str:
    """256 random bits in 43 characters."""
    return secrets.token_urlsafe(32)


def assemble(settings: Settings) -> App:
    """The service on PostgreSQL and the data folder, as on a laptop. Opens nothing until used."""
    if settings.database_url is None:
        raise SettingsError("REMIT_DATABASE_URL is not set; `remit up` starts a database itself.")
    data = settings.data_dir
    (data / "topics").mkdir(parents=True, exist_ok=True)
    store = PostgresStore(settings.database_url)
    delivery = Connection(settings.database_url, by_index=True)
    auditing = Connection(settings.database_url, timeout_seconds=AUDIT_TIMEOUT_SECONDS)
    outbox = PostgresOutbox(delivery)
    queue = PostgresQueue(
        delivery,
        new_id,
        max_receives=settings.work_max_receives,
        visibility_seconds=settings.work_visibility_seconds,
        retry_seconds=settings.work_retry_seconds,
    )
    processor = SimulatedProcessor(data / "processor.sqlite", settings)

    async def close() -> None:
        processor.close()
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
        queue=queue,
        failed=queue,
        notifications=FileTopic(data / "topics" / "notifications.jsonl"),
        alerts=FileTopic(data / "topics" / "alerts.jsonl"),
        bucket=FolderBucket(data / "bucket"),
        processor=processor,
        vault=FileVault(data / "vault.key"),
        limiter=LocalLimiter(now, per_second=settings.rate_per_second, burst=settings.rate_burst),
        ping=store.ping,
        close=close,
    )
