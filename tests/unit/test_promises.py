"""What must hold whatever goes wrong between a caller, the service, its database and a processor.

Each test is one way in which money was once lost or moved twice. The simulated world finds many
more; here each has its name.
"""

import asyncio
import copy
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from remit.adapters.memory.store import MemoryStore
from remit.clock_and_ids import new_id
from remit.domain.change import Change, Conflict
from remit.domain.errors import ConnectionLost, ProcessorUnavailable, ResultUnknown
from remit.domain.operation import Declined, OperationKind, OperationState, ProcessorResult
from remit.domain.payment import Payment, State
from remit.domain.refund import RefundState
from remit.oversight.reconcile import reconcile
from remit.payments.claims import read_claim
from remit.payments.operation_results import EXPIRED, record_unsent
from remit.payments.process import ProcessRequest, authorize, cancel, capture, enqueue, process
from remit.payments.refund import refund
from remit.payments.results import Queued, Replayed
from remit.ports.app import App
from remit.ports.processor import Capabilities, Instruction
from tests.builders import (
    DECLINED_CARD,
    GOOD_CARD,
    ScriptedProcessor,
    caller,
    key_of,
    processor_of,
    replace_parts,
)
from tests.unit.steps import (
    a_processed_payment,
    a_validated_payment,
    accepted,
    an_authorized_payment,
    balances,
    current,
    handle_all,
    pass_time,
    queued,
    rejected,
    replayed,
    store_of,
    the_operation,
)

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def done_at_the_processor(app: App, kind: OperationKind) -> list[int]:
    """The amounts that the processor moved by operations of this kind."""
    return [
        instruction.amount_minor
        for instruction, _ in processor_of(app).results.values()
        if instruction.operation is kind
    ]


async def test_a_partial_capture_that_a_worker_finished_is_not_done_again_under_its_key(
    in_memory: App,
) -> None:
    payment = await an_authorized_payment(in_memory)
    key = key_of("capture", "k1")

    async def once() -> Any:
        return await capture(
            in_memory, caller(), payment.id, amount_minor=3_000, final=False, key=key
        )

    processor_of(in_memory).faults.append("lost")
    assert accepted(await once()).state is State.UNKNOWN
    await pass_time(in_memory, MINUTE)
    assert replayed(await once()).captured_minor == 3_000
    assert done_at_the_processor(in_memory, OperationKind.CAPTURE) == [3_000]
    assert (await current(in_memory, payment)).captured_minor == 3_000


async def test_a_decline_whose_answer_was_lost_is_replayed_under_its_key(in_memory: App) -> None:
    payment = await a_validated_payment(in_memory, card=DECLINED_CARD)
    request, key = ProcessRequest(payment.id), key_of("process", "k1")
    processor_of(in_memory).faults.append("lost")
    await process(in_memory, caller(), request, key)
    await pass_time(in_memory, MINUTE)
    for _ in range(2):
        assert replayed(await process(in_memory, caller(), request, key)).state is State.DECLINED
    assert len(processor_of(in_memory).results) == 1


async def test_each_step_is_replayed_under_its_key_whatever_came_after_it(in_memory: App) -> None:
    payment = await a_validated_payment(in_memory)
    request = ProcessRequest(payment.id)

    async def authorized() -> Any:
        return await authorize(in_memory, caller(), request, key_of("authorize", "k"))

    async def captured() -> Any:
        return await capture(
            in_memory, caller(), payment.id, amount_minor=4_000, key=key_of("capture", "k")
        )

    first = accepted(await authorized())
    second = accepted(await captured())
    await refund(in_memory, caller(), payment.id, amount_minor=1_000)
    for _ in range(2):
        assert replayed(await authorized()).state is first.state is State.AUTHORIZED
        again = replayed(await captured())
        assert (again.state, again.refunded_minor) == (second.state, 0)


async def test_the_key_of_a_request_that_was_certainly_not_done_can_queue_it(
    in_memory: App,
) -> None:
    payment = await a_validated_payment(in_memory)
    request, key = ProcessRequest(payment.id), key_of("process", "k1")
    processor_of(in_memory).faults.append("down")
    error = rejected(await process(in_memory, caller(), request, key))
    assert isinstance(error, ProcessorUnavailable)
    queued(await enqueue(in_memory, caller(), request, key))
    await pass_time(in_memory, MINUTE)
    assert done_at_the_processor(in_memory, OperationKind.CHARGE) == [10_000]


async def test_a_new_card_on_an_old_payment_is_kept_for_its_own_time(in_memory: App) -> None:
    payment = await a_processed_payment(in_memory, card=DECLINED_CARD)
    await pass_time(in_memory, 8 * DAY)
    queued(await enqueue(in_memory, caller(), ProcessRequest(payment.id, GOOD_CARD)))
    processor_of(in_memory).down = True
    await pass_time(in_memory, MINUTE)
    processor_of(in_memory).down = False
    await pass_time(in_memory, HOUR)
    assert (await current(in_memory, payment)).state is State.CAPTURED


class DeafStore:
    """A store that commits, and whose answer to the commit is lost for the first times."""

    def __init__(self, store: Any, lost: int) -> None:
        self._store = store
        self._lost = lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, change: Change) -> Conflict | None:
        conflict: Conflict | None = await self._store.commit(change)
        self._lost -= 1
        if self._lost >= 0:
            raise ConnectionLost("The database's answer was lost.")
        return conflict


