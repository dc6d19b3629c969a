"""A store that tells resting workers of what was written: by a small message in the work queue.

Workers that rest do not look into the database; they only listen to the queue, which costs nothing.
"""

import asyncio

import structlog

from remit.domain.change import Change, Conflict, IdempotencyRecord, KeyScope, Message, Topic
from remit.domain.ids import Clock, NewId
from remit.domain.payment import Mode, Payment, Refund
from remit.ports.delivery import Queue
from remit.ports.store import Store

log = structlog.get_logger("waking")


class WakingStore:
    """The store, and after a write a message of kind `wake`: at most one in `every_seconds`.

    No write waits for it or fails with it. One that could not be sent is sent after the next write.
    """

    def __init__(
        self, store: Store, queue: Queue, clock: Clock, new_id: NewId, *, every_seconds: float
    ) -> None:
        self._store = store
        self._queue = queue
        self._clock = clock
        self._new_id = new_id
        self._every_seconds = every_seconds
        self._sent_at: float | None = None
        self._sending: asyncio.Task[None] | None = None

    async def commit(self, change: Change) -> Conflict | None:
        conflict = await self._store.commit(change)
        if conflict is None:
            self._wake()
        return conflict

    async def payment(self, payment_id: str) -> Payment | None:
        return await self._store.payment(payment_id)

    async def refund(self, refund_id: str) -> Refund | None:
        return await self._store.refund(refund_id)

    async def payment_by_reference(
        self, merchant_id: str, mode: Mode, reference: str
    ) -> Payment | None:
        return await self._store.payment_by_reference(merchant_id, mode, reference)

    async def record(self, scope: KeyScope) -> IdempotencyRecord | None:
        return await self._store.record(scope)

    async def close(self) -> None:
        """Waits for a message that is under way."""
        if self._sending is not None:
            await self._sending

    def _wake(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._sent_at is not None and now - self._sent_at < self._every_seconds:
            return
        if self._sending is None or self._sending.done():
            self._sent_at = now
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        wake = Message(id=self._new_id(), topic=Topic.WORK, kind="wake", created_at=self._clock())
        try:
            await self._queue.send([wake])
        except Exception:
            log.exception("wake_not_sent")
            self._sent_at = None
