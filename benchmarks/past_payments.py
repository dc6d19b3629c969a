"""Fills a data folder with payments as the service stores them once they are captured.

Straight into the tables, because to take a million payments one by one would take long: each with
its two postings, three audit entries, two idempotency records, and the processor's own memory of
it. Nothing of it waits to be delivered or archived. `remit reconcile` finds it right.
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

CHUNK = 20_000
SPREAD = timedelta(days=30)
TABLES = ("payments", "postings", "audit_entries", "idempotency")

# An id as the service makes them (RFC 9562, version 7): the milliseconds, then what looks random.
ID = """
CREATE FUNCTION pg_temp.id_at(at timestamptz, n bigint, which text) RETURNS uuid
LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
            || '7' || left(md5(which || n), 3) || '8' || right(md5(which || n), 15))::uuid
$$
"""

MADE = """
CREATE TEMPORARY TABLE made AS
SELECT n, at, at + interval '20 milliseconds' AS done_at, 100 + n % 900000 AS amount_minor,
       pg_temp.id_at(at, n, 'payment') AS id, md5('a' || n) || md5('b' || n) AS fingerprint
FROM (
    SELECT n, $3::timestamptz + n * $4::interval AS at FROM generate_series($1, $2::bigint) n
) numbered
"""

PAYMENTS = """
INSERT INTO payments (id, merchant_id, mode, amount_minor, currency, created_at, fingerprint, state,
                      version, attempt, customer_id, reference, card, authorized_minor,
                      captured_minor, refunded_minor, processor_reference, processed_at)
SELECT id, 'example', 'test', amount_minor, 'USD', at, fingerprint, 'captured', 3, 1,
       'customer-' || n % 1000, 'order-past-' || n,
       '{"brand": "visa", "last4": "4242", "exp_year": 2035, "exp_month": 12}', amount_minor,
       amount_minor, 0, 'sim_' || id || '-0', done_at
FROM made
"""

POSTINGS = """
INSERT INTO postings (transaction_id, line, payment_id, account, currency, amount_minor, at)
SELECT pg_temp.id_at(done_at, n, 'ledger'), line, id, account, 'USD', sign * amount_minor, done_at
FROM made, (VALUES (0, 'test/processor/simulated', 1), (1, 'test/merchant/example', -1))
           AS lines (line, account, sign)
"""

AUDIT = """
INSERT INTO audit_entries (id, at, merchant_id, mode, actor, request_id, action, outcome,
                           payment_id, state, amount_minor, currency)
SELECT pg_temp.id_at(at, n, outcome), at, 'example', 'test', 'key:' || pg_temp.id_at(at, 0, 'key'),
       pg_temp.id_at(at, n, action), action, outcome, id, state, amount_minor, 'USD'
FROM made, (VALUES ('validate', 'accepted', 'validated'), ('process', 'claimed', 'unknown'),
                   ('process', 'done', 'captured')) AS steps (action, outcome, state)
"""

IDEMPOTENCY = """
INSERT INTO idempotency (merchant_id, mode, operation, key, at, record)
SELECT p.merchant_id, p.mode, operation, 'past-' || n, p.created_at, jsonb_build_object(
           'scope', jsonb_build_object('merchant_id', p.merchant_id, 'mode', p.mode,
                                       'operation', operation, 'key', 'past-' || n),
           'fingerprint', p.fingerprint, 'at', p.created_at, 'payment_id', p.id,
           'payment', to_jsonb(p) || changes)
FROM made JOIN payments p USING (id),
     (VALUES ('POST /process', '{}'::jsonb),
             ('POST /validate', '{"state": "validated", "version": 1, "attempt": 0,
                                  "authorized_minor": 0, "captured_minor": 0,
                                  "processor_reference": null, "processed_at": null}'))
     AS steps (operation, changes)
"""

ANSWERS = (
    "INSERT INTO answers (key, payment_id, operation, amount_minor, answer) VALUES (?,?,?,?,?)"
)


def fill(data: Path, payments: int) -> None:
    """Stores `payments` payments in a data folder that `remit up` has made, and tidies up after."""
    with postgres(data) as server:
        asyncio.run(_fill(server.start(), data / "processor.sqlite", payments))


async def _fill(url: str, processor: Path, payments: int) -> None:
    connection = await asyncpg.connect(url)
    books = sqlite3.connect(processor)
    try:
        # Nothing here has to survive a power cut, and it is flushed by the checkpoint at the end.
        await connection.execute("SET synchronous_commit = off")
        await connection.execute(ID)
        start = datetime.now(UTC) - SPREAD
        began = time.monotonic()
        for first in range(1, payments + 1, CHUNK):
            last = min(first + CHUNK - 1, payments)
            async with connection.transaction():
                await connection.execute("DROP TABLE IF EXISTS made")
                await connection.execute(MADE, first, last, start, SPREAD / (payments + 1))
                for statement in (PAYMENTS, POSTINGS, AUDIT, IDEMPOTENCY):
                    await connection.execute(statement)
                made = await connection.fetch("SELECT id::text, amount_minor FROM made")
            books.executemany(ANSWERS, _answers(made))
            books.commit()
            if last == payments or last % (10 * CHUNK) == 0:
                say(f"  stored {last:,} payments in {time.monotonic() - began:.0f} s")
        await connection.execute(f"VACUUM (ANALYZE) {', '.join(TABLES)}")
        await connection.execute("CHECKPOINT")
    finally:
        books.close()
        await connection.close()


def _answers(made: "Sequence[asyncpg.Record]") -> list[tuple[str, str, str, int, str]]:
    return [
        (
            f"{row['id']}-0",
            row["id"],
            "charge",
            row["amount_minor"],
            f'{{"type":"approved","reference":"sim_{row["id"]}-0"}}',
        )
        for row in made
    ]
