"""A task of ECS that runs one command and ends, and what it said.

For operators and deployments, which cannot reach into the tasks' network. The services, whose tasks
stay, are the topology's.
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
OVERRIDES_CHARACTERS = 8_192
"""As much as a task can be told (ECS API, "TaskOverride")."""

LATE_SECONDS = 30
"""How long after its end a task's log may come."""

T = TypeVar("T")
Pause = Callable[[float], Awaitable[None]]


class RunTask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a command can be run: a definition with one container, a network, a log."""

    cluster: str
    task_definition: str
    container: str
    subnets: tuple[str, ...]
    groups: tuple[str, ...]
    log_group: str
    stream_prefix: str


class EndedTask(NamedTuple):
    """A task that has stopped. Without an exit status, its command was never begun."""

    task: str
    exit_status: int | None
    reason: str


async def run_to_end(
    client: Any,
    where: RunTask,
    *,
    started_by: str,
    limit_seconds: float,
    command: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    pause: Pause = asyncio.sleep,
) -> EndedTask:
    """Runs a task, with the definition's own command unless another is given, until it has stopped.

    Raises Unavailable if it is not started, or has not stopped in time: it may still do so then.
    """
    started = await call(
        client.run_task,
        cluster=where.cluster,
        taskDefinition=where.task_definition,
        launchType="FARGATE",
        platformVersion="1.4.0",
        startedBy=started_by,
        networkConfiguration={
            "awsvpcConfiguration": {
                "subnets": list(where.subnets),
                "securityGroups": list(where.groups),
                "assignPublicIp": "DISABLED",
            }
        },
        **overrides(where.container, command, environment),
    )
    if not started["tasks"]:
        raise Unavailable(f"ECS did not start {where.task_definition}: {_why_not(started)}.")
    task: str = started["tasks"][0]["taskArn"]
    for _ in range(int(limit_seconds / POLL_SECONDS)):
        described = await call(client.describe_tasks, cluster=where.cluster, tasks=[task])
        # A task that was just started may be unknown for a moment.
        for found in described["tasks"]:
            if found["lastStatus"] == "STOPPED":
                return _ended(task, found)
        await pause(POLL_SECONDS)
    raise Unavailable(
        f"The task {task_id(task)} has not ended after {limit_seconds:.0f} s, and may still do "
        f"what it was asked. Its log is in {where.log_group}."
    )


def overrides(
    container: str, command: Sequence[str] | None, environment: Mapping[str, str] | None
) -> dict[str, Any]:
    """What a task is told instead of what its definition says. Raises InvalidRequest for more than
    ECS takes.
    """
    told: dict[str, Any] = {}
    if command is not None:
        told["command"] = list(command)
    if environment is not None:
        told["environment"] = [
            {"name": name, "value": value} for name, value in sorted(environment.items())
        ]
    if not told:
        return {}
    asked = {"containerOverrides": [{"name": container, **told}]}
    if (characters := len(json.dumps(asked))) > OVERRIDES_CHARACTERS:
        raise InvalidRequest(
            f"A task can be told {OVERRIDES_CHARACTERS} characters, and this is {characters}.",
            param=None,
        )
    return {"overrides": asked}


def _why_not(started: Mapping[str, Any]) -> str:
    reasons = [failure.get("reason", "no reason given") for failure in started["failures"]]
    return ", ".join(reasons) or "no reason given"


def _ended(task: str, found: Mapping[str, Any]) -> EndedTask:
    [container] = found["containers"]
    reason = container.get("reason") or found.get("stoppedReason") or "it does not say why"
    return EndedTask(task, container.get("exitCode"), reason)


def task_id(task: str) -> str:
    return task.rpartition("/")[2]


async def lines_of(client: Any, where: RunTask, task: str) -> list[str]:
    """What the task has written so far to standard output and error, as CloudWatch Logs has it."""
    asked: dict[str, Any] = {
        "logGroupName": where.log_group,
        "logStreamName": f"{where.stream_prefix}/{where.container}/{task_id(task)}",
        "startFromHead": True,
    }
    lines: list[str] = []
    while True:
        try:
            page = await call(client.get_log_events, **asked)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return []
            raise
        lines += [event["message"] for event in page["events"]]
        if page["nextForwardToken"] == asked.get("nextToken"):
            return lines
        asked["nextToken"] = page["nextForwardToken"]


async def read_of(
    client: Any,
    where: RunTask,
    ended: EndedTask,
    read: Callable[[Sequence[str]], T | None],
    *,
    pause: Pause = asyncio.sleep,
) -> T:
    """What `read` makes of what the task has written, once it makes anything of it.

    Raises Unavailable, which says why the task failed, where there is nothing to be read.
    """
    lines: list[str] = []
    # A command that was never begun has written nothing.
    for _ in range(LATE_SECONDS if ended.exit_status is not None else 0):
        lines = await lines_of(client, where, ended.task)
        if (found := read(lines)) is not None:
            return found
        if lines and ended.exit_status != 0:
            break
        await pause(1.0)
    if ended.exit_status == 0 and not lines:
        why = f"ended well and said nothing: see {where.log_group} later."
    else:
        said = lines[-1] if lines else ended.reason
        why = f"failed: {said.removeprefix('remit: ')}"
    raise Unavailable(f"The task {task_id(ended.task)} {why}")
