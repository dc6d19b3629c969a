"""The simulated processor's memory beside the payments, for trying a deployment out."""

import msgspec

from remit.adapters.postgres.connection import Connection
from remit.adapters.processors.simulated.processor import Asked
from remit.domain.payment import Answer
from remit.ports.processor import Instruction

REMEMBER = """
INSERT INTO simulated_answers (key, payment_id, asked) VALUES ($1, $2::uuid, $3::json)
ON CONFLICT (key) DO NOTHING RETURNING key
"""

FIND = "SELECT asked::text FROM simulated_answers WHERE key = $1"

OF_PAYMENT = "SELECT asked::text FROM simulated_answers WHERE payment_id = $1::uuid"

_asked = msgspec.json.Decoder(Asked)


class PostgresMemory:
    """One row for each key, which the first answer makes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def remember(self, instruction: Instruction, answer: Answer) -> Answer:
        asked = Asked(instruction.operation, instruction.amount_minor, answer)
        data = msgspec.json.encode(asked).decode()
        first = await self._connection.value(
            REMEMBER, instruction.key, instruction.payment_id, data
        )
        return answer if first else await self.find(instruction.key) or answer

    async def find(self, key: str) -> Answer | None:
        found = await self._connection.value(FIND, key)
        return None if found is None else _asked.decode(found).answer

    async def of_payment(self, payment_id: str) -> list[Asked]:
        rows = await self._connection.rows(OF_PAYMENT, payment_id)
        return [_asked.decode(row[0]) for row in rows]
