"""The simulated processor's store in an SQLite file, which the laptop's processes share."""

import fcntl
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from remit.adapters.processors.simulated.processor import PastInstruction
from remit.domain.errors import ProcessorUnavailable
from remit.domain.operation import OperationKind, ProcessorResult
from remit.ports.processor import Instruction

_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (
    payment_id   TEXT NOT NULL,
    key          TEXT NOT NULL,
    operation    TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    result       TEXT NOT NULL,
    PRIMARY KEY (payment_id, key)
) WITHOUT ROWID;
"""

_OF_PAYMENT = "SELECT operation, amount_minor, result FROM results WHERE payment_id = ?"

_FIND = "SELECT result FROM results WHERE payment_id = ? AND key = ?"

_ALL = """
SELECT key, payment_id, operation, amount_minor, result FROM results
WHERE (payment_id, key) > (:payment_id, :key) ORDER BY payment_id, key LIMIT :limit
"""

_result = msgspec.json.Decoder(ProcessorResult)


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

    def close(self) -> None:
        self._database.close()

    def all(self, limit: int) -> Iterator[list[tuple[str, str, str]]]:
        """Every past instruction, `limit` at a time: its key, its payment, and itself as JSON."""
        last = {"key": "", "payment_id": "", "limit": limit}
        while rows := self._database.execute(_ALL, last).fetchall():
            last |= {"key": rows[-1][0], "payment_id": rows[-1][1]}
            yield [
                (
                    key,
                    payment_id,
                    msgspec.json.encode(
                        PastInstruction(
                            OperationKind(operation), amount_minor, _result.decode(result)
                        )
                    ).decode(),
                )
                for key, payment_id, operation, amount_minor, result in rows
            ]

    async def record(self, instruction: Instruction, result: ProcessorResult) -> ProcessorResult:
        try:
            self._database.execute(
                "INSERT INTO results (key, payment_id, operation, amount_minor, result) "
                "VALUES (?, ?, ?, ?, ?)",
                (
                    instruction.key,
                    instruction.payment_id,
                    instruction.operation.value,
                    instruction.amount_minor,
                    msgspec.json.encode(result).decode(),
                ),
            )
        except sqlite3.IntegrityError:
            first = (instruction.payment_id, instruction.key)
            row = self._database.execute(_FIND, first).fetchone()
            return result if row is None else _result.decode(row[0])
        except sqlite3.OperationalError as error:
            # The disk is full, or the file was locked for too long. Nothing was written.
            raise ProcessorUnavailable(
                f"The simulated processor cannot write its books: {error}. Try again."
            ) from error
        return result

    async def of_payment(self, payment_id: str) -> list[PastInstruction]:
        return [
            PastInstruction(OperationKind(operation), amount_minor, _result.decode(result))
            for operation, amount_minor, result in self._database.execute(
                _OF_PAYMENT, (payment_id,)
            )
        ]
