"""The migration as a task: run once, waited for, and made anew with its definition alone."""

from typing import Any

import boto3
import pytest

from remit_infra.parts import migration
from remit_infra.parts.migration import LIMIT_SECONDS, POLL_SECONDS, MigrationFailed, run_task

ASKED = {
    "region": "us-east-1",
    "cluster": "payment-cluster-dev",
    "task_definition": "payment-migration-task-dev:7",
    "subnets": ["subnet-1", "subnet-2"],
    "groups": ["sg-1"],
    "log_group": "/ecs/payment-dev",
}


class Ecs:
    """A cluster where a task goes through these states; it is never further than its last one."""

    def __init__(self, *states: str, exit_code: int | None = 0, **why: str) -> None:
        self.states = list(states)
        self.container = {"exitCode": exit_code} | (
            {"reason": why["reason"]} if "reason" in why else {}
        )
        self.stopped = {"stoppedReason": why["stopped"]} if "stopped" in why else {}
        self.calls: list[str] = []
        self.started: dict[str, Any] = {}

    def run_task(self, **asked: Any) -> dict[str, Any]:
        self.calls.append("run")
        self.started = asked
        if not self.states:
            return {"tasks": [], "failures": [{"reason": "RESOURCE:FARGATE"}]}
        return {"tasks": [{"taskArn": "task/1"}], "failures": []}

    def describe_tasks(self, **_: Any) -> dict[str, Any]:
        self.calls.append("look")
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {"tasks": [{"lastStatus": state, "containers": [self.container], **self.stopped}]}


def test_the_task_is_run_and_waited_for() -> None:
    ecs, pauses = Ecs("PENDING", "RUNNING", "STOPPED"), list[float]()
    assert run_task(ASKED, ecs, pauses.append) == "task/1"
    assert ecs.calls == ["run", "look", "look", "look"]
    assert pauses == [POLL_SECONDS] * 2
    network = ecs.started["networkConfiguration"]["awsvpcConfiguration"]
    assert (network["subnets"], network["assignPublicIp"]) == (ASKED["subnets"], "DISABLED")
    assert ecs.started["taskDefinition"] == ASKED["task_definition"]


@pytest.mark.parametrize(
    ("ecs", "said"),
    [
        (Ecs("STOPPED", exit_code=1), "it failed. Its log is in /ecs/payment-dev"),
        (Ecs("STOPPED", exit_code=1, stopped="Essential container exited"), "Essential container"),
        (Ecs("STOPPED", exit_code=None, reason="CannotPullContainerError"), "CannotPullContainer"),
        (Ecs(), "ECS did not start the migration: .*RESOURCE:FARGATE"),
        (Ecs("RUNNING"), f"task/1 has not ended after {LIMIT_SECONDS} s"),
    ],
    ids=["exit code", "stopped", "no image", "no start", "no end"],
)
def test_a_migration_that_did_not_end_well_says_why(ecs: Ecs, said: str) -> None:
    with pytest.raises(MigrationFailed, match=said):
        run_task(ASKED, ecs, lambda _: None)
    assert ecs.calls.count("run") == 1


def test_it_is_run_again_only_for_a_new_definition() -> None:
    provider = migration._Migrations()
    same = ASKED | {"subnets": ["subnet-9"], "log_group": "another"}
    assert not provider.diff("task/1", ASKED, same).changes
    assert provider.diff("task/1", ASKED, ASKED | {"task_definition": "payment:8"}).changes


def test_making_and_changing_it_run_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, dict[str, Any]]] = []

    def run(asked: dict[str, Any], client: str) -> str:
        ran.append((client, asked))
        return "task/1"

    monkeypatch.setattr(boto3, "client", lambda *_, region_name: region_name)
    monkeypatch.setattr(migration, "run_task", run)
    provider = migration._Migrations()
    assert provider.create(ASKED).id == "task/1"
    newer = ASKED | {"task_definition": "payment:8"}
    assert provider.update("task/1", ASKED, newer).outs == newer
    assert ran == [("us-east-1", ASKED), ("us-east-1", newer)]
