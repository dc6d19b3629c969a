"""Ports of messages: the outbox, the work queue, its dead letters, and topics."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from remit.domain.change import Message, Topic


class Outbox(Protocol):
    """Messages that were committed and are not sent yet."""

    async def pending(self, limit: int, without: Collection[Topic] = ()) -> list[Message]:
        """The oldest messages to send, `limit` at most, and a lease to send them. Those of the
        topics `without` are left out.

        Empty while another process holds the lease.
        """
        ...

    async def renew(self) -> None:
        """Renews the lease on the messages that `pending` returned."""
        ...

    async def release(self) -> None:
        """Releases the leases on messages and on audit entries. Never fails.

        A process calls it when it ends, and before a pause of unknown length.
        """
        ...

    async def mark_sent(self, message_ids: Sequence[str]) -> None: ...

    async def oldest_created_at(self) -> datetime | None:
        """When the oldest waiting message was written."""
        ...


class ReceivedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message received from a queue. `receives` counts its receives, this one included."""

    message: Message
    receipt: str
    receives: int
    last_error: str | None = None


class Queue(Protocol):
    """A work queue with the rules of SQS: a received message returns unless it is deleted."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Raises Unavailable if none was taken, and NotAllSent if some were refused."""
        ...

    async def receive(self, limit: int) -> list[ReceivedMessage]: ...

    async def delete(self, received: ReceivedMessage) -> None: ...

    async def retry(
        self, received: ReceivedMessage, error: str, after_seconds: float = 0.0
    ) -> None:
        """Returns the message to the queue, visible after `after_seconds` at the earliest.

        After the last allowed receive it becomes a dead letter.
        """
        ...

    async def extend(self, received: ReceivedMessage, seconds: float) -> None:
        """Hides the message for `seconds` from now. 0 returns it to the queue at once."""
        ...


class FailedQueue(Protocol):
    """Failed work, for operators: messages that will be tried again, and dead letters."""

    async def failed(self, limit: int) -> list[ReceivedMessage]:
        """Messages that failed and will be tried again."""
        ...

    async def dead_letters(self, limit: int) -> list[ReceivedMessage]: ...

    async def count_dead_letters(self) -> int:
        """The number of dead letters. SQS counts approximately."""
        ...

    async def redrive(self, message_id: str | None) -> int:
        """Sends one dead letter, or all, back to work with its receives at 0. Returns how many."""
        ...


class Publisher(Protocol):
    async def publish(self, messages: Sequence[Message]) -> None:
        """Publishes the messages to a topic. The same messages may be published again.

        Raises Unavailable if none was taken, and NotAllSent if some were refused.
        """
        ...


MAX_BACKOFF_SECONDS = 3_600.0
"""Well below the twelve hours for which SQS can hide a message after its receive."""


def backoff(first_seconds: float, receives: int) -> float:
    """The seconds until a failed message is tried again. They double with each receive."""
    return min(first_seconds * 2.0 ** min(receives - 1, 32), MAX_BACKOFF_SECONDS)
