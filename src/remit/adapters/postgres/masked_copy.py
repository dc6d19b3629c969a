"""Copies the service's PostgreSQL database into another one, with cards and customers masked.

It moves a development database into a new environment. Rows are copied in PostgreSQL's binary COPY
format, in pieces. Each piece is committed together with its progress, so a copy that was
interrupted continues where it stopped, and memory does not grow with the number of payments. The
source is not written to. API keys, idempotency records, messages and queued work are not copied.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import asyncpg
import msgspec

PIECE_ROWS = 20_000
BUFFERED = 16
"""How many blocks of a piece are buffered between the two databases."""

PROGRESS = """
CREATE TABLE IF NOT EXISTS data_migration (
    place text PRIMARY KEY,
    last  text NOT NULL,
    rows  bigint NOT NULL
)
"""

MASKED: Mapping[str, str] = MappingProxyType(
    {
        "fingerprint": "'migrated'",
        "customer_id": "'cus_' || left(encode(sha256(convert_to({key} || merchant_id || "
        "customer_id, 'UTF8')), 'hex'), 24)",
        "reference": "'ref_' || left(encode(sha256(convert_to({key} || merchant_id || "
        "reference, 'UTF8')), 'hex'), 24)",
        "metadata": "NULL::jsonb",
        "card": "CASE WHEN card IS NULL THEN NULL "
        "ELSE json_build_object('brand', card->>'brand', 'last4', '0000') END",
        "encrypted_card": "NULL::text",
        "due_at": "NULL::timestamptz",
    }
)
"""How the personal columns of a payment are masked. The payments of one customer still share a
customer id, which cannot be traced back: the key is made for the copy and deleted after it.
"""

MASKED_OPERATION = "(operation::jsonb - '{scope,fingerprint}'::text[])::json"
"""An operation without the idempotency key of its caller, whose record is not copied either."""

TABLES: Mapping[str, str] = MappingProxyType(
    {
        "payments": "id",
        "refunds": "id",
        "operations": "id",
        "postings": "transaction_id",
        "audit_entries": "id",
        "audit_unarchived": "id",
        "audit_segments": "segment",
        "simulated_results": "key",
    }
)
"""The tables to copy, in an order that foreign keys allow, and the column that orders each one."""

UNMASKED = ("refunds", "postings", "audit_entries", "audit_unarchived", "audit_segments")

UNFINISHED = """
SELECT (SELECT count(*) FROM payments WHERE pending IS NOT NULL)
     + (SELECT count(*) FROM refunds WHERE state = 'pending')
     + (SELECT count(*) FROM outbox) + (SELECT count(*) FROM queue_messages)
"""

SUMS = """
SELECT state, currency, count(*)::text, sum(amount_minor)::text, sum(captured_minor)::text,
       sum(refunded_minor)::text
