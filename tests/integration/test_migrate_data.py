"""Copying a development database into a new environment, without any card or customer."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from msgspec.structs import replace

from remit.adapters.postgres.masked_copy import CopyError, MaskedCopy
from remit.adapters.postgres.migrations import migrate
from remit.clock_and_ids import new_secret
from remit.delivery.relay import relay
from remit.domain.change import Change
from remit.domain.operation import OperationState
from remit.oversight.audit.archiver import AuditArchiver
from remit.payments.process import ProcessRequest, process
from remit.payments.validate import validate
from remit.ports.app import App
from tests.builders import DECLINED_CARD, GOOD_CARD, caller, key_of, order, postgres_app
from tests.contracts.changes import a_whole_operation
from tests.integration.test_canaries import everything_stored
from tests.unit.steps import a_processed_payment, a_refund, a_validated_payment

REMIT = Path(sys.executable).with_name("remit")
CUSTOMER, REFERENCE, NOTE = "cus_jane_doe_1974", "order-of-jane-doe", "call her at noon"
KEY = "key-of-jane-doe"


@pytest.fixture
async def target_url(postgres_server: str, database_url: str) -> AsyncIterator[str]:
    """A new database beside the source."""
    name = urlsplit(database_url).path.strip("/") + "_target"
    connection = await asyncpg.connect(postgres_server)
    await connection.execute(f"CREATE DATABASE {name}")
    yield postgres_server.replace("/postgres?", f"/{name}?")
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


async def some_payments(app: App) -> None:
    """One of each kind, one of them somebody's; sealed, and with nothing left to do."""
    await a_processed_payment(app)
    await a_processed_payment(app, card=DECLINED_CARD)
    await a_validated_payment(app)
    await a_refund(app, await a_processed_payment(app))
    whose = order("12.34", customer_id=CUSTOMER, reference=REFERENCE, metadata={"note": NOTE})
    await validate(app, caller(), whose, None)
    theirs = await a_validated_payment(app)
    await process(app, caller(), ProcessRequest(theirs.id), key_of("process", KEY))
    while await relay(app) or await AuditArchiver(app).archive():
        pass


def migrate_data(
    source_url: str, target_url: str, folder: Path, *more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            str(REMIT),
            "migrate-data",
            "--source",
            source_url,
            "--trail",
            str(folder / "bucket"),
            *more,
        ],
        capture_output=True,
        text=True,
        check=False,
        env=environment(target_url, folder),
    )


def environment(target_url: str, folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "REMIT_DATABASE_URL": target_url,
        "REMIT_DATA_DIR": str(folder / "target"),
    }


async def test_a_copy_agrees_with_its_source_and_has_no_card_or_customer_of_it(
    on_postgres: App, database_url: str, target_url: str, tmp_path: Path
) -> None:
    await some_payments(on_postgres)
    shown = await asyncio.to_thread(migrate_data, database_url, target_url, tmp_path, "--json")
    compared = {one["what"]: one for one in json.loads(shown.stdout)}
    # The processor of these tests is a script, whose memory cannot be copied.
    differing = {what for what, one in compared.items() if one["source"] != one["target"]}
    assert differing <= {"discrepancies of the target"}, shown.stderr
    assert compared["rows of payments"]["target"] == "6"
    assert compared["rows of operations"]["target"] == "5"
    assert compared["audit chain"]["source"].startswith("1 segments, ")
    source, target = await everything_stored(database_url), await everything_stored(target_url)
    for theirs in (CUSTOMER, REFERENCE, NOTE, KEY, GOOD_CARD[-4:], "2030"):
        assert theirs in source
        assert theirs not in target
    assert "data_migration" not in target


