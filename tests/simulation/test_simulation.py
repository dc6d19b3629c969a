"""A short form of `make simulate`, and of the world itself: the same seed gives the same run."""

import asyncio

import pytest

from tests.simulation.adversary import Fault
from tests.simulation.loop import SimulatedLoop, Stuck
from tests.simulation.run import simulate

SEEDS = range(60)
"""The short form. The long one: `make simulate SEEDS=50000`."""


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


def test_without_trouble_every_kind_of_step_is_taken() -> None:
    """A world in which a step is always rejected would show nothing of it."""
    reports = [simulate(seed, kinds=[]) for seed in range(10)]
    assert [violation for report in reports for violation in report.violations] == []
    done = {
        line.split()[2]
        for report in reports
        for line in report.story
        if " done Accepted " in line or " processing Queued " in line
    }
    assert done == {"validate", "process", "enqueue", "authorize", "capture", "cancel", "refund"}


@pytest.mark.parametrize("kind", Fault)
def test_every_effect_is_booked_once_and_every_answer_is_true_under(kind: Fault) -> None:
    reports = [simulate(seed, kinds=[kind]) for seed in range(12)]
    assert [violation for report in reports for violation in report.violations] == []
    assert sum(report.faults.get(kind, 0) for report in reports) > 0


def test_every_effect_is_booked_once_and_every_answer_is_true_under_all_faults() -> None:
    reports = [simulate(seed) for seed in SEEDS]
    assert [(r.seed, r.violations) for r in reports if r.violations] == []
    assert {fault for report in reports for fault in report.faults} == set(Fault)
