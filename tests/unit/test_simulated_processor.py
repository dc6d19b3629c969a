"""The simulated processor: the test cards, its store, and the four ways in which it fails."""

import asyncio
import multiprocessing
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from remit.adapters.processors.simulated.processor import PastInstruction, SimulatedProcessor
from remit.adapters.processors.simulated.sqlite_store import SqliteSimulatorStore
from remit.domain.card import Card
from remit.domain.errors import ProcessorTimeout, ProcessorUnavailable
from remit.domain.operation import Approved, Declined, OperationKind, ProcessorResult
from remit.ports.processor import Instruction
from remit.settings import Settings
from tests.builders import DECLINED_CARD, GOOD_CARD, held

Open = Callable[..., SimulatedProcessor]

RESULTS = {
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
"""The (code, decline code) of each test card by the contract. None is success."""

DONE = PastInstruction(OperationKind.CHARGE, 5_013, Approved("sim_p1-1"), "USD")
"""What the books hold of the instruction with a fault, if it was done."""


@pytest.fixture
def open_processor(tmp_path: Path) -> Iterator[Open]:
    """Opens the processor's file with the test's settings. It can be opened several times."""
    with ExitStack() as stack:

        def make(**settings: Any) -> SimulatedProcessor:
            store = SqliteSimulatorStore(tmp_path / "processor.sqlite")
            stack.callback(store.close)
            return SimulatedProcessor(store, Settings(**settings))

        yield make


@pytest.fixture
def books(tmp_path: Path) -> Iterator[SqliteSimulatorStore]:
    """The books in the processor's file, to see what was done."""
    store = SqliteSimulatorStore(tmp_path / "processor.sqlite")
    yield store
    store.close()


def an_instruction(
    key: str = "p1-1",
    operation: OperationKind = OperationKind.CHARGE,
    amount_minor: int = 10_000,
    card: str | None = GOOD_CARD,
    payment_id: str = "p1",
) -> Instruction:
    return Instruction(
        key=key,
        operation=operation,
        payment_id=payment_id,
        merchant_id="acme",
        mode="test",
        amount_minor=amount_minor,
        currency="USD",
        card=None if card is None else Card(card, "visa", 12, 2030),
    )


def sent_again(instruction: Instruction) -> Instruction:
    """The same instruction, as it is sent after a call without a result."""
    return replace(instruction, attempt=instruction.attempt + 1)


@pytest.mark.parametrize("number", RESULTS)
@pytest.mark.parametrize("operation", [OperationKind.CHARGE, OperationKind.AUTHORIZE])
async def test_the_test_card_decides_the_result(
    open_processor: Open, number: str, operation: OperationKind
) -> None:
    result = await open_processor().execute(an_instruction(operation=operation, card=number))
    match RESULTS[number]:
        case None:
            assert result == Approved("sim_p1-1")
        case code, decline_code:
            assert isinstance(result, Declined)
            assert (result.code, result.decline_code) == (code, decline_code)
            assert number not in repr(result)


async def test_an_instruction_without_a_card_is_approved(open_processor: Open) -> None:
    assert await open_processor().execute(an_instruction(card=None)) == Approved("sim_p1-1")


async def test_the_same_key_has_the_same_result_for_any_instruction(open_processor: Open) -> None:
    processor = open_processor()
    first = await processor.execute(an_instruction(card=DECLINED_CARD))
    assert await processor.execute(an_instruction(card=GOOD_CARD, amount_minor=1)) == first
    assert await processor.execute(an_instruction(key="p1-2")) == Approved("sim_p1-2")


async def test_the_results_survive_a_restart(
    open_processor: Open, books: SqliteSimulatorStore
) -> None:
    before = open_processor()
    declined = await before.execute(an_instruction("p1-1", card=DECLINED_CARD))
    approved = await before.execute(an_instruction("p1-2"))
    after = open_processor()
    assert await books.of_payment("p1") == [
        PastInstruction(OperationKind.CHARGE, 10_000, declined, "USD"),
        PastInstruction(OperationKind.CHARGE, 10_000, approved, "USD"),
    ]
    assert await after.execute(an_instruction("p1-1", card=GOOD_CARD)) == declined
    assert await after.execute(sent_again(an_instruction("p1-2", card=DECLINED_CARD))) == approved
    assert await held(after, "p1") == 10_000


async def test_what_is_authorized_is_captured_in_parts_or_released(open_processor: Open) -> None:
    processor = open_processor()

    async def after(key: str, operation: OperationKind, amount_minor: int, final: bool) -> object:
        instruction = an_instruction(key, operation, amount_minor, payment_id="p1")
        await processor.execute(replace(instruction, final=final))
        balance = await processor.balance("p1")
        assert balance is not None
        return balance.held_minor, balance.authorized_minor

    assert await after("1", OperationKind.AUTHORIZE, 10_000, True) == (0, 10_000)
    assert await after("2", OperationKind.CAPTURE, 3_000, False) == (3_000, 7_000)
    assert await after("3", OperationKind.CAPTURE, 2_000, True) == (5_000, 0)
    assert await after("4", OperationKind.REFUND, 1_000, True) == (4_000, 0)
    lines = [line async for line in processor.settlement()]
    assert [(line.operation, line.amount_minor, line.operation_id) for line in lines] == [
        (OperationKind.CAPTURE, 3_000, "2"),
        (OperationKind.CAPTURE, 2_000, "3"),
        (OperationKind.REFUND, 1_000, "4"),
    ]


async def test_books_of_an_earlier_version_are_taken_over(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "processor.sqlite")) as file, file:
        file.execute("CREATE TABLE results (payment_id, key, operation, amount_minor, result)")
        result = '{"type": "approved", "reference": "sim_k1"}'
        file.execute("INSERT INTO results VALUES ('p1', 'k1', 'charge', 500, ?)", (result,))
    for _ in range(2):
        store = SqliteSimulatorStore(tmp_path / "processor.sqlite")
        assert await store.of_payment("p1") == [
            PastInstruction(OperationKind.CHARGE, 500, Approved("sim_k1"))
        ]
        store.close()


