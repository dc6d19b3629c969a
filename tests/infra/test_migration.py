"""The migration's task, as a deployment runs it: to its end, or not at all."""

from typing import Any

import pytest

from remit_infra.parts.migration import MigrationFailed, run_task

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
