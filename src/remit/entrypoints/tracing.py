"""Whether a process is traced: the one place that knows, so that who is not pays nothing for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

from remit.ports.app import App

BeginSpan = Callable[[str, str | None], AbstractContextManager[object]]
"""A span of this name, in the trace of an `X-Amzn-Trace-Id` header where there is one."""


def untraced(name: str, header: str | None) -> AbstractContextManager[object]:
    return nullcontext()


@asynccontextmanager
async def tracing(app: App) -> AsyncIterator[BeginSpan]:
    """How spans begin while the block lasts; at its end those that wait are uploaded."""
    if not app.settings.trace_ratio:
        yield untraced
        return
    from remit.adapters.aws.client import client
    from remit.entrypoints.xray_tracer import Tracing, Uploader

    name = app.settings.service_name or "remit"
    tracing = Tracing(app.settings.trace_ratio, Uploader(client("xray")), app.clock, name)
    tracing.install()
    try:
        yield tracing.begin
    finally:
        await asyncio.to_thread(tracing.close)
