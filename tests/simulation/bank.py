"""A processor with books of its own, behind a network that loses, delays and repeats.

A request that was sent goes its own way: it can arrive after its sender has given up, or is dead.
Each seed has one of three processors, which differ as real ones do:

    Bank              keeps every key for ever, and does an instruction at once
    TwoPhaseBank      forgets keys; prepares, reads and cancels, as Stripe does; may send notices
    AsynchronousBank  does captures, voids and refunds later and says so by a notice, as Adyen does;
                      cannot be asked
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from remit.domain.errors import ProcessorUnavailable
from remit.domain.operation import (
    NEEDS_CARD,
    Approved,
    Declined,
    NextAction,
    NotDone,
    OperationKind,
    ProcessorResult,
    Received,
    Reversed,
)
from remit.ports.processor import Capabilities, Instruction, Notice
from tests.builders import DECLINED_CARD
from tests.simulation.adversary import EPOCH, Adversary, Fault

LATE_SECONDS = (5.0, 120.0)
STUCK_SECONDS = (60.0, 540.0)
"""As long as a request can take that is sent in the first half of its key's lifetime by a process
whose clock is ten minutes behind, and arrives before the key is forgotten.
"""

DOWN_SECONDS = (5.0, 600.0)
SILENT_SECONDS = (600.0, 5_400.0)
LATER_SECONDS = (1.0, 900.0)
PAYER_SECONDS = (5.0, 2_400.0)
ACTION_SECONDS = 1_800.0
"""How long a payer can act. Some act too late, and some never."""

FAILS_LATER_SECONDS = (30.0, 7_200.0)
KEY_LIFETIME = timedelta(minutes=40)
"""Short, so that a story of hours has as many keys forgotten as one of weeks would."""

SIGNS = {OperationKind.CHARGE: 1, OperationKind.CAPTURE: 1, OperationKind.REFUND: -1}
"""What each operation that moves money does to what the processor has taken."""

T = TypeVar("T")
Log = Callable[[str], None]
SendNotice = Callable[[Notice], None]


class Effect(msgspec.Struct):
    """One thing that the processor did: money authorized, taken, given back or released.

    `is_reversed` says that it failed afterwards.
    """

    operation: OperationKind
    payment_id: str
    amount_minor: int
    key: str
    reference: str
    is_reversed: bool = False


class Bank:
    """The processor's books and its manners: the first instruction under a key is done, and every
    later one under that key gets the first one's result, for as long as the key is kept.
    """

    capabilities = Capabilities(modes=frozenset({"test", "live"}))
    sends_notices = False
    asks_payers = False
    ends_unacted = False

    def __init__(self, adversary: Adversary, log: Log, send_notice: SendNotice) -> None:
        self._adversary = adversary
        self._log = log
        self._send_notice = send_notice
        self._kept: dict[str, tuple[float, ProcessorResult | Received]] = {}
        self._authorized: dict[str, int] = {}
        self._unacted: dict[str, Instruction] = {}
        self._unauthenticated: set[str] = set()
        self._down_until = 0.0
        self._silent_until = 0.0
        self._is_deaf = False
        self.results: dict[str, ProcessorResult] = {}
        self.refused_falsely: set[str] = set()
        self.effects: defaultdict[str, list[Effect]] = defaultdict(list)

    # The network

    async def call(self, key: str, do: Callable[[], T]) -> T:
        """Sends a request and waits for its response. Raises ProcessorUnavailable if the request
        did not leave, as far as one can tell, and never returns if its response is lost.
        """
        strikes, between = self._adversary.strikes, self._adversary.between
        self._check_reachable()
        loop = asyncio.get_running_loop()
        response: asyncio.Future[T] = loop.create_future()

        def arrive() -> None:
            result = do()
            if not strikes(Fault.RESPONSE_LOST) and loop.time() >= self._silent_until:
                late = between(*LATE_SECONDS) if strikes(Fault.RESPONSE_LATE) else 0.0
                loop.call_later(self._adversary.latency() + late, respond, result)

        def respond(result: T) -> None:
            if not response.done():
                response.set_result(result)

        if strikes(Fault.PROCESSOR_REFUSES):
            raise ProcessorUnavailable("The connection was refused.")
        if self.sends_notices and strikes(Fault.REFUSAL_FALSE, times=0.2):
            self.refused_falsely.add(key)
            loop.call_later(between(*LATE_SECONDS), do)
            raise ProcessorUnavailable("The connection was refused, it seems.")
        is_lost = self._is_deaf and loop.time() < self._silent_until
        if not strikes(Fault.REQUEST_LOST) and not is_lost:
            late = between(*LATE_SECONDS) if strikes(Fault.REQUEST_LATE) else 0.0
            if strikes(Fault.REQUEST_STUCK, times=0.3):
                late = between(*STUCK_SECONDS)
            loop.call_later(self._adversary.latency() + late, arrive)
            if strikes(Fault.REQUEST_REPEATED):
                loop.call_later(between(*LATE_SECONDS), do)
        return await response

    def _check_reachable(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._adversary.strikes(Fault.PROCESSOR_DOWN):
            self._down_until = now + self._adversary.between(*DOWN_SECONDS)
        if self._adversary.strikes(Fault.PROCESSOR_SILENT, times=0.1):
            self._silent_until = now + self._adversary.between(*SILENT_SECONDS)
            self._is_deaf = self._adversary.between(0.0, 1.0) < 0.5
            self._log(f"bank: does not answer until {self._silent_until:.0f}")
        if now < self._down_until and not self._adversary.is_at_rest:
            raise ProcessorUnavailable("The processor is down.")

    # What it is asked

    def prepare(self, instruction: Instruction) -> str:
        raise AssertionError("it has one phase")

    def execute(self, instruction: Instruction) -> ProcessorResult | Received:
        now = asyncio.get_running_loop().time()
        kept_at, earlier = self._kept.get(instruction.key, (0.0, None))
        lifetime = self.capabilities.key_lifetime
        if earlier is not None and (lifetime is None or now < kept_at + lifetime.total_seconds()):
            return earlier
        if earlier is not None and instruction.key in self._unacted:
            return earlier
        if self._asks_payer(instruction):
            return self._ask_payer(instruction)
        result = self._answer(instruction)
        self._kept[instruction.key] = now, result
        return result

    def read(self, instruction: Instruction) -> ProcessorResult | None:
        return None

    def fence(self, instruction: Instruction) -> ProcessorResult | None:
        return None

    # Its payers

    def _asks_payer(self, instruction: Instruction) -> bool:
        is_card = self.asks_payers and instruction.operation in NEEDS_CARD
        return is_card and self._adversary.strikes(Fault.ACTION_REQUIRED, times=2.0)

    def _ask_payer(self, instruction: Instruction) -> Received:
        """Sends the payer to authenticate: some do, some fail, some are too late, some never do."""
        loop, between = asyncio.get_running_loop(), self._adversary.between
        key = instruction.key
        self._log(f"bank: the payer has to act for {key[-6:]}")
        self._unacted[key] = instruction
        if between(0.0, 1.0) < 0.2:
            self._unauthenticated.add(key)
        acts_after = between(*PAYER_SECONDS)
        if acts_after < ACTION_SECONDS:
            loop.call_later(acts_after, self._payer_acts, key)
        elif self.ends_unacted:
            self._unauthenticated.add(key)
            loop.call_later(ACTION_SECONDS, self._payer_acts, key)
        expires_at = EPOCH + timedelta(seconds=loop.time() + ACTION_SECONDS)
        action = NextAction(f"https://bank.test/{key}", expires_at)
        received = Received(self._reference(instruction), action)
        self._kept[key] = loop.time(), received
        return received

    def _payer_acts(self, key: str) -> None:
        if (instruction := self._unacted.pop(key, None)) is not None:
            self._do(instruction)

    # The books

    def _answer(self, instruction: Instruction) -> ProcessorResult | Received:
        return self._do(instruction)

    def _do(self, instruction: Instruction) -> ProcessorResult:
        result = self._result(instruction)
        what = f"{instruction.operation} {instruction.amount_minor} {instruction.key[-6:]}"
        self._log(f"bank: {what} of {instruction.payment_id[-4:]}: {type(result).__name__}")
        self.results[instruction.key] = result
        if isinstance(result, Approved):
            self._book(instruction, result.reference)
        if self.sends_notices:
            self._notify(instruction.key, result)
        return result

    def _book(self, instruction: Instruction, reference: str) -> None:
        kind, amount_minor = instruction.operation, instruction.amount_minor
        effect = Effect(kind, instruction.payment_id, amount_minor, instruction.key, reference)
        self.effects[instruction.payment_id].append(effect)
        authorization = instruction.reference or ""
        match kind:
            case OperationKind.AUTHORIZE:
                self._authorized[reference] = amount_minor
            case OperationKind.CAPTURE if instruction.final:
                self._authorized[authorization] = 0
            case OperationKind.CAPTURE:
                self._authorized[authorization] -= amount_minor
            case OperationKind.VOID:
                self._authorized[authorization] = 0
            case _:
                pass
        fails_later = self.sends_notices and self._adversary.strikes(Fault.FAILS_LATER)
        if fails_later and kind in SIGNS:
            seconds = self._adversary.between(*FAILS_LATER_SECONDS)
            asyncio.get_running_loop().call_later(seconds, self._fail, effect)

    def _fail(self, effect: Effect) -> None:
        """What was done fails afterwards."""
        self._log(f"bank: {effect.operation} {effect.key[-6:]} has failed afterwards")
        effect.is_reversed = True
        self._notify(effect.key, Reversed("failed_later", "It failed afterwards."))

    def _notify(self, key: str, result: ProcessorResult | Reversed) -> None:
        kind = type(result).__name__.lower()
        self._send_notice(Notice(event_id=f"{key}-{kind}", operation_id=key, result=result))

    def _result(self, instruction: Instruction) -> ProcessorResult:
        approved = Approved(self._reference(instruction))
        authorized = self._authorized.get(instruction.reference or "", 0)
        match instruction.operation:
            case OperationKind.CHARGE | OperationKind.AUTHORIZE:
                is_declined = instruction.card and instruction.card.number == DECLINED_CARD
                if is_declined:
                    return Declined("card_declined", "The card was declined.", "generic_decline")
                if instruction.key in self._unauthenticated:
                    return Declined("authentication_failed", "The payer did not authenticate.")
                return approved
            case OperationKind.CAPTURE if instruction.amount_minor > authorized:
                return Declined("amount_too_large", "More than is authorized.")
            case OperationKind.VOID if not authorized:
                return Declined("not_authorized", "Nothing is authorized.")
            case OperationKind.REFUND if instruction.amount_minor > self.taken(
                instruction.payment_id
            ):
                return Declined("amount_too_large", "More than was taken.")
            case _:
                return approved

    def _reference(self, instruction: Instruction) -> str:
        return f"ref_{instruction.key}"

    def taken(self, payment_id: str) -> int:
        """What the processor has taken of the payer and not given back, in minor units."""
        return sum(
            SIGNS.get(effect.operation, 0) * effect.amount_minor
            for effect in self.effects[payment_id]
            if not effect.is_reversed
        )

    def open(self, payment_id: str) -> int:
        """What is authorized, and neither captured nor released."""
        return sum(
            self._authorized[effect.reference]
            for effect in self.effects[payment_id]
            if effect.operation is OperationKind.AUTHORIZE
        )


class TwoPhaseBank(Bank):
    """A charge or authorization is an object before money can move. It is done once, whatever
    became of the key, unless it was canceled first. In half of the seeds it sends notices.
    """

    asks_payers = True
    capabilities = Capabilities(
        modes=frozenset({"test", "live"}), key_lifetime=KEY_LIFETIME, prepares=NEEDS_CARD
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.sends_notices = self._adversary.between(0.0, 1.0) < 0.5
        self._prepared: dict[str, tuple[float, str]] = {}
        self._intents: dict[str, ProcessorResult | None] = {}

    def prepare(self, instruction: Instruction) -> str:
        now = asyncio.get_running_loop().time()
        prepared_at, reference = self._prepared.get(instruction.key, (0.0, ""))
        if not reference or now >= prepared_at + KEY_LIFETIME.total_seconds():
            reference = f"pi_{instruction.key}_{len(self._intents)}"
            self._prepared[instruction.key] = now, reference
            self._intents[reference] = None
        return reference

    def _asks_payer(self, instruction: Instruction) -> bool:
        is_ended = self._intents.get(instruction.reference or "") is not None
        return not is_ended and super()._asks_payer(instruction)

    def _answer(self, instruction: Instruction) -> ProcessorResult | Received:
        if instruction.operation not in NEEDS_CARD:
            return self._do(instruction)
        reference = instruction.reference or ""
        if self._intents[reference] is not None:
            return Declined("unexpected_state", "This payment intent cannot be confirmed.")
        return self._do(instruction)

    def _do(self, instruction: Instruction) -> ProcessorResult:
        result = super()._do(instruction)
        if instruction.operation in NEEDS_CARD:
            self._intents[instruction.reference or ""] = result
        return result

    def read(self, instruction: Instruction) -> ProcessorResult | None:
        if instruction.operation in NEEDS_CARD:
            return self._intents.get(instruction.reference or "")
        result = self.results.get(instruction.key)
        return result if isinstance(result, Approved) else None

    def fence(self, instruction: Instruction) -> ProcessorResult | None:
        reference = instruction.reference or ""
        if reference in self._intents and self._intents[reference] is None:
            self._log(f"bank: {reference[-6:]} is canceled")
            self._unacted.pop(instruction.key, None)
            self._intents[reference] = NotDone()
        return self._intents.get(reference)

    def _reference(self, instruction: Instruction) -> str:
        if instruction.operation in NEEDS_CARD:
            return instruction.reference or ""
        return super()._reference(instruction)


class AsynchronousBank(Bank):
    """Captures, voids and refunds are received first, and done or declined some time later."""

    capabilities = Capabilities(modes=frozenset({"test", "live"}), key_lifetime=timedelta(days=31))
    sends_notices = True
    asks_payers = True
    ends_unacted = True

    def _answer(self, instruction: Instruction) -> ProcessorResult | Received:
        if instruction.operation in NEEDS_CARD:
            return self._do(instruction)
        loop = asyncio.get_running_loop()
        loop.call_later(self._adversary.between(*LATER_SECONDS), self._do, instruction)
        return Received(self._reference(instruction))


BANKS = (Bank, TwoPhaseBank, AsynchronousBank)
