"""The payment-migration function: the deployment calls it before new code takes requests."""

from remit.adapters.postgres_connection import connect
from remit.app import database_login
from remit.entrypoints.lambdas.runtime import Event, make_handler
from remit.migrations import migrate
from remit.ports import App


class Migration:
    def __init__(self, app: App) -> None:
        self._settings = app.settings

    async def __call__(self, _event: Event) -> dict[str, list[str]]:
        """Brings the database up to date; which files that took."""
        connection = await connect(database_login(self._settings))
        try:
            return {"applied": await migrate(connection)}
        finally:
            await connection.close()


handler = make_handler(Migration, Migration.__call__)
