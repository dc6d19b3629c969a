"""The simulated processor's memory beside the payments in DynamoDB, for trying a deployment out."""

import msgspec

from remit.adapters.dynamodb.table import BY_PAYMENT, Table
from remit.adapters.processors.simulated.processor import Asked
from remit.domain.payment import Answer
from remit.ports.processor import Instruction

_asked = msgspec.json.Decoder(Asked)


class DynamoMemory:
    """One item for each key, which the first answer makes."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def remember(self, instruction: Instruction, answer: Answer) -> Answer:
        asked = Asked(instruction.operation, instruction.amount_minor, answer)
        first = await self._table.put_new(
            {
                "transaction_id": f"answer#{instruction.key}",
                "kind": "answer",
                "payment_id": instruction.payment_id,
                "data": msgspec.json.encode(asked).decode(),
            }
        )
        return answer if first else await self.find(instruction.key) or answer

    async def find(self, key: str) -> Answer | None:
        item = await self._table.get(f"answer#{key}")
        return None if item is None else _asked.decode(item["data"]).answer

    async def of_payment(self, payment_id: str) -> list[Asked]:
        return [
            _asked.decode(item["data"])
            async for item in self._table.query(
                BY_PAYMENT,
                "payment_id = :payment AND begins_with(transaction_id, :kind)",
                {":payment": payment_id, ":kind": "answer#"},
            )
        ]
