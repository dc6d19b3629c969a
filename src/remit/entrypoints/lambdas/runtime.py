"""What every function needs: one `App`, one event loop and one tracer per container, and its logs.

Logs are written by Powertools, which adds the function, the request and the trace to each line.
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
from remit.entrypoints.lambdas.tracing import Tracing
from remit.entrypoints.logs import masked_json
from remit.ports.app import App
from remit.settings import read_settings

IN_LAMBDA = "AWS_LAMBDA_FUNCTION_NAME"

T = TypeVar("T")
R = TypeVar("R")
Event = dict[str, Any]
Handler = Callable[[Event, LambdaContext], R]


def make_handler(
    make: Callable[[App], T], answer: Callable[[T, Event], Awaitable[R]]
) -> Handler[R]:
    """A Lambda handler: `make` is called once per container, `answer` for each event."""

    @cache
    def container() -> T:
        settings = read_settings(os.environ)
        _configure_logs(settings.log_level)
        return make(assemble(settings))

    def handle(event: Event, context: LambdaContext) -> R:
        async def run() -> R:
            # What was closed while the container was frozen is seen before it is used.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            made = container()
            with _tracing().invocation(context.function_name):
                return await answer(made, event)

        return _loop().run_until_complete(run())

    if IN_LAMBDA in os.environ:
        container()  # before the first event, while Lambda lends a new container a whole processor
    return _logger().inject_lambda_context(clear_state=True)(handle)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@cache
def _tracing() -> Tracing:
    return Tracing(os.environ)


@cache
def _logger() -> Logger:
    return Logger(service="remit", json_serializer=masked_json, utc=True)


def _configure_logs(level: str) -> None:
    """Structlog's events, written by Powertools."""
    _logger().setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.render_to_log_kwargs,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=lambda *_: _logger(),
    )