async def test_a_payment_without_a_past_instruction_has_no_balance(
    open_processor: Open, books: SqliteSimulatorStore
) -> None:
    assert await books.of_payment("p1") == []
    assert await open_processor().balance("p1") is None


async def test_a_balance_is_captured_less_refunded(open_processor: Open) -> None:
    processor = open_processor()
    for instruction in (
        an_instruction("p1-0", OperationKind.CHARGE, 10_000, DECLINED_CARD),
        an_instruction("p1-1", OperationKind.AUTHORIZE, 10_000),
        an_instruction("p1-2", OperationKind.CAPTURE, 2_500),
        an_instruction("p1-3", OperationKind.CAPTURE, 4_000),
        an_instruction("p1-3", OperationKind.CAPTURE, 4_000),
        an_instruction("r1", OperationKind.REFUND, 1_000, card=None),
        an_instruction("p1-5", OperationKind.VOID, 10_000, card=None),
        an_instruction("c1", OperationKind.CHARGE, 700, payment_id="p2"),
    ):
        await processor.execute(instruction)
    assert await held(processor, "p1") == 5_500
    assert await held(processor, "p2") == 700


async def test_a_decline_leaves_a_balance_of_zero(open_processor: Open) -> None:
    processor = open_processor()
    await processor.execute(an_instruction(card=DECLINED_CARD))
    assert await held(processor, "p1") == 0


async def test_a_processor_that_is_down_does_nothing_however_often_it_is_called(
    open_processor: Open, books: SqliteSimulatorStore
) -> None:
    processor = open_processor(simulator_down_at=13)
    instruction = an_instruction(amount_minor=5_013)
    for sent in (instruction, sent_again(instruction), sent_again(sent_again(instruction))):
        with pytest.raises(ProcessorUnavailable):
            await processor.execute(sent)
    assert await books.of_payment("p1") == []
    assert await processor.balance("p1") is None


async def test_a_processor_that_times_out_does_nothing(
    open_processor: Open, books: SqliteSimulatorStore
) -> None:
    processor = open_processor(simulator_timeout_at=13)
    with pytest.raises(ProcessorTimeout):
        await processor.execute(an_instruction(amount_minor=5_013))
    assert await books.of_payment("p1") == []
    assert await processor.balance("p1") is None


async def test_an_instruction_that_timed_out_is_done_when_it_is_sent_again(
    open_processor: Open,
) -> None:
    processor = open_processor(simulator_timeout_at=13)
    instruction = an_instruction(amount_minor=5_013)
    with pytest.raises(ProcessorTimeout):
        await processor.execute(instruction)
    assert await processor.execute(sent_again(instruction)) == Approved("sim_p1-1")
    assert await held(processor, "p1") == 5_013


