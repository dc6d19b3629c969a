"""Copies one PostgreSQL of the service into another, without anybody's card or customer.

For the move from a development database into a new environment. Rows travel as PostgreSQL's own
binary COPY, in pieces that are each committed with how far they came: a copy that is ended goes on
where it was, and neither side's memory grows with the number of payments. Nothing is written to the
source. What it deliberately leaves behind: API keys, idempotency records, messages and work.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import asyncpg
import msgspec

PIECE_ROWS = 20_000
BUFFERED = 16
"""How many blocks of a piece may wait between the two databases."""

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
"""What becomes of a payment's columns that are somebody's. One customer stays one customer, and
nobody can tell who: the key is made for the copy and forgotten after it.
"""

TABLES: Mapping[str, str] = MappingProxyType(
    {
        "payments": "id",
        "refunds": "id",
        "postings": "transaction_id",
        "audit_entries": "id",
        "audit_unarchived": "id",
        "audit_segments": "segment",
        "simulated_results": "key",
    }
)
"""What is copied, in an order that references allow, and by which column it is cut into pieces."""

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
"""Of a table of ours, by its name; what it says does not depend on the order of the rows."""

END_OF_PIECE = """
SELECT (array_agg({by} ORDER BY {by} DESC))[1]::text
FROM (SELECT {by} FROM {table} WHERE {after} ORDER BY {by} LIMIT {limit}) piece
"""
PIECE = "SELECT {chosen} FROM {table} WHERE {after} AND {by} <= {end} ORDER BY {by}"

Told = Callable[[str, int, int], None]
"""The table, how many of its rows are there, and how many there will be."""


class CopyRefused(Exception):
    """The copy cannot begin, or is not what it should be. The message says what to do."""


class Compared(msgspec.Struct, frozen=True):
    """One thing that was looked at on both sides."""

    what: str
    source: str
    target: str

    @property
    def agrees(self) -> bool:
        return self.source == self.target


class Copy:
    """From one connection to another, both of asyncpg's own. `new_key` gives 256 random bits."""

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

    async def run(self, told: Told) -> None:
        """Copies what is not there yet. Raises CopyRefused before it touches anything that is
        somebody else's.
        """
        if unfinished := await self._source.fetchval(UNFINISHED):
            raise CopyRefused(
                f"{unfinished} payments, refunds or messages of the source are under way. Stop its "
                "callers, wait until `remit work` has nothing left to do, and stop it."
            )
        key = await self._begin()
        for table, cut_by in TABLES.items():
            if await self._source.fetchval("SELECT to_regclass($1) IS NOT NULL", table):
                await self._table(table, cut_by, key, told)

    async def record(self, answers: Iterable[list[tuple[str, str, str]]]) -> None:
        """What the simulated processor answered where it has a file of its own: its key, payment
        and answer, in the order of the keys. Of what is there already nothing is changed.
        """
        for piece in answers:
            await self._target.executemany(
                "INSERT INTO simulated_results (key, payment_id, instruction) "
                "VALUES ($1, $2::text::uuid, $3::text::json) ON CONFLICT DO NOTHING",
                piece,
            )

    async def finish(self) -> None:
        """Forgets the key and how far the copy came."""
        await self._target.execute("DROP TABLE IF EXISTS data_migration")

    async def _begin(self) -> str:
        """The key of this copy: a new one, or that of the copy to go on with."""
        started = await self._target.fetchval("SELECT to_regclass('data_migration') IS NOT NULL")
        if not started and await self._target.fetchval("SELECT EXISTS (SELECT FROM payments)"):
            raise CopyRefused("The target holds payments already: it must be a new database.")
        async with self._target.transaction():
            await self._target.execute(PROGRESS)
            await self._target.execute(
                "INSERT INTO data_migration VALUES ('key', $1, 0) ON CONFLICT DO NOTHING",
                self._new_key(),
            )
        return str(
            await self._target.fetchval("SELECT last FROM data_migration WHERE place = 'key'")
        )

    async def _table(self, table: str, cut_by: str, key: str, told: Told) -> None:
        columns = await self._columns(table)
        chosen = ", ".join(_masked(table, column, key) for column in columns)
        total = await self._source.fetchval(_of(COUNT, table))
        row = await self._target.fetchrow(
            "SELECT last, rows FROM data_migration WHERE place = $1", table
        )
        last, done = (row["last"], row["rows"]) if row else (None, 0)
        while (end := await self._end_of_piece(table, cut_by, last)) is not None:
            query = PIECE.format(
                chosen=chosen, table=table, by=cut_by, after=_after(cut_by, last), end=_quoted(end)
            )
            async with self._target.transaction():
                done += await self._piece(table, columns, query)
                await self._target.execute(
                    "INSERT INTO data_migration VALUES ($1, $2, $3) ON CONFLICT (place) "
                    "DO UPDATE SET last = excluded.last, rows = excluded.rows",
                    table,
                    end,
                    done,
                )
            last = end
            told(table, done, total)

    async def _columns(self, table: str) -> list[str]:
        """Those of the target, which may be newer than the source; both must have them."""
        rows = await self._target.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 "
            "AND NOT attisdropped ORDER BY attnum",
            table,
        )
        return [row["attname"] for row in rows]

    async def _end_of_piece(self, table: str, cut_by: str, last: str | None) -> str | None:
        """Where the next piece ends. Rows with one value, a ledger transaction's, stay together."""
        query = END_OF_PIECE.format(
            by=cut_by, table=table, after=_after(cut_by, last), limit=self._piece_rows
        )
        end: str | None = await self._source.fetchval(query)
        return end

    async def _piece(self, table: str, columns: list[str], query: str) -> int:
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
            await reading  # a piece that was only half read is not committed
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        return int(status.rpartition(" ")[2])

    async def compare(self) -> list[Compared]:
        """Counts, sums and contents on both sides: all that must be the same."""
        counted = ("payments", *UNMASKED)
        found = [await self._both(f"rows of {t}", _of(COUNT, t)) for t in counted]
        found.append(await self._both("payments by state", SUMS))
        found.append(await self._both("ledger by account", LEDGER))
        found += [await self._both(f"contents of {t}", _of(DIGEST, t)) for t in UNMASKED]
        return found

    async def _both(self, what: str, query: str) -> Compared:
        source, target = await asyncio.gather(self._source.fetch(query), self._target.fetch(query))
        return Compared(what, _text(source), _text(target))


def _after(column: str, last: str | None) -> str:
    return "true" if last is None else f"{column} > {_quoted(last)}"


def _of(query: str, table: str) -> str:
    return query.format(table=table)


def _masked(table: str, column: str, key: str) -> str:
    if table == "payments" and column in MASKED:
        return f"{MASKED[column].format(key=_quoted(key))} AS {column}"
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
