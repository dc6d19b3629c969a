"""Reaches a private database from an operator's machine, through a process in its network.

That process is the payment-operator function, or a task that runs `remit operate`. Permission to
invoke the one or to run the other is permission for its jobs, which are in
`entrypoints/operator_jobs.py`. The rest of the store is out of reach: its ports raise Unavailable.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Protocol

import msgspec
from botocore.exceptions import ClientError

from remit.adapters.aws.client import call
from remit.adapters.aws.ecs import Pause, RunTask, TaskOverrides, read_log, run_until_stopped
from remit.domain.errors import Unavailable
from remit.ports.api_keys import ApiKey
from remit.ports.delivery import ReceivedMessage
from remit.ports.processor import Capabilities

UNREACHABLE = "The database is reached from within its network alone: use the API."
TASK_SECONDS = 300.0
"""The task needs a minute to start, and a paused database half a minute to resume."""

RESULT_START = '{"result":'
"""The start of the line that `remit operate` prints."""


class OperatorClient(Protocol):
    """Runs a job in the database's network. Raises Unavailable if the job fails."""

    async def run(self, job: str, **arguments: object) -> Any:
        """The result of the job, as plain data."""
        ...


class OperatorFunction:
    """An OperatorClient that invokes the payment-operator function."""

    def __init__(self, client: Any, function: str) -> None:
        self._client = client
        self._function = function

    async def run(self, job: str, **arguments: object) -> Any:
        payload = json.dumps({"job": job, **arguments})
        response = await call(self._client.invoke, FunctionName=self._function, Payload=payload)
        body = json.loads(response["Payload"].read())
        if "FunctionError" in response:
            raise Unavailable(f"{self._function} failed: {body.get('errorMessage', body)}")
        return body


class OperatorTask:
    """An OperatorClient that runs an ECS task for each job, which takes about a minute.

    Raises InvalidRequest for a job that is too long for a task's command.
    """

    def __init__(self, ecs: Any, logs: Any, task: RunTask, *, pause: Pause = asyncio.sleep) -> None:
        self._ecs = ecs
        self._logs = logs
        self._task = task
        self._pause = pause

    async def run(self, job: str, **arguments: object) -> Any:
        command = ["operate", json.dumps({"job": job, **arguments})]
        try:
            stopped = await run_until_stopped(
                self._ecs,
                self._task,
                started_by="remit",
                limit_seconds=TASK_SECONDS,
                overrides=TaskOverrides(command),
                pause=self._pause,
            )
            output = await read_log(
                self._logs, self._task, stopped, _result_line, pause=self._pause
            )
        except ClientError as error:
            raise Unavailable(f"{self._task.task_definition} cannot be run: {error}") from error
        return output["result"]


def _result_line(lines: Sequence[str]) -> dict[str, Any] | None:
    """The line with the job's result, decoded.

    CloudWatch splits a line of more than 256 KiB, and other lines may follow it.
    """
    text = ""
    for line in lines:
        if text or line.startswith(RESULT_START):
            text += line
            if text.endswith("}"):
                with suppress(msgspec.DecodeError):
                    return msgspec.json.decode(text, type=dict[str, Any])
    return None


class OperatorApiKeys:
    """ApiKeys through an OperatorClient."""

    def __init__(self, operator: OperatorClient) -> None:
        self._operator = operator

    async def add(self, key: ApiKey, secret: str) -> None:
        """Sends the key without its secret, of which the service needs the hash alone."""
        await self._operator.run("add_key", key=msgspec.to_builtins(key))

    async def find(self, key_hash: str) -> ApiKey | None:
        return next((key for key in await self.all() if key.hash == key_hash), None)

    async def all(self) -> list[ApiKey]:
        return msgspec.convert(await self._operator.run("keys"), list[ApiKey])

    async def revoke(self, key_id: str, at: datetime) -> bool:
        return bool(await self._operator.run("revoke_key", id=key_id, at=at.isoformat()))


class OperatorFailedQueue:
    """FailedQueue through an OperatorClient, for a work queue that is in the database."""

    def __init__(self, operator: OperatorClient) -> None:
        self._operator = operator

    async def failed(self, limit: int) -> list[ReceivedMessage]:
        messages = await self._operator.run("failed", limit=limit)
        return msgspec.convert(messages, list[ReceivedMessage])

    async def dead_letters(self, limit: int) -> list[ReceivedMessage]:
        messages = await self._operator.run("dead_letters", limit=limit)
        return msgspec.convert(messages, list[ReceivedMessage])

    async def count_dead_letters(self) -> int:
        return len(await self.dead_letters(1_000))

    async def redrive(self, message_id: str | None) -> int:
        return int(await self._operator.run("redrive", id=message_id))


class UnreachablePort:
    """Any port that needs the database itself. Each of its methods raises Unavailable."""

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def raise_unavailable(*_: object, **__: object) -> Any:
            raise Unavailable(UNREACHABLE)

        return raise_unavailable


class UnreachableProcessor(UnreachablePort):
    """The deployment's processor. It names every mode, because the job checks the key's mode."""

    capabilities = Capabilities(modes=frozenset({"test", "live"}))
