"""The migration of the database, as a task that runs before the services are updated.

AWS has no resource that runs a task and waits for it, so this is a dynamic resource of Pulumi's.
It runs whenever the task definition is new. A failure ends the deployment while the old code still
serves.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import boto3
import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from remit.adapters.aws.ecs import RunTask, run_until_stopped
from remit.domain.errors import Unavailable
from remit_infra.components.compute.containers import CONTAINER

LIMIT_SECONDS = 900


class MigrationFailed(Exception):
    """The task did not start or did not succeed. The message says why and where its log is."""


@dataclass(frozen=True, kw_only=True)
class MigrationTask:
    """The task to run: the resource's inputs, which Pulumi keeps in its state."""

    region: str
    cluster: pulumi.Input[str]
    task_definition: pulumi.Input[str]
    subnets: list[pulumi.Output[str]]
    groups: list[pulumi.Output[str]]
    log_group: pulumi.Input[str]


def run_task(inputs: dict[str, Any], client: Any) -> str:
    """Runs the task to its end and returns its ARN. Raises MigrationFailed."""
    task = RunTask(
        cluster=inputs["cluster"],
        task_definition=inputs["task_definition"],
        container=CONTAINER,
        subnets=tuple(inputs["subnets"]),
        groups=tuple(inputs["groups"]),
        log_group=inputs["log_group"],
        stream_prefix="payment-migration",
    )
    run = run_until_stopped(client, task, started_by="remit deploy", limit_seconds=LIMIT_SECONDS)
    try:
        stopped = asyncio.run(run)
    except Unavailable as error:
        raise MigrationFailed(f"The migration was not run: {error.message}") from error
    if stopped.exit_status != 0:
        raise MigrationFailed(
            f"The migration failed: {stopped.reason}. Its log is in {inputs['log_group']}."
        )
    return stopped.arn


class _MigrationProvider(ResourceProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        client = boto3.client("ecs", region_name=props["region"])
        return CreateResult(id_=run_task(props, client), outs=props)

    def diff(self, _id: str, old: dict[str, Any], new: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=old["task_definition"] != new["task_definition"])

    def update(self, _id: str, _old: dict[str, Any], new: dict[str, Any]) -> UpdateResult:
        run_task(new, boto3.client("ecs", region_name=new["region"]))
        return UpdateResult(outs=new)


class Migration(Resource):
    """A migration that has succeeded. What depends on it runs on the migrated database."""

    def __init__(
        self, name: str, task: MigrationTask, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(_MigrationProvider(), name, vars(task), opts)
