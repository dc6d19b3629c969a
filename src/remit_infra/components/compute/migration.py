"""The migration of the database, as a task that is run once before the services are updated.

AWS has no resource for a task that is run and waited for, so this is one of Pulumi's own: made
anew when the task's definition is, and a failure stops the deployment here, with the old code
serving as before.
"""

import asyncio
from typing import Any

import boto3
import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from remit.adapters.aws.ecs import RunTask, run_to_end
from remit.domain.errors import Unavailable
from remit_infra.components.compute.containers import CONTAINER

LIMIT_SECONDS = 900


class MigrationFailed(Exception):
    """The task did not start, or did not end well. The message says why and where its log is."""


def run_task(asked: dict[str, Any], client: Any) -> str:
    """Runs the task to its end, and answers with its ARN. Raises MigrationFailed."""
    where = RunTask(
        cluster=asked["cluster"],
        task_definition=asked["task_definition"],
        container=CONTAINER,
        subnets=tuple(asked["subnets"]),
        groups=tuple(asked["groups"]),
        log_group=asked["log_group"],
        stream_prefix="payment-migration",
    )
    running = run_to_end(client, where, started_by="remit deploy", limit_seconds=LIMIT_SECONDS)
    try:
        ended = asyncio.run(running)
    except Unavailable as error:
        raise MigrationFailed(f"The migration was not run: {error.message}") from error
    if ended.exit_status != 0:
        raise MigrationFailed(
            f"The migration failed: {ended.reason}. Its log is in {asked['log_group']}."
        )
    return ended.task


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
