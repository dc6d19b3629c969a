"""The health-monitor function: answers /health, and runs the health monitor on a schedule."""

from typing import Any

import msgspec

from remit.entrypoints.lambdas.proxy import ProxyApi
from remit.entrypoints.lambdas.runtime import Event, make_handler
from remit.oversight.health import Monitor
from remit.ports.app import App


class HealthFunction:
    def __init__(self, app: App) -> None:
        self._api = ProxyApi(app)
        self._monitor = Monitor(app)

    async def __call__(self, event: Event) -> dict[str, Any]:
        if "httpMethod" in event:
            return await self._api(event)
        health: dict[str, Any] = msgspec.to_builtins(await self._monitor.check())
        return health


handler = make_handler(HealthFunction, HealthFunction.__call__)
