"""The simulated processor's store in the PostgreSQL database of the payments."""

from collections.abc import AsyncIterator

import msgspec

from remit.adapters.postgres.connection import Connection
from remit.adapters.processors.simulated.processor import PastInstruction, past_instruction
from remit.domain.operation import ProcessorResult
from remit.ports.processor import Instruction

RECORD = """
INSERT INTO simulated_results (key, payment_id, instruction) VALUES ($1, $2::uuid, $3::json)
ON CONFLICT (key) DO NOTHING RETURNING key
"""

FIND = "SELECT instruction::text FROM simulated_results WHERE key = $1"

OF_PAYMENT = """
SELECT instruction::text FROM simulated_results WHERE payment_id = $1::uuid ORDER BY key
"""

ALL = "SELECT key, instruction::text FROM simulated_results WHERE key > $1 ORDER BY key LIMIT $2"

PAGE = 2_000

_past = msgspec.json.Decoder(PastInstruction)


class PostgresSimulatorStore:
    """SimulatorStore. The first result of a key makes its row."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def record(self, instruction: Instruction, result: ProcessorResult) -> ProcessorResult:
        past = past_instruction(instruction, result)
        data = msgspec.json.encode(past).decode()
        is_first = await self._connection.value(
            RECORD, instruction.key, instruction.payment_id, data
        )
        return result if is_first else await self._find(instruction.key) or result

    async def _find(self, key: str) -> ProcessorResult | None:
        past = await self._connection.value(FIND, key)
        return None if past is None else _past.decode(past).result

    async def of_payment(self, payment_id: str) -> list[PastInstruction]:
        rows = await self._connection.rows(OF_PAYMENT, payment_id)
        return [_past.decode(row[0]) for row in rows]

    async def all(self) -> AsyncIterator[PastInstruction]:
        last = ""
        while rows := await self._connection.rows(ALL, last, PAGE):
            for _, past in rows:
                yield _past.decode(past)
            last = rows[-1][0]