FROM payments GROUP BY state, currency ORDER BY state, currency
"""

LEDGER = """
SELECT account, currency, sum(amount_minor)::text FROM postings
GROUP BY account, currency ORDER BY account, currency
"""

COUNT = "SELECT count(*) FROM {table}"
DIGEST = "SELECT sum(hashtextextended(t::text, 0)::numeric)::text FROM {table} t"
"""A digest of a table that does not depend on the order of its rows."""

END_OF_PIECE = """
SELECT (array_agg({by} ORDER BY {by} DESC))[1]::text
FROM (SELECT {by} FROM {table} WHERE {after} ORDER BY {by} LIMIT {limit}) piece
"""
PIECE = "SELECT {columns} FROM {table} WHERE {after} AND {by} <= {end} ORDER BY {by}"

ReportProgress = Callable[[str, int, int], None]
"""Takes a table, the number of its rows that are copied, and the number of all its rows."""


class CopyError(Exception):
    """The copy cannot start. The message says why, and what to do."""


class DataComparison(msgspec.Struct, frozen=True):
    """One property of the data, on both sides."""

    what: str
    source: str
    target: str

    @property
    def agrees(self) -> bool:
        return self.source == self.target


class MaskedCopy:
    """A copy from one asyncpg connection to another. `new_key` returns 256 random bits."""

    def __init__(
        self,
        source: asyncpg.Connection,
        target: asyncpg.Connection,
        new_key: Callable[[], str],
        piece_rows: int = PIECE_ROWS,
    ) -> None:
        self._source = source
        self._target = target
        self._new_key = new_key
        self._piece_rows = piece_rows

    async def run(self, report_progress: ReportProgress) -> None:
        """Copies every row that is not copied yet.

        Raises CopyError, before it writes anything, if the source has unfinished work or the target
        has payments of its own.
        """
        if unfinished := await self._source.fetchval(UNFINISHED):
            raise CopyError(
                f"{unfinished} payments, refunds or messages of the source are under way. Stop its "
                "callers, wait until `remit work` has nothing left to do, and stop it."
            )
        key = await self._start()
        for table, order_by in TABLES.items():
            if await self._source.fetchval("SELECT to_regclass($1) IS NOT NULL", table):
                await self._copy_table(table, order_by, key, report_progress)

    async def copy_instructions(self, pieces: Iterable[list[tuple[str, str, str]]]) -> None:
        """Copies the simulated processor's past instructions, of a laptop that has them in a file.

        Each is its key, its payment and itself as JSON. Instructions in the target are left.
        """
        for piece in pieces:
            await self._target.executemany(
                "INSERT INTO simulated_results (key, payment_id, instruction) "
                "VALUES ($1, $2::text::uuid, $3::text::json) ON CONFLICT DO NOTHING",
                piece,
            )

    async def finish(self) -> None:
        """Deletes the key and the progress of the copy."""
        await self._target.execute("DROP TABLE IF EXISTS data_migration")

    async def _start(self) -> str:
        """The key of this copy: a new one, or the key of the copy to continue."""
        is_started = await self._target.fetchval("SELECT to_regclass('data_migration') IS NOT NULL")
        if not is_started and await self._target.fetchval("SELECT EXISTS (SELECT FROM payments)"):
            raise CopyError("The target holds payments already: it must be a new database.")
        async with self._target.transaction():
            await self._target.execute(PROGRESS)
            await self._target.execute(
                "INSERT INTO data_migration VALUES ('key', $1, 0) ON CONFLICT DO NOTHING",
                self._new_key(),
            )
        return str(
            await self._target.fetchval("SELECT last FROM data_migration WHERE place = 'key'")
        )

    async def _copy_table(
        self, table: str, order_by: str, key: str, report_progress: ReportProgress
    ) -> None:
        columns = await self._columns(table)
        masked_columns = ", ".join(_masked(table, column, key) for column in columns)
        total = await self._source.fetchval(COUNT.format(table=table))
        row = await self._target.fetchrow(
            "SELECT last, rows FROM data_migration WHERE place = $1", table
        )
        last, done = (row["last"], row["rows"]) if row else (None, 0)
        while (end := await self._end_of_piece(table, order_by, last)) is not None:
            query = PIECE.format(
                columns=masked_columns,
                table=table,
                by=order_by,
                after=_after(order_by, last),
                end=_quoted(end),
            )
            async with self._target.transaction():
                done += await self._copy_piece(table, columns, query)
                await self._target.execute(
                    "INSERT INTO data_migration VALUES ($1, $2, $3) ON CONFLICT (place) "
                    "DO UPDATE SET last = excluded.last, rows = excluded.rows",
                    table,
                    end,
                    done,
                )
            last = end
            report_progress(table, done, total)

    async def _columns(self, table: str) -> list[str]:
        """The columns of the target's table, in their order. The source must have them too."""
        rows = await self._target.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 "
            "AND NOT attisdropped ORDER BY attnum",
            table,
        )
        return [row["attname"] for row in rows]

    async def _end_of_piece(self, table: str, order_by: str, last: str | None) -> str | None:
        """The value of `order_by` at which the next piece ends. None if no rows are left.

        Rows with the same value, such as the postings of a transaction, are in one piece.
        """
        query = END_OF_PIECE.format(
            by=order_by, table=table, after=_after(order_by, last), limit=self._piece_rows
        )
        end: str | None = await self._source.fetchval(query)
        return end

    async def _copy_piece(self, table: str, columns: list[str], query: str) -> int:
        """Copies the rows of the query into the table. Returns how many."""
        blocks: asyncio.Queue[bytes | None] = asyncio.Queue(BUFFERED)

        async def read() -> None:
            try:
                await self._source.copy_from_query(query, output=_into(blocks), format="binary")
            finally:
                await blocks.put(None)

        reading = asyncio.create_task(read())
        try:
            status = await self._target.copy_to_table(
                table, source=_blocks(blocks), columns=columns, format="binary"
            )
            await reading  # raises if the piece was not read whole, so that it is not committed
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        return int(status.rpartition(" ")[2])

    async def compare(self) -> list[DataComparison]:
        """Compares counts, sums and contents, all of which must be the same on both sides."""
        queries = {
            f"rows of {t}": COUNT.format(table=t) for t in ("payments", "operations", *UNMASKED)
        }
        queries |= {"payments by state": SUMS, "ledger by account": LEDGER}
        queries |= {f"contents of {t}": DIGEST.format(table=t) for t in UNMASKED}
        return [await self._compare(what, query) for what, query in queries.items()]

    async def _compare(self, what: str, query: str) -> DataComparison:
        source, target = await asyncio.gather(self._source.fetch(query), self._target.fetch(query))
        return DataComparison(what, _text(source), _text(target))


def _after(column: str, last: str | None) -> str:
    return "true" if last is None else f"{column} > {_quoted(last)}"


def _masked(table: str, column: str, key: str) -> str:
    if table == "payments" and column in MASKED:
        return f"{MASKED[column].format(key=_quoted(key))} AS {column}"
    if (table, column) == ("operations", "operation"):
        return f"{MASKED_OPERATION} AS {column}"
    return column


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _into(
    blocks: "asyncio.Queue[bytes | None]",
) -> Callable[[bytes], Coroutine[Any, Any, None]]:
    async def put(block: bytes) -> None:
        await blocks.put(block)

    return put


async def _blocks(blocks: "asyncio.Queue[bytes | None]") -> AsyncIterator[bytes]:
    while (block := await blocks.get()) is not None:
        yield block


def _text(rows: list[asyncpg.Record]) -> str:
    return "; ".join(" ".join(str(value) for value in row.values()) for row in rows)
