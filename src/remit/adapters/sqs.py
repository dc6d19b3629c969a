"""A work queue in SQS with its dead-letter queue, which SQS fills after the last allowed receive.

Where a function is fed by an event source, the event source receives, deletes and counts; what is
here then sends, and shows the dead letters to an operator.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from remit.adapters.aws import call
from remit.change import Message
from remit.errors import Unavailable
from remit.ports import Delivery

BATCH = 10
"""How many messages SQS takes, or hands out, in one call."""

PEEK_SECONDS = 5
"""How long a dead letter that an operator looks at is hidden from the next look."""

EMPTY_RECEIVES = 3
"""So often nothing, before a queue counts as empty: a short receive asks a part of its servers."""

COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
"""A dead letter that an operator looks at is not visible, and still dead."""

MAX_DELAY_SECONDS = 43_200

_message = msgspec.json.Decoder(Message)


class SqsQueue:
    """Queue and FailedQueue. Message ids survive redriving, so a consumer knows a repeat."""

    def __init__(
        self, client: Any, url: str, dead_letter_url: str, *, retry_seconds: float
    ) -> None:
        self._client = client
        self._url = url
        self._dead_letter_url = dead_letter_url
        self._retry_seconds = retry_seconds

    async def send(self, messages: Sequence[Message]) -> None:
        """Raises Unavailable unless every message was taken; some may have been."""
        for first in range(0, len(messages), BATCH):
            entries = [
                {"Id": message.id, "MessageBody": msgspec.json.encode(message).decode()}
                for message in messages[first : first + BATCH]
            ]
            answer = await call(
                self._client.send_message_batch, QueueUrl=self._url, Entries=entries
            )
            if answer.get("Failed"):
                raise Unavailable("The queue did not take every message. Try again.")

    async def receive(self, limit: int) -> list[Delivery]:
        return await self._receive(self._url, limit)

    async def delete(self, delivery: Delivery) -> None:
        await self._delete(self._url, delivery)

    async def retry(self, delivery: Delivery, error: str) -> None:
        """Comes back after a pause that doubles. SQS keeps no reason; the worker logs it."""
        delay = min(self._retry_seconds * 2 ** (delivery.receives - 1), MAX_DELAY_SECONDS)
        await call(
            self._client.change_message_visibility,
            QueueUrl=self._url,
            ReceiptHandle=delivery.receipt,
            VisibilityTimeout=int(delay),
        )

    async def failed(self, limit: int) -> list[Delivery]:
        """Nothing: to look at a waiting message would count as one of its receives."""
        return []

    async def dead_letters(self, limit: int) -> list[Delivery]:
        return [delivery async for delivery in self._dead(limit)]

    async def dead(self) -> int:
        """From the queue's own count: to look at the letters would hide them for a while."""
        answer = await call(
            self._client.get_queue_attributes,
            QueueUrl=self._dead_letter_url,
            AttributeNames=list(COUNTS),
        )
        return sum(int(answer["Attributes"][count]) for count in COUNTS)

    async def redrive(self, message_id: str | None) -> int:
        """Sends first and deletes then: a crash between leaves a repeat and loses nothing."""
        moved = 0
        async for delivery in self._dead(None):
            if message_id in (None, delivery.message.id):
                await self.send([delivery.message])
                await self._delete(self._dead_letter_url, delivery)
                moved += 1
        return moved

    async def _dead(self, limit: int | None) -> AsyncIterator[Delivery]:
        """Dead letters, each once, until the queue is empty or `limit` were seen."""
        seen: set[str] = set()
        empty = 0
        while empty < EMPTY_RECEIVES and (limit is None or len(seen) < limit):
            found = await self._receive(
                self._dead_letter_url, BATCH, VisibilityTimeout=PEEK_SECONDS
            )
            fresh = [delivery for delivery in found if delivery.message.id not in seen]
            empty = 0 if fresh else empty + 1
            for delivery in fresh:
                if limit is not None and len(seen) >= limit:
                    return
                seen.add(delivery.message.id)
                yield delivery

    async def _receive(self, url: str, limit: int, **more: Any) -> list[Delivery]:
        answer = await call(
            self._client.receive_message,
            QueueUrl=url,
            MaxNumberOfMessages=min(limit, BATCH),
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
            **more,
        )
        return [
            Delivery(
                message=_message.decode(found["Body"]),
                receipt=found["ReceiptHandle"],
                receives=int(found["Attributes"]["ApproximateReceiveCount"]),
            )
            for found in answer.get("Messages", [])
        ]

    async def _delete(self, url: str, delivery: Delivery) -> None:
        await call(self._client.delete_message, QueueUrl=url, ReceiptHandle=delivery.receipt)