async def test_a_lost_response_is_to_an_operation_that_was_done(
    open_processor: Open, books: SqliteSimulatorStore
) -> None:
    processor = open_processor(simulator_lost_at=13)
    with pytest.raises(ProcessorTimeout):
        await processor.execute(an_instruction(amount_minor=5_013))
    assert await books.of_payment("p1") == [DONE]
    assert await held(processor, "p1") == 5_013


@pytest.mark.parametrize("number", [GOOD_CARD, DECLINED_CARD])
async def test_an_instruction_with_a_lost_response_is_not_done_again(
    open_processor: Open, books: SqliteSimulatorStore, number: str
) -> None:
    processor = open_processor(simulator_lost_at=13)
    instruction = an_instruction(amount_minor=5_013, card=number)
    with pytest.raises(ProcessorTimeout):
        await processor.execute(instruction)
    [done] = await books.of_payment("p1")
    assert await processor.execute(sent_again(instruction)) == done.result
    assert await books.of_payment("p1") == [done]


async def test_a_late_response_comes_after_the_operation_was_done(
    open_processor: Open, books: SqliteSimulatorStore
) -> None:
    processor = open_processor(simulator_late_at=13, simulator_late_seconds=60)
    instruction = an_instruction(amount_minor=5_013)
    late = asyncio.create_task(processor.execute(instruction))
    await asyncio.sleep(0)
    assert not late.done()
    assert await books.of_payment("p1") == [DONE]
    async with asyncio.timeout(10):
        assert await processor.execute(sent_again(instruction)) == Approved("sim_p1-1")
    assert await held(processor, "p1") == 5_013
    late.cancel()
    with pytest.raises(asyncio.CancelledError):
        await late


async def test_a_late_response_arrives(open_processor: Open) -> None:
    processor = open_processor(simulator_late_at=13, simulator_late_seconds=0.01)
    assert await processor.execute(an_instruction(amount_minor=5_013)) == Approved("sim_p1-1")


async def test_other_amounts_do_not_fail(open_processor: Open) -> None:
    faults = {f"simulator_{fault}_at": 13 for fault in ("down", "timeout", "lost", "late")}
    processor = open_processor(**faults, simulator_modulus=100, simulator_late_seconds=60)
    for number, amount_minor in enumerate((12, 14, 1_300, 10_014)):
        result = await processor.execute(an_instruction(f"p1-{number}", amount_minor=amount_minor))
        assert result == Approved(f"sim_p1-{number}")
    with pytest.raises(ProcessorUnavailable):
        await processor.execute(an_instruction("p1-9", amount_minor=913))


def execute_many(path: Path, worker: int) -> list[tuple[str, ProcessorResult]]:
    """The results in one process: for keys of its own, and for keys that every process uses."""
    store = SqliteSimulatorStore(path)
    processor = SimulatedProcessor(store, Settings())
    try:
        return [
            (key, asyncio.run(processor.execute(an_instruction(key, card=card, amount_minor=100))))
            for number in range(50)
            for key, card in (
                (f"p1-own-{worker}-{number}", GOOD_CARD),
                (f"p1-shared-{number}", (GOOD_CARD, DECLINED_CARD)[worker % 2]),
            )
        ]
    finally:
        store.close()


async def test_processes_on_one_file_agree_on_every_result(
    open_processor: Open, books: SqliteSimulatorStore, tmp_path: Path
) -> None:
    path = tmp_path / "processor.sqlite"
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        by_worker = pool.starmap(execute_many, [(path, worker) for worker in range(4)], chunksize=1)
    results = [pair for of_worker in by_worker for pair in of_worker]
    processor = open_processor()
    assert len(results) == 4 * 2 * 50
    first = dict(results)
    assert [pair for pair in results if first[pair[0]] != pair[1]] == []
    past = await books.of_payment("p1")
    assert past == [
        PastInstruction(OperationKind.CHARGE, 100, first[key], "USD") for key in sorted(first)
    ]
    for key, result in first.items():
        instruction = an_instruction(key, card=DECLINED_CARD, amount_minor=100)
        assert await processor.execute(sent_again(instruction)) == result
    approved = [key for key, result in first.items() if isinstance(result, Approved)]
    assert await held(processor, "p1") == 100 * len(approved)
