"""What operators do with a database that is reached from within its network alone.

{"job": "migrate"}   brings the database up to date; a deployment asks for it before new code runs
the other jobs       keys and failed work, for `adapters/operator.py` on an operator's machine

Run by the payment-operator function, or by `remit operate` in a task. Who may ask is AWS's to say.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from remit.adapters.postgres.connection import connect
from remit.adapters.postgres.migrations import migrate
from remit.assembly.postgres import database_login
from remit.oversight.api_keys import require_mode
from remit.ports.api_keys import ApiKey
from remit.ports.app import App


class OperatorJobs:
    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, asked: Mapping[str, Any]) -> Any:
        """The job's answer, as plain data. A job that there is not is an error of its caller."""
        app = self._app
        match asked:
            case {"job": "migrate"}:
                return await self._migrate()
            case {"job": "add_key", "key": key}:
                made = msgspec.convert(key, ApiKey)
                require_mode(app, made.mode)
                # Its secret never comes here.
                return await app.database.api_keys.add(made, "")
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
            case _:
                raise ValueError(f"There is no job {asked.get('job')!r} with these arguments.")

    async def _migrate(self) -> dict[str, list[str]]:
        """Which files that took."""
        connection = await connect(database_login(self._app.settings))
        try:
            return {"applied": await migrate(connection)}
        finally:
            await connection.close()