@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_a_refund_whose_commit_went_unheard_is_made_once_under_its_key(
    in_memory: App, lost: int
) -> None:
    payment = await a_processed_payment(in_memory)
    key = key_of("refund", "k1")
    deaf = replace_parts(in_memory, store=DeafStore(in_memory.store, lost))
    with pytest.raises(ResultUnknown):
        await refund(deaf, caller(), payment.id, amount_minor=3_000, key=key)
    await pass_time(in_memory, HOUR)
    again = await refund(in_memory, caller(), payment.id, amount_minor=3_000, key=key)
    assert isinstance(again, Replayed)
    assert done_at_the_processor(in_memory, OperationKind.REFUND) == [3_000]
    assert balances(in_memory)["test/merchant/acme"] == -7_000


class SilentProcessor(ScriptedProcessor):
    """Loses each answer, and never answers a question."""

    capabilities = Capabilities(modes=frozenset({"test"}), key_lifetime=DAY)

    async def read(self, instruction: Instruction) -> ProcessorResult | None:
        await asyncio.Event().wait()
        raise AssertionError("it is never set")


async def test_a_processor_that_never_answers_a_question_holds_no_worker(in_memory: App) -> None:
    processor = SilentProcessor()
    quick = replace_parts(
        in_memory, settings=replace(in_memory.settings, processor_timeout_seconds=0.01)
    )
    app = replace_parts(quick, processor=processor)
    processor.faults.append("lost")
    payment = await a_processed_payment(app)
    async with asyncio.timeout(10):
        await pass_time(app, 2 * DAY)
    assert (await current(app, payment)).state is State.UNKNOWN


async def test_what_a_restored_database_has_forgotten_is_named(in_memory: App) -> None:
    """Keys of operations are never used again, so the processor cannot tell what it did before."""
    app = replace_parts(in_memory, new_id=new_id)
    payment = await a_validated_payment(app)
    before: MemoryStore = copy.deepcopy(store_of(app))
    await process(app, caller(), ProcessRequest(payment.id))
    vars(store_of(app)).update(vars(before))
    assert (await current(app, payment)).state is State.VALIDATED
    found = [(one.check, one.record) async for one in reconcile(app)]
    [key] = processor_of(app).results
    assert found == [("processor", payment.id), ("settlement", f"ref_{key}")]


# A cancel while the processor may have the instruction


async def a_cancel_of_what_is_on_its_way(app: App, step: Any, card: str = GOOD_CARD) -> Payment:
    """A payment whose charge or authorization got no answer, and that was canceled then."""
    payment = await a_validated_payment(app, card=card)
    processor_of(app).faults.append("lost")
    await step(app, caller(), ProcessRequest(payment.id))
    for _ in range(2):
        result = await cancel(app, caller(), payment.id, key=key_of("cancel", "k1"))
        assert isinstance(result, Queued | Replayed)
    other = await cancel(app, caller(), payment.id, key=key_of("cancel", "k2"))
    assert isinstance(other, Replayed)
    assert other.queued
    assert (await current(app, payment)).state is State.UNKNOWN
    return payment


async def test_what_a_canceled_charge_took_is_given_back(in_memory: App) -> None:
    payment = await a_cancel_of_what_is_on_its_way(in_memory, process)
    await pass_time(in_memory, MINUTE)
    processor_of(in_memory).faults.append("down")  # for the refund's first message
    await pass_time(in_memory, MINUTE)
    await pass_time(in_memory, HOUR)
    after = await current(in_memory, payment)
    assert (after.state, after.captured_minor, after.refunded_minor) == (
        State.CAPTURED,
        10_000,
        10_000,
    )
    assert done_at_the_processor(in_memory, OperationKind.REFUND) == [10_000]
    assert balances(in_memory) == {}
    [refunded] = await in_memory.database.reader.refunds(payment.id)
    assert refunded.state is RefundState.SUCCEEDED


async def test_a_canceled_authorization_is_voided(in_memory: App) -> None:
    payment = await a_cancel_of_what_is_on_its_way(in_memory, authorize)
    for _ in range(3):
        await pass_time(in_memory, MINUTE)
    assert (await current(in_memory, payment)).state is State.CANCELED
    assert done_at_the_processor(in_memory, OperationKind.VOID) == [10_000]


async def test_a_void_that_was_promised_is_sent_until_the_processor_has_it(in_memory: App) -> None:
    payment = await a_cancel_of_what_is_on_its_way(in_memory, authorize)
    processor_of(in_memory).faults.extend([None, "down", "timeout", "down"])
    for _ in range(6):
        await pass_time(in_memory, HOUR)
    assert (await current(in_memory, payment)).state is State.CANCELED


async def test_a_canceled_charge_that_is_declined_is_canceled(in_memory: App) -> None:
    payment = await a_cancel_of_what_is_on_its_way(in_memory, process, DECLINED_CARD)
    await pass_time(in_memory, MINUTE)
    assert (await current(in_memory, payment)).state is State.CANCELED
    assert balances(in_memory) == {}


@pytest.mark.parametrize("is_expired", [True, False], ids=["expired", "card gone"])
async def test_a_queued_charge_that_another_worker_has_sent_is_not_ended_by_this_one(
    in_memory: App, is_expired: bool
) -> None:
    """This one read it while it was queued, and is slow."""
    payment = await a_validated_payment(in_memory)
    queued(await enqueue(in_memory, caller(), ProcessRequest(payment.id)))
    operation = the_operation(in_memory)
    read = await read_claim(in_memory, operation.id)
    assert read is not None
    processor_of(in_memory).faults.append("lost")
    await handle_all(in_memory)
    assert the_operation(in_memory).state is OperationState.SENT
    result = EXPIRED if is_expired else Declined("card_unreadable", "The card is gone.")
    await record_unsent(in_memory, caller(), read, result)
    assert (await current(in_memory, payment)).state is State.UNKNOWN
    await pass_time(in_memory, MINUTE)
    assert (await current(in_memory, payment)).state is State.CAPTURED
