"""Messages on their way: out of the store, through the work queue, to a topic."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from remit.domain.change import (
    Message,
)


class Outbox(Protocol):
    """Messages that were committed and are still to be sent."""

    async def pending(self, limit: int) -> list[Message]:
        """The oldest messages not yet marked sent. None while another process sends them."""
        ...

    async def renew(self) -> None:
        """Says that this process still sends what `pending` told it."""
        ...

    async def release(self) -> None:
        """Lets others go on at once, with the audit entries too: this process ends, or pauses for
        it does not know how long. Raises nothing.
        """
        ...

    async def sent(self, message_ids: Sequence[str]) -> None: ...

    async def oldest(self) -> datetime | None:
        """When the oldest message still waiting was written."""
        ...


class ReceivedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message received from a queue. `receives` counts this time too."""

    message: Message
    receipt: str
    receives: int
    last_error: str | None = None


class Queue(Protocol):
    """A work queue with SQS's rules: received messages come back unless deleted in time."""

    async def send(self, messages: Sequence[Message]) -> None: ...

    async def receive(self, limit: int) -> list[ReceivedMessage]: ...

    async def delete(self, delivery: ReceivedMessage) -> None: ...

    async def retry(
        self, delivery: ReceivedMessage, error: str, after_seconds: float = 0.0
    ) -> None:
        """Gives it back for later, but not before then. After the last allowed receive it becomes
        a dead letter.
        """
        ...

    async def extend(self, delivery: ReceivedMessage, seconds: float) -> None:
        """Hides it for so long from now on. 0 hands it back at once, as not begun."""
        ...


class FailedQueue(Protocol):
    """What an operator sees of failed work: what will be tried again, and dead letters."""

    async def failed(self, limit: int) -> list[ReceivedMessage]: ...

    async def dead_letters(self, limit: int) -> list[ReceivedMessage]: ...

    async def dead(self) -> int:
        """How many dead letters there are, about."""
        ...

    async def redrive(self, message_id: str | None) -> int:
        """Moves one dead letter, or all, back to work with a fresh count; says how many."""
        ...


class Publisher(Protocol):
    async def publish(self, messages: Sequence[Message]) -> None:
        """Hands the messages to their topic. May be called again with the same ones."""
        ...


MAX_BACKOFF_SECONDS = 3_600.0
"""Well below the twelve hours that SQS hides a message for at most, counted from its receive."""


def backoff(first_seconds: float, receives: int) -> float:
    """The pause before a message that failed comes back: doubled with each receive, to a limit."""
    return min(first_seconds * 2.0 ** min(receives - 1, 32), MAX_BACKOFF_SECONDS)
