"""The simulated processor's store in the DynamoDB table of the payments."""

from collections.abc import AsyncIterator

import msgspec

from remit.adapters.dynamodb.table import BY_PAYMENT, Table
from remit.adapters.processors.simulated.processor import PastInstruction, past_instruction
from remit.domain.operation import ProcessorResult
from remit.ports.processor import Instruction

_past = msgspec.json.Decoder(PastInstruction)


class DynamoSimulatorStore:
    """SimulatorStore. The first result of a key makes its item."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def record(self, instruction: Instruction, result: ProcessorResult) -> ProcessorResult:
        past = past_instruction(instruction, result)
        is_first = await self._table.put_new(
            {
                "transaction_id": f"result#{instruction.key}",
                "kind": "result",
                "payment_id": instruction.payment_id,
                "data": msgspec.json.encode(past).decode(),
            }
        )
        return result if is_first else await self._find(instruction.key) or result

    async def _find(self, key: str) -> ProcessorResult | None:
        item = await self._table.get(f"result#{key}")
        return None if item is None else _past.decode(item["data"]).result

    async def of_payment(self, payment_id: str) -> list[PastInstruction]:
        return [
            _past.decode(item["data"])
            async for item in self._table.query(
                BY_PAYMENT,
                "payment_id = :payment AND begins_with(transaction_id, :kind)",
                {":payment": payment_id, ":kind": "result#"},
            )
        ]

    async def all(self) -> AsyncIterator[PastInstruction]:
        async for item in self._table.scan("result"):
            yield _past.decode(item["data"])
