"""The simulated processor: for laptops and tests, and to try a deployment out. It moves no money.

Its store is apart from the service's own, as a real processor's is: after a crash of the service it
still knows what it did. The number of the test card decides the result. Amounts with a configured
remainder (`simulator_timeout_at` and its siblings) fail in one of the four ways of a network:

    timeout   nothing is done, and no response comes
    late      the operation is done, and the response comes after a delay
    lost      the operation is done, and no response comes
    down      the call is rejected at once, and nothing is done

The network fails for the first time that an instruction is sent, and `down` for each.
"""

import asyncio
from typing import Protocol

import msgspec

from remit.domain.errors import ProcessorTimeout, ProcessorUnavailable
from remit.domain.operation import Approved, Declined, OperationKind, ProcessorResult
from remit.ports.processor import Capabilities, Instruction, Processor
from remit.settings import Settings

_DECLINES = {
    "4000000000000002": Declined("card_declined", "The card was declined.", "generic_decline"),
    "4000000000009995": Declined(
        "card_declined", "The card has insufficient funds.", "insufficient_funds"
    ),
    "4000000000000069": Declined("expired_card", "The card has expired.", "expired_card"),
    "4000000000000127": Declined(
        "incorrect_cvc", "The card's security code is incorrect.", "incorrect_cvc"
    ),
    "4000000000000119": Declined(
        "processing_error", "An error occurred while processing the card.", "processing_error"
    ),
    "4100000000000019": Declined("card_declined", "The card was declined.", "fraudulent"),
}

_SIGN = {OperationKind.CHARGE: 1, OperationKind.CAPTURE: 1, OperationKind.REFUND: -1}


class PastInstruction(msgspec.Struct, frozen=True):
    """An instruction of the past and its result."""

    operation: OperationKind
    amount_minor: int
    result: ProcessorResult


class SimulatorStore(Protocol):
    """The books of the simulated processor."""

    async def record(self, instruction: Instruction, result: ProcessorResult) -> ProcessorResult:
        """Stores the result of an instruction, and returns the first one stored under its key."""
        ...

    async def of_payment(self, payment_id: str) -> list[PastInstruction]: ...


class SimulatedProcessor(Processor):
    """Processor. It does each key's operation once and repeats its result, also after a restart."""

    name = "simulated"
    capabilities = Capabilities(modes=frozenset({"test"}))

    def __init__(self, store: SimulatorStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    async def execute(self, instruction: Instruction) -> ProcessorResult:
        settings = self._settings
        remainder = instruction.amount_minor % settings.simulator_modulus
        if remainder == settings.simulator_down_at:
            raise ProcessorUnavailable("The processor cannot be reached. Try again.")
        if instruction.attempt > 1:
            return await self._do_once(instruction)
        if remainder == settings.simulator_timeout_at:
            raise ProcessorTimeout("The processor did not answer in time.")
        result = await self._do_once(instruction)
        if remainder == settings.simulator_lost_at:
            raise ProcessorTimeout("The processor did not answer in time.")
        if remainder == settings.simulator_late_at:
            await asyncio.sleep(settings.simulator_late_seconds)
        return result

    async def _do_once(self, instruction: Instruction) -> ProcessorResult:
        declined = _DECLINES.get(instruction.card.number) if instruction.card else None
        result = declined or Approved(f"sim_{instruction.key}")
        return await self._store.record(instruction, result)

    async def balance(self, payment_id: str) -> int | None:
        past = await self._store.of_payment(payment_id)
        if not past:
            return None
        return sum(
            _SIGN.get(instruction.operation, 0) * instruction.amount_minor
            for instruction in past
            if isinstance(instruction.result, Approved)
        )
