"""Runs one ECS task until it has stopped, and reads its log.

For operators and deployments, which cannot reach the tasks' network. The services, whose tasks keep
running, belong to the topology.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from botocore.exceptions import ClientError

from remit.adapters.aws.client import call
from remit.domain.errors import InvalidRequest, Unavailable

POLL_SECONDS = 3.0
MAX_OVERRIDES_CHARACTERS = 8_192
"""The longest overrides that ECS accepts (ECS API, "TaskOverride")."""

LOG_DELAY_SECONDS = 30
"""How long after the end of a task its log may still arrive."""

T = TypeVar("T")
Pause = Callable[[float], Awaitable[None]]


class RunTask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The task to run: a definition with one container, its network and its log."""

    cluster: str
    task_definition: str
    container: str
    subnets: tuple[str, ...]
    groups: tuple[str, ...]
    log_group: str
    stream_prefix: str


class TaskOverrides(NamedTuple):
    """The command and environment of one run, in place of the definition's."""

    command: Sequence[str] | None = None
    environment: Mapping[str, str] | None = None

    def parameters(self, container: str) -> dict[str, Any]:
        """The parameters of RunTask. Raises InvalidRequest if they are longer than ECS accepts."""
        override: dict[str, Any] = {}
        if self.command is not None:
            override["command"] = list(self.command)
        if self.environment is not None:
            override["environment"] = [
                {"name": name, "value": value} for name, value in sorted(self.environment.items())
            ]
        if not override:
            return {}
        overrides = {"containerOverrides": [{"name": container, **override}]}
        if (characters := len(json.dumps(overrides))) > MAX_OVERRIDES_CHARACTERS:
            raise InvalidRequest(
                f"A task takes overrides of {MAX_OVERRIDES_CHARACTERS} characters at most, and "
                f"these have {characters}.",
                param=None,
            )
        return {"overrides": overrides}


NO_OVERRIDES = TaskOverrides()


class StoppedTask(NamedTuple):
    """A task that has stopped. `exit_status` is None if its command was never started."""

    arn: str
    exit_status: int | None
    reason: str


async def run_until_stopped(
    client: Any,
    task: RunTask,
    *,
    started_by: str,
    limit_seconds: float,
    overrides: TaskOverrides = NO_OVERRIDES,
    pause: Pause = asyncio.sleep,
) -> StoppedTask:
    """Runs the task and waits until it has stopped.

    Raises Unavailable if it does not start, or has not stopped within `limit_seconds`. Then it may
    still be running.
    """
    response = await call(
        client.run_task,
        cluster=task.cluster,
        taskDefinition=task.task_definition,
        launchType="FARGATE",
        platformVersion="1.4.0",
        startedBy=started_by,
        networkConfiguration={
            "awsvpcConfiguration": {
                "subnets": list(task.subnets),
                "securityGroups": list(task.groups),
                "assignPublicIp": "DISABLED",
            }
        },
        **overrides.parameters(task.container),
    )
    if not response["tasks"]:
        reasons = _failure_reasons(response["failures"])
        raise Unavailable(f"ECS did not start {task.task_definition}: {reasons}.")
    arn: str = response["tasks"][0]["taskArn"]
    for _ in range(int(limit_seconds / POLL_SECONDS)):
        response = await call(client.describe_tasks, cluster=task.cluster, tasks=[arn])
        # For a moment after its start, ECS may not list a task.
        for description in response["tasks"]:
            if description["lastStatus"] == "STOPPED":
                return _stopped_task(arn, description)
        await pause(POLL_SECONDS)
    raise Unavailable(
        f"The task {task_id(arn)} has not stopped after {limit_seconds:.0f} s, and may still be "
        f"running. Its log is in {task.log_group}."
    )


def _failure_reasons(failures: Sequence[Mapping[str, Any]]) -> str:
    reasons = [failure.get("reason", "no reason given") for failure in failures]
    return ", ".join(reasons) or "no reason given"


def _stopped_task(arn: str, description: Mapping[str, Any]) -> StoppedTask:
    [container] = description["containers"]
    reason = container.get("reason") or description.get("stoppedReason") or "ECS gives no reason"
    return StoppedTask(arn, container.get("exitCode"), reason)


def task_id(arn: str) -> str:
    return arn.rpartition("/")[2]


async def log_lines(client: Any, task: RunTask, arn: str) -> list[str]:
    """The task's standard output and error so far, from CloudWatch Logs."""
    parameters: dict[str, Any] = {
        "logGroupName": task.log_group,
        "logStreamName": f"{task.stream_prefix}/{task.container}/{task_id(arn)}",
        "startFromHead": True,
    }
    lines: list[str] = []
    while True:
        try:
            page = await call(client.get_log_events, **parameters)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return []
            raise
        lines += [event["message"] for event in page["events"]]
        if page["nextForwardToken"] == parameters.get("nextToken"):
            return lines
        parameters["nextToken"] = page["nextForwardToken"]


async def read_log(
    client: Any,
    task: RunTask,
    stopped: StoppedTask,
    parse: Callable[[Sequence[str]], T | None],
    *,
    pause: Pause = asyncio.sleep,
) -> T:
    """What `parse` returns for the log of the task. It is called until it returns a value.

    Raises Unavailable, with the reason of the task's failure, if it never does.
    """
    lines: list[str] = []
    # A command that was never started has no log.
    for _ in range(LOG_DELAY_SECONDS if stopped.exit_status is not None else 0):
        lines = await log_lines(client, task, stopped.arn)
        if (value := parse(lines)) is not None:
            return value
        if lines and stopped.exit_status != 0:
            break
        await pause(1.0)
    if stopped.exit_status == 0 and not lines:
        problem = f"succeeded, and its log did not arrive: see {task.log_group} later."
    else:
        last_line = lines[-1] if lines else stopped.reason
        problem = f"failed: {last_line.removeprefix('remit: ')}"
    raise Unavailable(f"The task {task_id(stopped.arn)} {problem}")
