"""Chooses whether a process is traced. A process that is not imports none of the tracing code."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

from remit.ports.app import App

StartSpan = Callable[[str, str | None], AbstractContextManager[object]]
"""Starts a span of this name, in the trace that an `X-Amzn-Trace-Id` header names, if any."""


def no_span(name: str, header: str | None) -> AbstractContextManager[object]:
    """The StartSpan of a process that is not traced."""
    return nullcontext()


@asynccontextmanager
async def tracing(app: App) -> AsyncIterator[StartSpan]:
    """Yields the process's StartSpan. At the end of the block the waiting spans are uploaded."""
    if not app.settings.trace_ratio:
        yield no_span
        return
    from remit.adapters.aws.client import client
    from remit.entrypoints.xray_tracer import ProcessTracer, SpanUploader

    name = app.settings.service_name or "remit"
    tracer = ProcessTracer(app.settings.trace_ratio, SpanUploader(client("xray")), app.clock, name)
    tracer.install()
    try:
        yield tracer.start_span
    finally:
        await asyncio.to_thread(tracer.close)
