"""The migration of the database, as a task that is run once before the services are updated.

AWS has no resource for a task that is run and waited for, so this is one of Pulumi's own: made
anew when the task's definition is, and a failure stops the deployment here, with the old code
serving as before.
"""

import time
from collections.abc import Callable
from typing import Any

import boto3
import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

POLL_SECONDS = 3.0
LIMIT_SECONDS = 900


class MigrationFailed(Exception):
    """The task did not start, or did not end well. The message says why and where its log is."""


def run_task(
    asked: dict[str, Any],
    client: Any,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Runs the task to its end, and answers with its ARN. Raises MigrationFailed."""
    started = client.run_task(
        cluster=asked["cluster"],
        taskDefinition=asked["task_definition"],
        launchType="FARGATE",
        platformVersion="1.4.0",
        startedBy="remit deploy",
        networkConfiguration={
            "awsvpcConfiguration": {
                "subnets": asked["subnets"],
                "securityGroups": asked["groups"],
                "assignPublicIp": "DISABLED",
            }
        },
    )
    if started["failures"]:
        raise MigrationFailed(f"ECS did not start the migration: {started['failures'][0]}")
    task: str = started["tasks"][0]["taskArn"]
    for _ in range(int(LIMIT_SECONDS / POLL_SECONDS)):
        [found] = client.describe_tasks(cluster=asked["cluster"], tasks=[task])["tasks"]
        if found["lastStatus"] == "STOPPED":
            _require_success(found, asked)
            return task
        pause(POLL_SECONDS)
    raise MigrationFailed(f"The migration {task} has not ended after {LIMIT_SECONDS} s.")


def _require_success(found: dict[str, Any], asked: dict[str, Any]) -> None:
    [container] = found["containers"]
    if container.get("exitCode") != 0:
        why = container.get("reason") or found.get("stoppedReason", "it failed")
        raise MigrationFailed(f"The migration failed: {why}. Its log is in {asked['log_group']}.")


class _Migrations(ResourceProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        client = boto3.client("ecs", region_name=props["region"])
        return CreateResult(id_=run_task(props, client), outs=props)

    def diff(self, _id: str, old: dict[str, Any], new: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=old["task_definition"] != new["task_definition"])

    def update(self, _id: str, _old: dict[str, Any], new: dict[str, Any]) -> UpdateResult:
        run_task(new, boto3.client("ecs", region_name=new["region"]))
        return UpdateResult(outs=new)


class Migration(Resource):
    """Runs whenever the task's definition is new, and has ended well once it is there."""

    def __init__(
        self,
        name: str,
        *,
        region: str,
        cluster: pulumi.Input[str],
        task_definition: pulumi.Input[str],
        subnets: list[pulumi.Output[str]],
        groups: list[pulumi.Output[str]],
        log_group: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        asked = {
            "region": region,
            "cluster": cluster,
            "task_definition": task_definition,
            "subnets": subnets,
            "groups": groups,
            "log_group": log_group,
        }
        super().__init__(_Migrations(), name, asked, opts)
