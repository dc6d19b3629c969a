"""The simulated processor: an outside party with a memory of its own, for laptops and tests.

It has a memory of its own, so that a crash of the service leaves it knowing what it did, as a real
processor would. CONTRACT: the test card's number decides the answer, and amounts
whose remainder is configured (`simulator_*_at`) fail in the four ways a network can:

    timeout   nothing is done and no answer comes
    late      the work is done and the answer comes after a delay
    lost      the work is done and no answer comes
    down      the question is refused at once, nothing is done
"""

import asyncio
from typing import Protocol

import msgspec

from remit.domain.errors import ProcessorTimeout, ProcessorUnavailable
from remit.domain.payment import Approved, Declined, Mode, Operation, ProcessorResult
from remit.ports.processor import Instruction
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

_SIGN = {Operation.CHARGE: 1, Operation.CAPTURE: 1, Operation.REFUND: -1}


class PastInstruction(msgspec.Struct, frozen=True):
    """One question of the past, and what was answered."""

    operation: Operation
    amount_minor: int
    answer: ProcessorResult


class SimulatorStore(Protocol):
    """What the processor did, kept apart from the service's own store."""

    async def record(self, instruction: Instruction, answer: ProcessorResult) -> ProcessorResult:
        """The answer that was given first under the instruction's key: this one, or an earlier."""
        ...

    async def find(self, key: str) -> ProcessorResult | None: ...

    async def of_payment(self, payment_id: str) -> list[PastInstruction]: ...


class SimulatedProcessor:
    """Does each key's work once and repeats its answer ever after, also across restarts."""

    name = "simulated"
    modes: frozenset[Mode] = frozenset({"test"})

    def __init__(self, store: SimulatorStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    async def execute(self, instruction: Instruction) -> ProcessorResult:
        settings = self._settings
        remainder = instruction.amount_minor % settings.simulator_modulus
        if remainder == settings.simulator_down_at:
            raise ProcessorUnavailable("The processor cannot be reached. Try again.")
        if remainder == settings.simulator_timeout_at:
            raise ProcessorTimeout("The processor did not answer in time.")
        answer = await self._do_once(instruction)
        if remainder == settings.simulator_lost_at:
            raise ProcessorTimeout("The processor did not answer in time.")
        if remainder == settings.simulator_late_at:
            await asyncio.sleep(settings.simulator_late_seconds)
        return answer

    async def _do_once(self, instruction: Instruction) -> ProcessorResult:
        declined = _DECLINES.get(instruction.card.number) if instruction.card else None
        answer = declined or Approved(f"sim_{instruction.key}")
        return await self._store.record(instruction, answer)

    async def find(self, key: str) -> ProcessorResult | None:
        return await self._store.find(key)

    async def balance(self, payment_id: str) -> int | None:
        past = await self._store.of_payment(payment_id)
        if not past:
            return None
        return sum(
            _SIGN.get(one.operation, 0) * one.amount_minor
            for one in past
            if isinstance(one.answer, Approved)
        )
