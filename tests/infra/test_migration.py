"""The migration's task, as a deployment runs it: to its end, or not at all."""

from typing import Any

import boto3
import pytest

from remit_infra.components.compute import migration
from remit_infra.components.compute.migration import MigrationFailed, run_task

TASK = "arn:aws:ecs:us-east-1:123456789012:task/payment-cluster-dev/0123456789abcdef"
ASKED: dict[str, Any] = {
    "region": "us-east-1",
    "cluster": "payment-cluster-dev",
    "task_definition": "payment-migration-task-dev:3",
    "subnets": ["subnet-1"],
    "groups": ["sg-1"],
    "log_group": "/ecs/payment-dev",
}


class Cluster:
    """ECS with one task, which has stopped by the time it is looked at."""

    def __init__(self, container: dict[str, Any] | None = None) -> None:
        self._container = container
        self.asked: dict[str, Any] = {}

    def run_task(self, **asked: Any) -> dict[str, Any]:
        self.asked = asked
        if self._container is None:
            return {"tasks": [], "failures": [{"reason": "RESOURCE:ENI"}]}
        return {"tasks": [{"taskArn": TASK}], "failures": []}

    def describe_tasks(self, **_: Any) -> dict[str, Any]:
        return {"tasks": [{"lastStatus": "STOPPED", "containers": [self._container]}]}


def test_a_migration_is_the_definitions_own_command() -> None:
    cluster = Cluster({"exitCode": 0})
    assert run_task(ASKED, cluster) == TASK
    assert "overrides" not in cluster.asked
    assert cluster.asked["taskDefinition"] == ASKED["task_definition"]


@pytest.mark.parametrize(
    ("container", "said"),
    [
        (None, "The migration was not run: ECS did not start .*: RESOURCE:ENI"),
        ({"exitCode": 1, "reason": "it is newer"}, "The migration failed: it is newer. Its log is"),
        ({"reason": "CannotPullContainerError"}, "The migration failed: CannotPullContainerError"),
    ],
)
def test_a_migration_that_does_not_end_well_stops_the_deployment(
    container: dict[str, Any] | None, said: str
) -> None:
    with pytest.raises(MigrationFailed, match=said):
        run_task(ASKED, Cluster(container))


def test_it_is_run_again_only_for_a_new_definition() -> None:
    provider = migration._MigrationProvider()
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
    provider = migration._MigrationProvider()
    assert provider.create(ASKED).id == "task/1"
    newer = ASKED | {"task_definition": "payment:8"}
    assert provider.update("task/1", ASKED, newer).outs == newer
    assert ran == [("us-east-1", ASKED), ("us-east-1", newer)]
