"""The runtime of every function: one `App`, one event loop and one tracer per container, and logs.

Powertools writes the logs. It adds the function, the request and the trace to each line.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, TypeVar

import structlog
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from remit.assembly.service import assemble
from remit.entrypoints.lambdas.tracing import InvocationTracer
from remit.entrypoints.logs import masked_json
from remit.ports.app import App
from remit.settings import read_settings

FUNCTION_NAME = "AWS_LAMBDA_FUNCTION_NAME"
"""The variable that Lambda sets in a function's container."""

T = TypeVar("T")
R = TypeVar("R")
Event = dict[str, Any]
Handler = Callable[[Event, LambdaContext], R]


def make_handler(
    make_function: Callable[[App], T], call: Callable[[T, Event], Awaitable[R]]
) -> Handler[R]:
    """A Lambda handler. It calls `make_function` once per container, and `call` for each event."""

    @cache
    def function() -> T:
        settings = read_settings(os.environ)
        _configure_logs(settings.log_level)
        return make_function(assemble(settings))

    def handle(event: Event, context: LambdaContext) -> R:
        async def run() -> R:
            # Connections that were closed while the container was frozen are noticed in these two
            # turns of the loop, before they are used.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            instance = function()
            with _tracer().invocation(context.function_name):
                return await call(instance, event)

        return _loop().run_until_complete(run())

    if FUNCTION_NAME in os.environ:
        function()  # before the first event, because Lambda gives a starting container more CPU
    return _logger().inject_lambda_context(clear_state=True)(handle)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@cache
def _tracer() -> InvocationTracer:
    return InvocationTracer(os.environ)


@cache
def _logger() -> Logger:
    return Logger(service="remit", json_serializer=masked_json, utc=True)


def _configure_logs(level: str) -> None:
    """Makes structlog write through Powertools."""
    _logger().setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.render_to_log_kwargs,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=lambda *_: _logger(),
    )
