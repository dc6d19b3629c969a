"""An operator's machine, from where the database is out of reach: a function in its network asks.

Keys and failed work go through the payment-operator function; whoever may invoke it may do that.
The rest of the store is not for operators' machines, and says so.
"""

import json
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

import msgspec

from remit.adapters.aws import call
from remit.errors import Unavailable
from remit.ports import ApiKey, Delivery

OUT_OF_REACH = "The database is reached from within its network alone: ask over the API."


class Operator:
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


class OperatorKeys:
    """Keys, without what the service alone needs."""

    def __init__(self, operator: Operator) -> None:
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


class OperatorFailed:
    """FailedQueue, with the dead letters of the database."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    async def failed(self, limit: int) -> list[Delivery]:
        return msgspec.convert(await self._operator.ask("failed", limit=limit), list[Delivery])

    async def dead_letters(self, limit: int) -> list[Delivery]:
        found = await self._operator.ask("dead_letters", limit=limit)
        return msgspec.convert(found, list[Delivery])

    async def dead(self) -> int:
        return len(await self.dead_letters(1_000))

    async def redrive(self, message_id: str | None) -> int:
        return int(await self._operator.ask("redrive", id=message_id))


class OutOfReach:
    """Every port that needs the database itself. Each of its methods raises Unavailable."""

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def refuse(*_: object, **__: object) -> Any:
            raise Unavailable(OUT_OF_REACH)

        return refuse