async def test_a_copied_operation_lacks_only_its_callers_key(
    on_postgres: App, target_url: str, pair: "Pair", tmp_path: Path
) -> None:
    payment = await a_validated_payment(on_postgres)
    ended = a_whole_operation(
        on_postgres, payment, state=OperationState.DECLINED, leased_until=None, due_at=None
    )
    await on_postgres.store.commit(Change(operation=ended, audit=()))
    await relay(on_postgres)
    await (await pair()).run(lambda *_: None)
    target = postgres_app(tmp_path, target_url)
    copied = await target.store.operation(ended.id)
    await target.close()
    assert copied == replace(ended, scope=None, fingerprint="")


async def test_the_payments_of_one_customer_share_a_masked_customer(
    on_postgres: App, target_url: str, pair: "Pair"
) -> None:
    for customer in ("cus_a", "cus_b", "cus_a"):
        await validate(on_postgres, caller(), order("1.00", customer_id=customer), None)
    await relay(on_postgres)
    await (await pair()).run(lambda *_: None)
    connection = await asyncpg.connect(target_url)
    rows = await connection.fetch("SELECT customer_id FROM payments ORDER BY id")
    await connection.close()
    first, second, third = (row["customer_id"] for row in rows)
    assert first == third != second
    assert all(one.startswith("cus_") and len(one) == 28 for one in (first, second))


Pair = Callable[..., Awaitable[MaskedCopy]]


@pytest.fixture
async def pair(database_url: str, target_url: str) -> AsyncIterator[Pair]:
    """Makes a copy between new connections, as each start of the command does."""
    made: list[asyncpg.Connection] = []

    async def new(**options: Any) -> MaskedCopy:
        made.extend([await asyncpg.connect(database_url), await asyncpg.connect(target_url)])
        await migrate(made[-1])
        return MaskedCopy(made[-2], made[-1], new_secret, **options)

    yield new
    for connection in made:
        await connection.close()


async def test_a_copy_that_was_interrupted_continues(on_postgres: App, pair: Pair) -> None:
    for _ in range(12):
        await a_processed_payment(on_postgres)
    await relay(on_postgres)
    seen: list[tuple[str, int, int]] = []

    class Ended(Exception):
        pass

    def until_the_second_piece(*progress: Any) -> None:
        seen.append(progress)
        if len(seen) == 5:
            raise Ended

    with pytest.raises(Ended):
        await (await pair(piece_rows=5)).run(until_the_second_piece)
    again: list[tuple[str, int, int]] = []
    copy = await pair(piece_rows=5)
    await copy.run(lambda *progress: again.append(progress))
    assert ("payments", 5, 12) in seen
    assert ("payments", 5, 12) not in again
    assert all(one.agrees for one in await copy.compare())
    await copy.finish()


async def test_a_source_with_unfinished_work_is_rejected(on_postgres: App, pair: Pair) -> None:
    await a_validated_payment(on_postgres)
    with pytest.raises(CopyError, match="under way"):
        await (await pair()).run(lambda *_: None)


async def test_a_target_with_payments_is_rejected(on_postgres: App, pair: Pair) -> None:
    await a_processed_payment(on_postgres)
    await relay(on_postgres)
    copy = await pair()
    await copy.run(lambda *_: None)
    await copy.finish()
    with pytest.raises(CopyError, match="must be a new database"):
        await (await pair()).run(lambda *_: None)


async def test_a_difference_is_named(on_postgres: App, pair: Pair, target_url: str) -> None:
    await a_processed_payment(on_postgres)
    await relay(on_postgres)
    copy = await pair()
    await copy.run(lambda *_: None)
    connection = await asyncpg.connect(target_url)
    await connection.execute("UPDATE payments SET captured_minor = 0")
    await connection.execute("DELETE FROM audit_entries WHERE action = 'validate'")
    await connection.close()
    different = {one.what for one in await copy.compare() if not one.agrees}
    assert different == {
        "payments by state",
        "rows of audit_entries",
        "contents of audit_entries",
    }


def test_a_missing_target_is_named() -> None:
    shown = subprocess.run(
        [str(REMIT), "migrate-data"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert shown.returncode == 1
    assert "Say where to: set REMIT_DATABASE_URL" in " ".join(shown.stderr.split())
