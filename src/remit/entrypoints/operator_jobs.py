"""Runs operators' jobs in the network of a private database.

{"job": "migrate"}   applies the missing migrations; a deployment runs it before the new code
the other jobs       API keys, failed work and operations, for `adapters/aws/operator_client.py`

The payment-operator function runs them, and `remit operate` in a task. Permission to invoke the
function or to run the task is permission for every job.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from remit.adapters.postgres.connection import connect
from remit.adapters.postgres.migrations import migrate
from remit.assembly.postgres import database_login
from remit.domain.errors import NotFound
from remit.domain.ids import is_id
from remit.domain.operation import Operation, ProcessorResult
from remit.oversight.api_keys import require_mode
from remit.payments.decisions import decide
from remit.ports.api_keys import ApiKey
from remit.ports.app import App


class OperatorJobs:
    """Runs a job on the service's ports."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def run(self, job: str, **arguments: object) -> Any:
        """As an OperatorClient, for commands that reach the database themselves."""
        return await self({"job": job, **arguments})

    async def __call__(self, request: Mapping[str, Any]) -> Any:
        """The result of the requested job, as plain data.

        Raises ValueError for an unknown job or wrong arguments.
        """
        app = self._app
        match request:
            case {"job": "migrate"}:
                return await self._migrate()
            case {"job": "add_key", "key": key}:
                new_key = msgspec.convert(key, ApiKey)
                require_mode(app, new_key.mode)
                # The secret is not sent here: the database stores its hash alone.
                return await app.database.api_keys.add(new_key, "")
            case {"job": "keys"}:
                return msgspec.to_builtins(await app.database.api_keys.all())
            case {"job": "revoke_key", "id": str(key_id), "at": at}:
                return await app.database.api_keys.revoke(key_id, msgspec.convert(at, datetime))
            case {"job": "failed", "limit": int(limit)}:
                return msgspec.to_builtins(await app.delivery.failed.failed(limit))
            case {"job": "dead_letters", "limit": int(limit)}:
                return msgspec.to_builtins(await app.delivery.failed.dead_letters(limit))
            case {"job": "redrive", "id": str() | None as message_id}:
                return await app.delivery.failed.redrive(message_id)
            case {"job": "operations", "payment_id": str(payment_id)}:
                found = await app.database.reader.operations(_id(payment_id, "payment"))
                return msgspec.to_builtins(found)
            case {"job": "operations", "needs_decision": bool(needs_decision), "limit": int(limit)}:
                reader = app.database.reader
                found = await reader.open_operations(limit, needs_decision=needs_decision)
                return msgspec.to_builtins(found)
            case {"job": "operation", "id": str(operation_id)}:
                return msgspec.to_builtins(await self._operation(operation_id))
            case {"job": "decide", "id": str(operation_id), "by": str(person), "result": result}:
                decided = msgspec.convert(result, ProcessorResult)
                return msgspec.to_builtins(
                    (await decide(app, person, operation_id, decided)).operation
                )
            case _:
                raise ValueError(f"There is no job {request.get('job')!r} with these arguments.")

    async def _operation(self, operation_id: str) -> Operation:
        found = await self._app.store.operation(_id(operation_id, "operation"))
        if found is None:
            raise NotFound("operation", param="operation_id")
        return found

    async def _migrate(self) -> dict[str, list[str]]:
        """The names of the migrations that were applied."""
        connection = await connect(database_login(self._app.settings))
        try:
            return {"applied": await migrate(connection)}
        finally:
            await connection.close()


def _id(text: str, what: str) -> str:
    """Raises NotFound for what cannot be an id."""
    if not is_id(text):
        raise NotFound(what, param=f"{what}_id")
    return text
