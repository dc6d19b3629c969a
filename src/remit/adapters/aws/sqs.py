"""A work queue in SQS with its dead-letter queue, which SQS fills after the last allowed receive.

Where a function is fed by an event source, the event source receives, deletes and counts; what is
here then sends, and shows the dead letters to an operator. Workers receive here themselves.
"""

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from remit.adapters.aws.client import call, in_batches
from remit.adapters.aws.sqs_body import read_message
from remit.adapters.postgres.group_commit import GroupCommit
from remit.domain.change import Message
from remit.domain.errors import Unavailable
from remit.ports.delivery import ReceivedMessage, backoff

BATCH = 10
"""How many messages SQS takes, or hands out, in one call."""

PEEK_SECONDS = 5
"""How long a dead letter that an operator looks at is hidden from the next look."""

EMPTY_RECEIVES = 3
"""So often nothing, before a queue counts as empty: a short receive asks a part of its servers."""

COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
"""A dead letter that an operator looks at is not visible, and still dead."""

TOLD = ["ApproximateReceiveCount", "SentTimestamp"]

GONE = frozenset({"InvalidParameterValue", "MessageNotInflight", "ReceiptHandleIsInvalid"})
"""Its time is over, or somebody else has it: it comes back by itself, or is done."""


class SqsQueue:
    """Queue and FailedQueue. Message ids survive redriving, so a consumer knows a repeat.

    A body that cannot be read is received as a message of kind `unreadable`, whose id is the one
    that SQS gave it: it fails, comes back, and ends as a dead letter like any other.
    """

    def __init__(
        self,
        client: Any,
        url: str,
        dead_letter_url: str,
        *,
        retry_seconds: float,
        wait_seconds: int = 0,
        visibility_seconds: float | None = None,
    ) -> None:
        """`visibility_seconds` of None leaves a received message hidden for as long as the queue
        itself says.
        """
        self._client = client
        self._url = url
        self._dead_letter_url = dead_letter_url
        self._retry_seconds = retry_seconds
        self._receiving: dict[str, int] = {"WaitTimeSeconds": wait_seconds}
        if visibility_seconds is not None:
            self._receiving["VisibilityTimeout"] = math.ceil(visibility_seconds)
        self._deletes = GroupCommit(self._delete, limit=BATCH)

    async def send(self, messages: Sequence[Message]) -> None:
        """Raises Unavailable unless every message was taken; some may have been."""
        await in_batches(messages, self._send, size=BATCH)

    async def _send(self, messages: Sequence[Message]) -> None:
        entries = [
            {"Id": message.id, "MessageBody": msgspec.json.encode(message).decode()}
            for message in messages
        ]
        answer = await call(self._client.send_message_batch, QueueUrl=self._url, Entries=entries)
        if answer.get("Failed"):
            raise Unavailable("The queue did not take every message. Try again.")

    async def receive(self, limit: int) -> list[ReceivedMessage]:
        """Waits for the first message for as long as the queue was made to."""
        found = await self._receive(self._url, limit, **self._receiving)
        return [_delivery(one) for one in found]

    async def delete(self, delivery: ReceivedMessage) -> None:
        """Deletes that come while a call is under way go together in the next one."""
        await self._deletes.submit(delivery.receipt)

    async def retry(
        self, delivery: ReceivedMessage, error: str, after_seconds: float = 0.0
    ) -> None:
        """Comes back after a pause that doubles. SQS keeps no reason; the worker logs it."""
        pause = int(backoff(self._retry_seconds, delivery.receives))
        await self.extend(delivery, max(after_seconds, pause))

    async def extend(self, delivery: ReceivedMessage, seconds: float) -> None:
        try:
            await call(
                self._client.change_message_visibility,
                QueueUrl=self._url,
                ReceiptHandle=delivery.receipt,
                VisibilityTimeout=math.ceil(seconds),
            )
        except ClientError as error:
            if error.response["Error"]["Code"].rpartition(".")[2] not in GONE:
                raise

    async def failed(self, limit: int) -> list[ReceivedMessage]:
        """Nothing: to look at a waiting message would count as one of its receives."""
        return []

    async def dead_letters(self, limit: int) -> list[ReceivedMessage]:
        return [_delivery(found) async for found in self._dead(limit)]

    async def dead(self) -> int:
        """From the queue's own count: to look at the letters would hide them for a while."""
        answer = await call(
            self._client.get_queue_attributes,
            QueueUrl=self._dead_letter_url,
            AttributeNames=list(COUNTS),
        )
        return sum(int(answer["Attributes"][count]) for count in COUNTS)

    async def redrive(self, message_id: str | None) -> int:
        """Sends first and deletes then: a crash between leaves a repeat and loses nothing. The
        body goes back as it is, readable or not.
        """
        moved = 0
        async for found in self._dead(None):
            if message_id in (None, _delivery(found).message.id):
                await call(self._client.send_message, QueueUrl=self._url, MessageBody=found["Body"])
                await call(
                    self._client.delete_message,
                    QueueUrl=self._dead_letter_url,
                    ReceiptHandle=found["ReceiptHandle"],
                )
                moved += 1
        return moved

    async def _dead(self, limit: int | None) -> AsyncIterator[Mapping[str, Any]]:
        """Dead letters, each once, until the queue is empty or `limit` were seen."""
        seen: set[str] = set()
        empty = 0
        while empty < EMPTY_RECEIVES and (limit is None or len(seen) < limit):
            found = await self._receive(
                self._dead_letter_url, BATCH, VisibilityTimeout=PEEK_SECONDS
            )
            fresh = [one for one in found if one["MessageId"] not in seen]
            empty = 0 if fresh else empty + 1
            for one in fresh:
                if limit is not None and len(seen) >= limit:
                    return
                seen.add(one["MessageId"])
                yield one

    async def _receive(self, url: str, limit: int, **more: Any) -> Sequence[Mapping[str, Any]]:
        answer = await call(
            self._client.receive_message,
            QueueUrl=url,
            MaxNumberOfMessages=min(limit, BATCH),
            MessageSystemAttributeNames=TOLD,
            **more,
        )
        found: Sequence[Mapping[str, Any]] = answer.get("Messages", [])
        return found

    async def _delete(self, receipts: Sequence[str]) -> list[Exception | None]:
        """An answer for each. What is not deleted comes back, and is done a second time."""
        answer = await call(
            self._client.delete_message_batch,
            QueueUrl=self._url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": receipt}
                for number, receipt in enumerate(receipts)
            ],
        )
        failed = {int(entry["Id"]) for entry in answer.get("Failed", [])}
        problem = "The queue did not delete the message. It comes back."
        return [
            Unavailable(problem) if number in failed else None for number in range(len(receipts))
        ]


def _delivery(found: Mapping[str, Any]) -> ReceivedMessage:
    attributes = found["Attributes"]
    sent_at = datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1_000, UTC)
    message = read_message(found["Body"], found["MessageId"], sent_at)
    return ReceivedMessage(
        message=message,
        receipt=found["ReceiptHandle"],
        receives=int(attributes["ApproximateReceiveCount"]),
    )
