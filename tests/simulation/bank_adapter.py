"""The service's adapter to the simulated bank."""

from collections.abc import AsyncIterator

from remit.domain.operation import ProcessorResult, Received
from remit.ports.processor import (
    Capabilities,
    Instruction,
    Processor,
    ProcessorBalance,
    SettlementLine,
)
from tests.simulation.bank import SIGNS, Bank


class BankProcessor(Processor):
    name = "bank"

    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    @property
    def capabilities(self) -> Capabilities:
        return self._bank.capabilities

    async def prepare(self, instruction: Instruction) -> str:
        return await self._bank.call(instruction.key, lambda: self._bank.prepare(instruction))

    async def execute(self, instruction: Instruction) -> ProcessorResult | Received:
        return await self._bank.call(instruction.key, lambda: self._bank.execute(instruction))

    async def read(self, instruction: Instruction) -> ProcessorResult | None:
        return await self._bank.call(instruction.key, lambda: self._bank.read(instruction))

    async def fence(self, instruction: Instruction) -> ProcessorResult | None:
        return await self._bank.call(instruction.key, lambda: self._bank.fence(instruction))

    async def balance(self, payment_id: str) -> ProcessorBalance | None:
        return ProcessorBalance(
            held_minor=self._bank.taken(payment_id), authorized_minor=self._bank.open(payment_id)
        )

    async def settlement(self) -> AsyncIterator[SettlementLine]:
        for effect in [one for effects in self._bank.effects.values() for one in effects]:
            if effect.operation in SIGNS:
                yield SettlementLine(
                    operation=effect.operation,
                    amount_minor=effect.amount_minor,
                    currency="USD",
                    reference=effect.reference,
                    operation_id=effect.key,
                )
