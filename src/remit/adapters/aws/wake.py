"""Wakes idle workers after a commit, by a message in the work queue.

An idle worker does not read the database, so that the database can pause. It waits for the queue.
"""

import asyncio

import structlog

from remit.domain.change import Change, Message, Topic
from remit.domain.ids import Clock, NewId
from remit.ports.delivery import Queue

log = structlog.get_logger("wake")


class WakeSignal:
    """Called after a commit: sends a message of kind `wake`, at most one in `every_seconds`.

    A commit neither waits for it nor fails with it. If it could not be sent, the next commit sends
    it.
    """

    def __init__(self, queue: Queue, clock: Clock, new_id: NewId, *, every_seconds: float) -> None:
        self._queue = queue
        self._clock = clock
        self._new_id = new_id
        self._every_seconds = every_seconds
        self._sent_at: float | None = None
        self._sending: asyncio.Task[None] | None = None

    async def __call__(self, change: Change) -> None:
        now = asyncio.get_running_loop().time()
        if self._sent_at is not None and now - self._sent_at < self._every_seconds:
            return
        if self._sending is None or self._sending.done():
            self._sent_at = now
            self._sending = asyncio.create_task(self._send())

    async def close(self) -> None:
        """Waits until a message under way is sent."""
        if self._sending is not None:
            await self._sending

    async def _send(self) -> None:
        wake = Message(id=self._new_id(), topic=Topic.WORK, kind="wake", created_at=self._clock())
        try:
            await self._queue.send([wake])
        except Exception:
            log.exception("wake_not_sent")
            self._sent_at = None
