"""The work queue in memory, with the rules of SQS."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from remit.domain.change import (
    Message,
)
from remit.domain.ids import Clock
from remit.ports.delivery import ReceivedMessage


class MemoryQueue:
    """Queue and FailedQueue. A received message is back at once when it is retried, and otherwise
    when the clock says so.
    """

    def __init__(self, max_receives: int, clock: Clock, visibility_seconds: float) -> None:
        self.max_receives = max_receives
        self.waiting: dict[str, ReceivedMessage] = {}
        self.buried: dict[str, ReceivedMessage] = {}
        self.hidden_until: dict[str, datetime] = {}
        self._clock = clock
        self._visibility_seconds = visibility_seconds

    async def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            fresh = ReceivedMessage(message=message, receipt=message.id, receives=0)
            self.waiting.setdefault(message.id, fresh)

    async def receive(self, limit: int) -> list[ReceivedMessage]:
        received = [
            ReceivedMessage(
                message=waiting.message,
                receipt=waiting.receipt,
                receives=waiting.receives + 1,
                last_error=waiting.last_error,
            )
            for waiting in self._visible()[:limit]
        ]
        self.waiting.update((delivery.message.id, delivery) for delivery in received)
        for delivery in received:
            await self.extend(delivery, self._visibility_seconds)
        return received

    def _visible(self) -> list[ReceivedMessage]:
        now = self._clock()
        return [d for d in self.waiting.values() if self.hidden_until.get(d.message.id, now) <= now]

    async def delete(self, delivery: ReceivedMessage) -> None:
        self.waiting.pop(delivery.message.id, None)
        self.hidden_until.pop(delivery.message.id, None)

    async def extend(self, delivery: ReceivedMessage, seconds: float) -> None:
        self.hidden_until[delivery.message.id] = self._clock() + timedelta(seconds=seconds)

    async def retry(
        self, delivery: ReceivedMessage, error: str, after_seconds: float = 0.0
    ) -> None:
        failed = ReceivedMessage(
            message=delivery.message,
            receipt=delivery.receipt,
            receives=delivery.receives,
            last_error=error,
        )
        await self.extend(delivery, after_seconds)
        if delivery.receives >= self.max_receives:
            self.waiting.pop(delivery.message.id, None)
            self.buried[delivery.message.id] = failed
        else:
            self.waiting[delivery.message.id] = failed

    async def failed(self, limit: int) -> list[ReceivedMessage]:
        return [delivery for delivery in self.waiting.values() if delivery.last_error][:limit]

    async def dead_letters(self, limit: int) -> list[ReceivedMessage]:
        return list(self.buried.values())[:limit]

    async def dead(self) -> int:
        return len(self.buried)

    async def redrive(self, message_id: str | None) -> int:
        chosen = [m for m in self.buried if message_id in (None, m)]
        for dead_id in chosen:
            await self.send([self.buried.pop(dead_id).message])
        return len(chosen)
