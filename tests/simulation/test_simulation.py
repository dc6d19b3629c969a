"""A short form of `make simulate`, and of the world itself: the same seed gives the same run."""

import asyncio

import pytest

from tests.simulation.adversary import Fault
from tests.simulation.loop import SimulatedLoop, Stuck
from tests.simulation.run import simulate

SEEDS = range(12)

HELD = [
    Fault.COMMIT_HANGS,
    Fault.SEND_FAILS,
    Fault.SEND_UNHEARD,
    Fault.MESSAGE_REPEATED,
    Fault.REQUEST_LOST,
    Fault.REQUEST_REPEATED,
    Fault.RESPONSE_LATE,
]
"""The faults that the protocol holds against. `make simulate` finds violations under the others:
docs/decisions/0003-claim-before-asking.md says why.
"""


def test_hours_pass_in_no_time_and_in_order() -> None:
    passed: list[float] = []

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)
        passed.append(asyncio.get_running_loop().time())

    async def wait_together() -> None:
        await asyncio.gather(wait(7_200.0), wait(3_600.0), wait(0.5))

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(wait_together())
    assert passed == pytest.approx([0.5, 3_600.0, 7_200.0])


def test_waiting_for_what_never_comes_is_an_error() -> None:
    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    loop = SimulatedLoop()
    with pytest.raises(Stuck):
        loop.run_until_complete(wait())
    asyncio.all_tasks(loop).pop().cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_a_seed_gives_the_same_run_each_time() -> None:
    first, second = simulate(7), simulate(7)
    assert first.story == second.story
    assert first.operations > 50
    assert len(first.faults) > 3


@pytest.mark.parametrize("seed", SEEDS)
def test_without_trouble_every_effect_is_booked_once_and_every_answer_is_true(seed: int) -> None:
    report = simulate(seed, kinds=[])
    assert report.violations == []
    assert report.operations > 50


@pytest.mark.parametrize("kind", HELD)
def test_every_effect_is_booked_once_and_every_answer_is_true_under(kind: Fault) -> None:
    reports = [simulate(seed, kinds=[kind]) for seed in SEEDS]
    assert [violation for report in reports for violation in report.violations] == []
    assert sum(report.faults.get(kind, 0) for report in reports) > 0
