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
from collections.abc import AsyncIterator, Iterable
from typing import Protocol

import msgspec

from remit.domain.errors import ProcessorTimeout, ProcessorUnavailable
from remit.domain.operation import Approved, Declined, OperationKind, ProcessorResult
from remit.ports.processor import (
    Capabilities,
    Instruction,
    Processor,
    ProcessorBalance,
    SettlementLine,
)
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

REFERENCE = "sim_"
"""The processor's name for an operation is this and its key."""

_SIGN = {OperationKind.CHARGE: 1, OperationKind.CAPTURE: 1, OperationKind.REFUND: -1}


class PastInstruction(msgspec.Struct, frozen=True):
    """An instruction of the past and its result."""

    operation: OperationKind
    amount_minor: int
    result: ProcessorResult
    currency: str | None = None
    final: bool = True


def past_instruction(instruction: Instruction, result: ProcessorResult) -> PastInstruction:
    return PastInstruction(
        instruction.operation,
        instruction.amount_minor,
        result,
        instruction.currency,
        instruction.final,
    )


def balance_of(past: Iterable[PastInstruction]) -> ProcessorBalance:
    """What is held and authorized after a payment's instructions, in their order."""
    held_minor = authorized_minor = 0
    for instruction in past:
        if not isinstance(instruction.result, Approved):
            continue
        amount_minor = instruction.amount_minor
        held_minor += _SIGN.get(instruction.operation, 0) * amount_minor
        match instruction.operation:
            case OperationKind.AUTHORIZE:
                authorized_minor += amount_minor
            case OperationKind.CAPTURE if not instruction.final:
                authorized_minor -= amount_minor
            case OperationKind.CAPTURE | OperationKind.VOID:
                authorized_minor = 0
            case _:
                pass
    return ProcessorBalance(held_minor=held_minor, authorized_minor=authorized_minor)


class SimulatorStore(Protocol):
    """The books of the simulated processor."""

    async def record(self, instruction: Instruction, result: ProcessorResult) -> ProcessorResult:
        """Stores the result of an instruction, and returns the first one stored under its key."""
        ...

    async def of_payment(self, payment_id: str) -> list[PastInstruction]:
        """The payment's instructions, the first one first."""
        ...

    def all(self) -> AsyncIterator[PastInstruction]: ...


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
        result = declined or Approved(f"{REFERENCE}{instruction.key}")
        return await self._store.record(instruction, result)

    async def balance(self, payment_id: str) -> ProcessorBalance | None:
        past = await self._store.of_payment(payment_id)
        return balance_of(past) if past else None

    async def settlement(self) -> AsyncIterator[SettlementLine]:
        async for past in self._store.all():
            if isinstance(past.result, Approved) and past.operation in _SIGN:
                yield SettlementLine(
                    operation=past.operation,
                    amount_minor=past.amount_minor,
                    currency=past.currency,
                    reference=past.result.reference,
                    operation_id=past.result.reference.removeprefix(REFERENCE),
                )
