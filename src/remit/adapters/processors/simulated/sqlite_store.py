"""The simulated processor's store in an SQLite file, which the laptop's processes share."""

import fcntl
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec

from remit.adapters.processors.simulated.processor import PastInstruction, past_instruction
from remit.domain.errors import ProcessorUnavailable
from remit.domain.operation import ProcessorResult
from remit.ports.processor import Instruction

_SCHEMA = """
CREATE TABLE IF NOT EXISTS instructions (
    key         TEXT PRIMARY KEY,
    payment_id  TEXT NOT NULL,
    instruction TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS instructions_of_payment ON instructions (payment_id);
"""

_EARLIER = "SELECT name FROM sqlite_master WHERE name = 'results'"

_TAKE_EARLIER = """
INSERT INTO instructions SELECT key, payment_id, json_object(
    'operation', operation, 'amount_minor', amount_minor, 'result', json(result)
) FROM results;
DROP TABLE results;
"""

_RECORD = "INSERT INTO instructions (key, payment_id, instruction) VALUES (?, ?, ?)"

_FIND = "SELECT instruction FROM instructions WHERE key = ?"

_OF_PAYMENT = "SELECT instruction FROM instructions WHERE payment_id = ? ORDER BY key"

_ALL = """
SELECT key, payment_id, instruction FROM instructions WHERE key > ? ORDER BY key LIMIT ?
"""

PAGE = 2_000

_past = msgspec.json.Decoder(PastInstruction)


class SqliteSimulatorStore:
    """SimulatorStore. It survives a killed process, for which no flush to disk is needed."""

    def __init__(self, path: Path) -> None:
        with path.with_suffix(".lock").open("a") as lock:
            # SQLite does not wait for another process that sets up the same new file.
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._database = sqlite3.connect(path, isolation_level=None, timeout=10)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = OFF")
            self._database.executescript(_SCHEMA)
            if self._database.execute(_EARLIER).fetchone():
                self._database.executescript(f"BEGIN; {_TAKE_EARLIER} COMMIT;")

    def close(self) -> None:
        self._database.close()

    def pages(self, limit: int) -> Iterator[list[tuple[str, str, str]]]:
        """Every past instruction, `limit` at a time: its key, its payment, and itself as JSON."""
        last = ""
        while rows := self._database.execute(_ALL, (last, limit)).fetchall():
            last = rows[-1][0]
            yield rows

    async def record(self, instruction: Instruction, result: ProcessorResult) -> ProcessorResult:
        past = msgspec.json.encode(past_instruction(instruction, result)).decode()
        try:
            self._database.execute(_RECORD, (instruction.key, instruction.payment_id, past))
        except sqlite3.IntegrityError:
            row = self._database.execute(_FIND, (instruction.key,)).fetchone()
            return result if row is None else _past.decode(row[0]).result
        except sqlite3.OperationalError as error:
            # The disk is full, or the file was locked for too long. Nothing was written.
            raise ProcessorUnavailable(
                f"The simulated processor cannot write its books: {error}. Try again."
            ) from error
        return result

    async def of_payment(self, payment_id: str) -> list[PastInstruction]:
        rows = self._database.execute(_OF_PAYMENT, (payment_id,))
        return [_past.decode(past) for (past,) in rows]

    async def all(self) -> AsyncIterator[PastInstruction]:
        for page in self.pages(PAGE):
            for _, _, past in page:
                yield _past.decode(past)
