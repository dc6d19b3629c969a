"""The simulated processor's memory beside the payments, for trying a deployment out."""

import msgspec

from remit.adapters.postgres.connection import Connection
from remit.adapters.processors.simulated.processor import PastInstruction
from remit.domain.payment import ProcessorResult
from remit.ports.processor import Instruction

REMEMBER = """
INSERT INTO simulated_results (key, payment_id, instruction) VALUES ($1, $2::uuid, $3::json)
ON CONFLICT (key) DO NOTHING RETURNING key
"""

FIND = "SELECT instruction::text FROM simulated_results WHERE key = $1"

OF_PAYMENT = "SELECT instruction::text FROM simulated_results WHERE payment_id = $1::uuid"

_past = msgspec.json.Decoder(PastInstruction)


class PostgresSimulatorStore:
    """One row for each key, which the first answer makes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def record(self, instruction: Instruction, answer: ProcessorResult) -> ProcessorResult:
        past = PastInstruction(instruction.operation, instruction.amount_minor, answer)
        data = msgspec.json.encode(past).decode()
        first = await self._connection.value(
            REMEMBER, instruction.key, instruction.payment_id, data
        )
        return answer if first else await self.find(instruction.key) or answer

    async def find(self, key: str) -> ProcessorResult | None:
        found = await self._connection.value(FIND, key)
        return None if found is None else _past.decode(found).answer

    async def of_payment(self, payment_id: str) -> list[PastInstruction]:
        rows = await self._connection.rows(OF_PAYMENT, payment_id)
        return [_past.decode(row[0]) for row in rows]
