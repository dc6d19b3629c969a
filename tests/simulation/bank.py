"""A processor with books of its own, behind a network that loses, delays and repeats.

A request that was sent goes its own way: it can arrive after its sender has given up, or is dead.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec

from remit.domain.caller import Mode
from remit.domain.errors import ProcessorUnavailable
from remit.domain.operation import Approved, Declined, OperationKind, ProcessorResult
from remit.ports.processor import Instruction
from tests.builders import DECLINED_CARD
from tests.simulation.adversary import Adversary, Fault

LATE_SECONDS = (5.0, 120.0)
DOWN_SECONDS = (5.0, 600.0)

Log = Callable[[str], None]


class Effect(msgspec.Struct, frozen=True):
    """One thing that the processor did: money authorized, taken, given back or released."""

    operation: OperationKind
    payment_id: str
    amount_minor: int
    key: str
    card: str | None


class Bank:
    """The processor's books and its manners: the first instruction under a key is done, and every
    later one under that key gets the first one's result.
    """

    def __init__(self, adversary: Adversary, log: Log) -> None:
        self._adversary = adversary
        self._log = log
        self._results: dict[str, ProcessorResult] = {}
        self._down_until = 0.0
        self.effects: defaultdict[str, list[Effect]] = defaultdict(list)

    # The network

    async def call(self, instruction: Instruction) -> ProcessorResult:
        """Sends an instruction and waits for its result. Raises ProcessorUnavailable if it
        certainly did not leave, and never returns if its result is lost.
        """
        strikes, between = self._adversary.strikes, self._adversary.between
        self._check_reachable()
        if strikes(Fault.PROCESSOR_REFUSES):
            raise ProcessorUnavailable("The connection was refused.")
        loop = asyncio.get_running_loop()
        response: asyncio.Future[ProcessorResult] = loop.create_future()

        def arrive() -> None:
            result = self._execute(instruction)
            if not strikes(Fault.RESPONSE_LOST):
                late = between(*LATE_SECONDS) if strikes(Fault.RESPONSE_LATE) else 0.0
                loop.call_later(self._adversary.latency() + late, respond, result)

        def respond(result: ProcessorResult) -> None:
            if not response.done():
                response.set_result(result)

        if not strikes(Fault.REQUEST_LOST):
            late = between(*LATE_SECONDS) if strikes(Fault.REQUEST_LATE) else 0.0
            loop.call_later(self._adversary.latency() + late, arrive)
            if strikes(Fault.REQUEST_REPEATED):
                loop.call_later(between(*LATE_SECONDS), self._execute, instruction)
        return await response

    def _check_reachable(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._adversary.strikes(Fault.PROCESSOR_DOWN):
            self._down_until = now + self._adversary.between(*DOWN_SECONDS)
        if now < self._down_until and not self._adversary.is_at_rest:
            raise ProcessorUnavailable("The processor is down.")

    # The books

    def _execute(self, instruction: Instruction) -> ProcessorResult:
        if (earlier := self._results.get(instruction.key)) is not None:
            return earlier
        result = self._result(instruction)
        self._results[instruction.key] = result
        if isinstance(result, Approved):
            card = instruction.card.last4 if instruction.card else None
            self.effects[instruction.payment_id].append(
                Effect(
                    instruction.operation,
                    instruction.payment_id,
                    instruction.amount_minor,
                    instruction.key,
                    card,
                )
            )
        what = f"{instruction.operation} {instruction.amount_minor} {instruction.key[-6:]}"
        self._log(f"bank: {what} of {instruction.payment_id[-4:]}: {type(result).__name__}")
        return result

    def _result(self, instruction: Instruction) -> ProcessorResult:
        approved = Approved(f"ref_{instruction.key}")
        taken, authorized = self.taken(instruction.payment_id), self.open(instruction.payment_id)
        match instruction.operation:
            case OperationKind.CHARGE | OperationKind.AUTHORIZE:
                is_declined = instruction.card and instruction.card.number == DECLINED_CARD
                if is_declined:
                    return Declined("card_declined", "The card was declined.", "generic_decline")
                return approved
            case OperationKind.CAPTURE if instruction.amount_minor > authorized:
                return Declined("amount_too_large", "More than is authorized.")
            case OperationKind.VOID if not authorized:
                return Declined("not_authorized", "Nothing is authorized.")
            case OperationKind.REFUND if instruction.amount_minor > taken:
                return Declined("amount_too_large", "More than was taken.")
            case _:
                return approved

    def total(self, payment_id: str, *operations: OperationKind) -> int:
        """The sum of what these operations did to the payment, in minor units."""
        return sum(
            effect.amount_minor
            for effect in self.effects[payment_id]
            if effect.operation in operations
        )

    def taken(self, payment_id: str) -> int:
        """What the processor has taken of the payer and not given back."""
        return self.total(payment_id, OperationKind.CHARGE, OperationKind.CAPTURE) - self.total(
            payment_id, OperationKind.REFUND
        )

    def open(self, payment_id: str) -> int:
        """What is authorized, and neither captured nor released."""
        authorized = self.total(payment_id, OperationKind.AUTHORIZE)
        if self.total(payment_id, OperationKind.VOID):
            return 0
        return authorized - self.total(payment_id, OperationKind.CAPTURE)


class BankProcessor:
    """The service's adapter to the bank."""

    name = "bank"
    modes: frozenset[Mode] = frozenset({"test", "live"})

    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    async def execute(self, instruction: Instruction) -> ProcessorResult:
        return await self._bank.call(instruction)

    async def balance(self, payment_id: str) -> Any:
        return self._bank.taken(payment_id)
