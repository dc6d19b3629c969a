"""The health-monitor function: requests to /health, and the clock for a look at everything."""

from typing import Any

import msgspec

from remit.entrypoints.lambdas.proxy import Http
from remit.entrypoints.lambdas.runtime import Event, make_handler
from remit.oversight.health import Monitor
from remit.ports.app import App


class HealthFunction:
    def __init__(self, app: App) -> None:
        self._http = Http(app)
        self._monitor = Monitor(app)

    async def __call__(self, event: Event) -> dict[str, Any]:
        if "httpMethod" in event:
            return await self._http(event)
        seen: dict[str, Any] = msgspec.to_builtins(await self._monitor.watch())
        return seen


handler = make_handler(HealthFunction, HealthFunction.__call__)
