"""The work queue in memory, with the rules of SQS."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from remit.domain.change import Message
from remit.domain.ids import Clock
from remit.ports.delivery import ReceivedMessage


class MemoryQueue:
    """Queue and FailedQueue. A message that is retried without a pause is visible at once."""

    def __init__(self, max_receives: int, clock: Clock, visibility_seconds: float) -> None:
        self.max_receives = max_receives
        self.waiting: dict[str, ReceivedMessage] = {}
        self.dead: dict[str, ReceivedMessage] = {}
        self.hidden_until: dict[str, datetime] = {}
        self._clock = clock
        self._visibility_seconds = visibility_seconds

    async def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            unreceived = ReceivedMessage(message=message, receipt=message.id, receives=0)
            self.waiting.setdefault(message.id, unreceived)

    async def receive(self, limit: int) -> list[ReceivedMessage]:
        batch = [
            ReceivedMessage(
                message=waiting.message,
                receipt=waiting.receipt,
                receives=waiting.receives + 1,
                last_error=waiting.last_error,
            )
            for waiting in self._visible()[:limit]
        ]
        self.waiting.update((received.message.id, received) for received in batch)
        for received in batch:
            await self.extend(received, self._visibility_seconds)
        return batch

    def _visible(self) -> list[ReceivedMessage]:
        now = self._clock()
        return [m for m in self.waiting.values() if self.hidden_until.get(m.message.id, now) <= now]

    async def delete(self, received: ReceivedMessage) -> None:
        self.waiting.pop(received.message.id, None)
        self.hidden_until.pop(received.message.id, None)

    async def extend(self, received: ReceivedMessage, seconds: float) -> None:
        self.hidden_until[received.message.id] = self._clock() + timedelta(seconds=seconds)

    async def retry(
        self, received: ReceivedMessage, error: str, after_seconds: float = 0.0
    ) -> None:
        failed = ReceivedMessage(
            message=received.message,
            receipt=received.receipt,
            receives=received.receives,
            last_error=error,
        )
        await self.extend(received, after_seconds)
        if received.receives >= self.max_receives:
            self.waiting.pop(received.message.id, None)
            self.dead[received.message.id] = failed
        else:
            self.waiting[received.message.id] = failed

    async def failed(self, limit: int) -> list[ReceivedMessage]:
        return [message for message in self.waiting.values() if message.last_error][:limit]

    async def dead_letters(self, limit: int) -> list[ReceivedMessage]:
        return list(self.dead.values())[:limit]

    async def count_dead_letters(self) -> int:
        return len(self.dead)

    async def redrive(self, message_id: str | None) -> int:
        redriven = [dead_id for dead_id in self.dead if message_id in (None, dead_id)]
        for dead_id in redriven:
            await self.send([self.dead.pop(dead_id).message])
        return len(redriven)
