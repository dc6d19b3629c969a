"""A data folder with past payments, as the service stores them once they are captured.

They are inserted straight into the tables, because a million payments through the API would take
ten minutes. Each has its two postings, three audit entries, two idempotency records, and its result
in the simulated processor's store. Nothing of it waits for the relay or the archive, and
`remit reconcile` finds no discrepancy. Growth and migration are measured on the same folder.
"""

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

from benchmarks.database import postgres
from benchmarks.figures import say
from benchmarks.remit_service import remit_up

CHUNK = 20_000
SPREAD = timedelta(days=30)
TABLES = ("payments", "postings", "audit_entries", "idempotency")

# An id as the service makes it (RFC 9562, version 7): the milliseconds, then a digest.
ID = """
CREATE FUNCTION pg_temp.id_at(at timestamptz, n bigint, which text) RETURNS uuid
LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
            || '7' || left(md5(which || n), 3) || '8' || right(md5(which || n), 15))::uuid
$$
"""

CHUNK_TABLE = """
CREATE TEMPORARY TABLE chunk AS
SELECT n, at, at + interval '20 milliseconds' AS done_at, 100 + n % 900000 AS amount_minor,
       pg_temp.id_at(at, n, 'payment') AS id, md5('a' || n) || md5('b' || n) AS fingerprint
FROM (
    SELECT n, $3::timestamptz + n * $4::interval AS at FROM generate_series($1, $2::bigint) n
) numbered
"""

PAYMENTS = """
INSERT INTO payments (id, merchant_id, mode, amount_minor, currency, created_at, fingerprint, state,
                      version, customer_id, reference, card, authorized_minor,
                      captured_minor, refunded_minor, processor_reference, processed_at)
SELECT id, 'example', 'test', amount_minor, 'USD', at, fingerprint, 'captured', 3,
       'customer-' || n % 1000, 'order-past-' || n,
       '{"brand": "visa", "last4": "4242", "exp_year": 2035, "exp_month": 12}', amount_minor,
       amount_minor, 0, 'sim_' || id || '-0', done_at
FROM chunk
"""

POSTINGS = """
INSERT INTO postings (transaction_id, line, payment_id, account, currency, amount_minor, at)
SELECT pg_temp.id_at(done_at, n, 'ledger'), line, id, account, 'USD', sign * amount_minor, done_at
FROM chunk, (VALUES (0, 'test/processor/simulated', 1), (1, 'test/merchant/example', -1))
           AS lines (line, account, sign)
"""

AUDIT = """
INSERT INTO audit_entries (id, at, merchant_id, mode, actor, request_id, action, outcome,
                           payment_id, state, amount_minor, currency)
SELECT pg_temp.id_at(at, n, outcome), at, 'example', 'test', 'key:' || pg_temp.id_at(at, 0, 'key'),
       pg_temp.id_at(at, n, action), action, outcome, id, state, amount_minor, 'USD'
FROM chunk, (VALUES ('validate', 'accepted', 'validated'), ('process', 'claimed', 'unknown'),
                   ('process', 'done', 'captured')) AS steps (action, outcome, state)
"""

IDEMPOTENCY = """
INSERT INTO idempotency (merchant_id, mode, operation, key, at, record)
SELECT p.merchant_id, p.mode, operation, 'past-' || n, p.created_at, jsonb_build_object(
           'scope', jsonb_build_object('merchant_id', p.merchant_id, 'mode', p.mode,
                                       'operation', operation, 'key', 'past-' || n),
           'fingerprint', p.fingerprint, 'at', p.created_at, 'payment_id', p.id,
           'payment', to_jsonb(p) || changes)
FROM chunk JOIN payments p USING (id),
     (VALUES ('POST /process', '{}'::jsonb),
             ('POST /validate', '{"state": "validated", "version": 1,
                                  "authorized_minor": 0, "captured_minor": 0,
                                  "processor_reference": null, "processed_at": null}'))
     AS steps (operation, changes)
"""

INSTRUCTIONS = "INSERT INTO instructions (key, payment_id, instruction) VALUES (?, ?, ?)"


def folder_of_past_payments(folder: Path, payments: int) -> Path:
    """The data folder, made by the first caller of a run: that takes a minute for a million."""
    data = folder / "past-payments"
    complete = data / "complete"
    if not complete.exists():
        with remit_up(data):
            say("  made the data folder")
        with postgres(data) as (_, url):
            asyncio.run(_insert(url, data / "processor.sqlite", payments))
        complete.touch()
    return data


async def _insert(url: str, processor: Path, payments: int) -> None:
    connection = await asyncpg.connect(url)
    results = sqlite3.connect(processor)
    try:
        # A power cut would end the benchmark anyway; the checkpoint at the end flushes everything.
        await connection.execute("SET synchronous_commit = off")
        await connection.execute(ID)
        start = datetime.now(UTC) - SPREAD
        began = time.monotonic()
        for first in range(1, payments + 1, CHUNK):
            last = min(first + CHUNK - 1, payments)
            async with connection.transaction():
                await connection.execute("DROP TABLE IF EXISTS chunk")
                await connection.execute(CHUNK_TABLE, first, last, start, SPREAD / (payments + 1))
                for statement in (PAYMENTS, POSTINGS, AUDIT, IDEMPOTENCY):
                    await connection.execute(statement)
                rows = await connection.fetch("SELECT id::text, amount_minor FROM chunk")
            results.executemany(INSTRUCTIONS, _instructions(rows))
            results.commit()
            if last == payments or last % (10 * CHUNK) == 0:
                say(f"  stored {last:,} payments in {time.monotonic() - began:.0f} s")
        await connection.execute(f"VACUUM (ANALYZE) {', '.join(TABLES)}")
    finally:
        results.close()
        await connection.close()


def _instructions(rows: "Sequence[asyncpg.Record]") -> list[tuple[str, str, str]]:
    return [
        (
            f"{row['id']}-0",
            row["id"],
            f'{{"operation":"charge","amount_minor":{row["amount_minor"]},"currency":"USD",'
            f'"result":{{"type":"approved","reference":"sim_{row["id"]}-0"}}}}',
        )
        for row in rows
    ]
