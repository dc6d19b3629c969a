"""An operator's machine, from where the database is out of reach: what is in its network asks.

That is the payment-operator function, or a task that runs `remit operate`; whoever may invoke the
one or run the other may do what it does. The rest of the store is not for operators' machines, and
says so. What is done there is in `entrypoints/jobs.py`.
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
from remit.adapters.aws.ecs import Pause, RunTask, read_of, run_to_end
from remit.domain.errors import Unavailable
from remit.domain.payment import Mode
from remit.ports.api_keys import ApiKey
from remit.ports.delivery import ReceivedMessage

UNREACHABLE = "The database is reached from within its network alone: ask over the API."
TASK_SECONDS = 300.0
"""A minute to start, half of one for a database that has to wake, and some patience."""

ANSWER = '{"answer":'
"""How the line begins that `remit operate` prints."""


class OperatorClient(Protocol):
    """Does a job where the database is. Raises Unavailable where it fails or cannot be reached."""

    async def ask(self, job: str, **asked: object) -> Any: ...


class OperatorFunction:
    """Calls the function. Raises Unavailable where it fails or cannot be reached."""

    def __init__(self, client: Any, function: str) -> None:
        self._client = client
        self._function = function

    async def ask(self, job: str, **asked: object) -> Any:
        payload = json.dumps({"job": job, **asked})
        answer = await call(self._client.invoke, FunctionName=self._function, Payload=payload)
        body = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise Unavailable(f"{self._function} failed: {body.get('errorMessage', body)}")
        return body


class OperatorTask:
    """Runs a task for each job, which takes about a minute. Raises Unavailable where it does not
    start, fails or says nothing, and InvalidRequest for a job that is too long to be told.
    """

    def __init__(
        self, ecs: Any, logs: Any, where: RunTask, *, pause: Pause = asyncio.sleep
    ) -> None:
        self._ecs = ecs
        self._logs = logs
        self._where = where
        self._pause = pause

    async def ask(self, job: str, **asked: object) -> Any:
        try:
            ended = await run_to_end(
                self._ecs,
                self._where,
                started_by="remit",
                limit_seconds=TASK_SECONDS,
                command=["operate", json.dumps({"job": job, **asked})],
                pause=self._pause,
            )
            answered = await read_of(self._logs, self._where, ended, _answered, pause=self._pause)
        except ClientError as error:
            raise Unavailable(f"{self._where.task_definition} cannot be asked: {error}") from error
        return answered["answer"]


def _answered(lines: Sequence[str]) -> dict[str, Any] | None:
    """What the answer's line says. One of more than 256 KiB is several in a log, and others may
    follow it.
    """
    text = ""
    for line in lines:
        if text or line.startswith(ANSWER):
            text += line
            if text.endswith("}"):
                with suppress(msgspec.DecodeError):
                    return msgspec.json.decode(text, type=dict[str, Any])
    return None


class OperatorApiKeys:
    """Keys, without what the service alone needs."""

    def __init__(self, operator: OperatorClient) -> None:
        self._operator = operator

    async def add(self, key: ApiKey, secret: str) -> None:
        """The secret stays here: the service has its hash."""
        await self._operator.ask("add_key", key=msgspec.to_builtins(key))

    async def find(self, key_hash: str) -> ApiKey | None:
        return next((key for key in await self.all() if key.hash == key_hash), None)

    async def all(self) -> list[ApiKey]:
        return msgspec.convert(await self._operator.ask("keys"), list[ApiKey])

    async def revoke(self, key_id: str, at: datetime) -> bool:
        return bool(await self._operator.ask("revoke_key", id=key_id, at=at.isoformat()))


class OperatorFailedQueue:
    """FailedQueue, with the dead letters of the database."""

    def __init__(self, operator: OperatorClient) -> None:
        self._operator = operator

    async def failed(self, limit: int) -> list[ReceivedMessage]:
        return msgspec.convert(
            await self._operator.ask("failed", limit=limit), list[ReceivedMessage]
        )

    async def dead_letters(self, limit: int) -> list[ReceivedMessage]:
        found = await self._operator.ask("dead_letters", limit=limit)
        return msgspec.convert(found, list[ReceivedMessage])

    async def dead(self) -> int:
        return len(await self.dead_letters(1_000))

    async def redrive(self, message_id: str | None) -> int:
        return int(await self._operator.ask("redrive", id=message_id))


class UnreachablePort:
    """Every port that needs the database itself. Each of its methods raises Unavailable."""

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def refuse(*_: object, **__: object) -> Any:
            raise Unavailable(UNREACHABLE)

        return refuse


class UnreachableProcessor(UnreachablePort):
    """The deployment's own. Which modes it takes is for the job to say, which knows it."""

    modes: frozenset[Mode] = frozenset({"test", "live"})
