"""The simulated processor: the test cards, its memory, and the four ways it fails on request."""

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from remit.adapters.processors.simulated.processor import SimulatedProcessor
from remit.adapters.processors.simulated.sqlite_store import SqliteSimulatorStore
from remit.domain.card import Card
from remit.domain.errors import ProcessorTimeout, ProcessorUnavailable
from remit.domain.payment import Approved, Declined, Operation, ProcessorResult
from remit.ports.processor import Instruction
from remit.settings import Settings
from tests.builders import DECLINED_CARD, GOOD_CARD

Open = Callable[..., SimulatedProcessor]

ANSWERS = {
    "4242424242424242": None,
    "4000000000000002": ("card_declined", "generic_decline"),
    "4000000000009995": ("card_declined", "insufficient_funds"),
    "4000000000000069": ("expired_card", "expired_card"),
    "4000000000000127": ("incorrect_cvc", "incorrect_cvc"),
    "4000000000000119": ("processing_error", "processing_error"),
    "4100000000000019": ("card_declined", "fraudulent"),
    "4000000000000259": None,
    "5555555555554444": None,
}
"""Card number to (code, decline code), as promised to callers; None is success."""


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens the processor's file, again and again if wanted, with settings of the test's own."""
    with ExitStack() as stack:

        def make(**settings: Any) -> SimulatedProcessor:
            memory = SqliteSimulatorStore(tmp_path / "processor.sqlite")
            stack.callback(memory.close)
            return SimulatedProcessor(memory, Settings(**settings))

        yield make


def asked(
    key: str = "p1-1",
    operation: Operation = Operation.CHARGE,
    amount_minor: int = 10_000,
    card: str | None = GOOD_CARD,
    payment_id: str = "p1",
) -> Instruction:
    return Instruction(
        key=key,
        operation=operation,
        payment_id=payment_id,
        amount_minor=amount_minor,
        currency="USD",
        card=None if card is None else Card(card, "visa", 12, 2030),
    )


@pytest.mark.parametrize("number", ANSWERS)
@pytest.mark.parametrize("operation", [Operation.CHARGE, Operation.AUTHORIZE])
async def test_the_test_card_decides_the_answer(
    opened: Open, number: str, operation: Operation
) -> None:
    answer = await opened().execute(asked(operation=operation, card=number))
    match ANSWERS[number]:
        case None:
            assert answer == Approved("sim_p1-1")
        case code, decline_code:
            assert isinstance(answer, Declined)
            assert (answer.code, answer.decline_code) == (code, decline_code)
            assert number not in repr(answer)


async def test_without_a_card_it_approves(opened: Open) -> None:
    assert await opened().execute(asked(card=None)) == Approved("sim_p1-1")


async def test_the_same_key_answers_the_same_whatever_is_asked(opened: Open) -> None:
    processor = opened()
    first = await processor.execute(asked(card=DECLINED_CARD))
    assert await processor.execute(asked(card=GOOD_CARD, amount_minor=1)) == first
    assert await processor.execute(asked(key="p1-2")) == Approved("sim_p1-2")


async def test_its_memory_outlives_a_restart(opened: Open) -> None:
    before = opened()
    declined = await before.execute(asked("p1-1", card=DECLINED_CARD))
    approved = await before.execute(asked("p1-2"))
    after = opened()
    assert await after.find("p1-1") == declined
    assert await after.find("p1-2") == approved
    assert await after.execute(asked("p1-1", card=GOOD_CARD)) == declined
    assert await after.balance("p1") == 10_000


async def test_what_was_never_asked_is_not_found(opened: Open) -> None:
    processor = opened()
    assert await processor.find("p1-1") is None
    assert await processor.balance("p1") is None


async def test_a_balance_is_captured_less_refunded(opened: Open) -> None:
    processor = opened()
    for instruction in (
        asked("p1-0", Operation.CHARGE, 10_000, DECLINED_CARD),
        asked("p1-1", Operation.AUTHORIZE, 10_000),
        asked("p1-2", Operation.CAPTURE, 2_500),
        asked("p1-3", Operation.CAPTURE, 4_000),
        asked("p1-3", Operation.CAPTURE, 4_000),
        asked("r1", Operation.REFUND, 1_000, card=None),
        asked("p1-5", Operation.VOID, 10_000, card=None),
        asked("p2-0", Operation.CHARGE, 700, payment_id="p2"),
    ):
        await processor.execute(instruction)
    assert await processor.balance("p1") == 5_500
    assert await processor.balance("p2") == 700


async def test_a_decline_leaves_a_balance_of_nothing(opened: Open) -> None:
    processor = opened()
    await processor.execute(asked(card=DECLINED_CARD))
    assert await processor.balance("p1") == 0


async def test_down_is_refused_at_once_and_nothing_is_done(opened: Open) -> None:
    processor = opened(simulator_down_at=13)
    with pytest.raises(ProcessorUnavailable):
        await processor.execute(asked(amount_minor=5_013))
    assert await processor.find("p1-1") is None


async def test_a_timeout_does_nothing_and_does_not_answer(opened: Open) -> None:
    processor = opened(simulator_timeout_at=13)
    with pytest.raises(ProcessorTimeout):
        await processor.execute(asked(amount_minor=5_013))
    assert await processor.find("p1-1") is None


async def test_a_lost_answer_is_to_work_that_was_done(opened: Open) -> None:
    processor = opened(simulator_lost_at=13)
    with pytest.raises(ProcessorTimeout):
        await processor.execute(asked(amount_minor=5_013))
    assert await processor.find("p1-1") == Approved("sim_p1-1")
    assert await processor.balance("p1") == 5_013


async def test_a_late_answer_comes_after_the_work_was_done(opened: Open) -> None:
    processor = opened(simulator_late_at=13, simulator_late_seconds=60)
    late = asyncio.create_task(processor.execute(asked(amount_minor=5_013)))
    await asyncio.sleep(0)
    assert not late.done()
    assert await processor.find("p1-1") == Approved("sim_p1-1")
    late.cancel()
    with pytest.raises(asyncio.CancelledError):
        await late


async def test_a_late_answer_comes_in_the_end(opened: Open) -> None:
    processor = opened(simulator_late_at=13, simulator_late_seconds=0.01)
    assert await processor.execute(asked(amount_minor=5_013)) == Approved("sim_p1-1")


async def test_other_amounts_and_moduli_are_not_touched(opened: Open) -> None:
    faults = {f"simulator_{fault}_at": 13 for fault in ("down", "timeout", "lost", "late")}
    processor = opened(**faults, simulator_modulus=100, simulator_late_seconds=60)
    for number, amount_minor in enumerate((12, 14, 1_300, 10_014)):
        answer = await processor.execute(asked(f"p1-{number}", amount_minor=amount_minor))
        assert answer == Approved(f"sim_p1-{number}")
    with pytest.raises(ProcessorUnavailable):
        await processor.execute(asked("p1-9", amount_minor=913))


def ask_much(path: Path, worker: int) -> list[tuple[str, ProcessorResult]]:
    """What one process was answered: keys of its own, and keys that every process asks."""
    memory = SqliteSimulatorStore(path)
    processor = SimulatedProcessor(memory, Settings())
    try:
        return [
            (key, asyncio.run(processor.execute(asked(key, card=card, amount_minor=100))))
            for number in range(50)
            for key, card in (
                (f"p1-own-{worker}-{number}", GOOD_CARD),
                (f"p1-shared-{number}", (GOOD_CARD, DECLINED_CARD)[worker % 2]),
            )
        ]
    finally:
        memory.close()


async def test_processes_on_one_file_agree_on_every_answer(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "processor.sqlite"
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        answered = pool.starmap(ask_much, [(path, worker) for worker in range(4)], chunksize=1)
    told = [pair for answers in answered for pair in answers]
    processor = opened()
    assert len(told) == 4 * 2 * 50
    assert [pair for pair in told if await processor.find(pair[0]) != pair[1]] == []
    approved = {key for key, answer in told if isinstance(answer, Approved)}
    assert await processor.balance("p1") == 100 * len(approved)
