"""A work queue in SQS, and its dead-letter queue, which SQS fills after the last allowed receive.

Workers receive from it. Where an event source feeds a function, the event source receives, deletes
and counts, and this module only sends messages and shows the dead letters to operators.
"""

import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from remit.adapters.aws.client import call, send_in_batches
from remit.adapters.aws.sqs_body import read_message
from remit.adapters.postgres.group_commit import GroupCommit
from remit.domain.change import Message
from remit.domain.errors import Unavailable
from remit.ports.delivery import ReceivedMessage, backoff

BATCH = 10
"""The number of messages that SQS takes or returns in one call."""

PEEK_SECONDS = 5
"""How long a dead letter is hidden after an operator's command received it."""

EMPTY_RECEIVES = 3
"""How many empty receives mean an empty queue. A short receive asks only some of its servers."""

COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
"""A dead letter that an operator's command received is not visible, and is still a dead letter."""

SYSTEM_ATTRIBUTES = ["ApproximateReceiveCount", "SentTimestamp"]

LAPSED_CODES = frozenset({"InvalidParameterValue", "MessageNotInflight", "ReceiptHandleIsInvalid"})
"""Error codes for a receipt that is no longer valid: the message returned to the queue by itself,
another worker received it, or it was deleted.
"""


class SqsQueue:
    """Queue and FailedQueue. A redriven message keeps its id, so a consumer recognises a repeat.

    A body that cannot be decoded is received as a message of kind `unreadable`, with the id that
    SQS gave it. It fails, is tried again, and ends as a dead letter like any other.
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
        """Without `visibility_seconds` a received message is hidden for the queue's own time."""
        self._client = client
        self._url = url
        self._dead_letter_url = dead_letter_url
        self._retry_seconds = retry_seconds
        self._receive_options: dict[str, int] = {"WaitTimeSeconds": wait_seconds}
        if visibility_seconds is not None:
            self._receive_options["VisibilityTimeout"] = math.ceil(visibility_seconds)
        self._deletes = GroupCommit(self._delete, limit=BATCH)

    async def send(self, messages: Sequence[Message]) -> None:
        """Raises Unavailable if SQS took no message, and NotAllSent if it refused some."""
        await send_in_batches(messages, self._send, size=BATCH)

    async def _send(self, messages: Sequence[Message]) -> Iterable[str]:
        entries = [
            {"Id": message.id, "MessageBody": msgspec.json.encode(message).decode()}
            for message in messages
        ]
        response = await call(self._client.send_message_batch, QueueUrl=self._url, Entries=entries)
        return [failed["Id"] for failed in response.get("Failed", [])]

    async def receive(self, limit: int) -> list[ReceivedMessage]:
        """Waits for the first message, `wait_seconds` at most."""
        items = await self._receive(self._url, limit, **self._receive_options)
        return [_received(item) for item in items]

    async def delete(self, received: ReceivedMessage) -> None:
        """Deletes that arrive while a call is under way go together in the next one."""
        await self._deletes.submit(received.receipt)

    async def retry(
        self, received: ReceivedMessage, error: str, after_seconds: float = 0.0
    ) -> None:
        """Hides the message for a pause that doubles. SQS stores no error; the worker logs it."""
        pause_seconds = int(backoff(self._retry_seconds, received.receives))
        await self.extend(received, max(after_seconds, pause_seconds))

    async def extend(self, received: ReceivedMessage, seconds: float) -> None:
        try:
            await call(
                self._client.change_message_visibility,
                QueueUrl=self._url,
                ReceiptHandle=received.receipt,
                VisibilityTimeout=math.ceil(seconds),
            )
        except ClientError as error:
            if error.response["Error"]["Code"].rpartition(".")[2] not in LAPSED_CODES:
                raise

    async def failed(self, limit: int) -> list[ReceivedMessage]:
        """Always empty: to read a waiting message would use up one of its receives."""
        return []

    async def dead_letters(self, limit: int) -> list[ReceivedMessage]:
        return [_received(item) async for item in self._dead_letters(limit)]

    async def count_dead_letters(self) -> int:
        """From the queue's own attributes, because a receive would hide the dead letters."""
        response = await call(
            self._client.get_queue_attributes,
            QueueUrl=self._dead_letter_url,
            AttributeNames=list(COUNTS),
        )
        return sum(int(response["Attributes"][count]) for count in COUNTS)

    async def redrive(self, message_id: str | None) -> int:
        """Sends each message before it deletes the dead letter, so that a crash loses none.

        The body is sent unchanged, even if it cannot be decoded.
        """
        redriven = 0
        async for item in self._dead_letters(None):
            if message_id in (None, _received(item).message.id):
                await call(self._client.send_message, QueueUrl=self._url, MessageBody=item["Body"])
                await call(
                    self._client.delete_message,
                    QueueUrl=self._dead_letter_url,
                    ReceiptHandle=item["ReceiptHandle"],
                )
                redriven += 1
        return redriven

    async def _dead_letters(self, limit: int | None) -> AsyncIterator[Mapping[str, Any]]:
        """Each dead letter once, until the queue is empty or `limit` were returned."""
        seen: set[str] = set()
        empty = 0
        while empty < EMPTY_RECEIVES and (limit is None or len(seen) < limit):
            items = await self._receive(
                self._dead_letter_url, BATCH, VisibilityTimeout=PEEK_SECONDS
            )
            unseen = [item for item in items if item["MessageId"] not in seen]
            empty = 0 if unseen else empty + 1
            for item in unseen:
                if limit is not None and len(seen) >= limit:
                    return
                seen.add(item["MessageId"])
                yield item

    async def _receive(self, url: str, limit: int, **options: Any) -> Sequence[Mapping[str, Any]]:
        response = await call(
            self._client.receive_message,
            QueueUrl=url,
            MaxNumberOfMessages=min(limit, BATCH),
            MessageSystemAttributeNames=SYSTEM_ATTRIBUTES,
            **options,
        )
        items: Sequence[Mapping[str, Any]] = response.get("Messages", [])
        return items

    async def _delete(self, receipts: Sequence[str]) -> list[Exception | None]:
        """An error for each receipt that was not deleted.

        Its message returns to the queue and is handled a second time.
        """
        response = await call(
            self._client.delete_message_batch,
            QueueUrl=self._url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": receipt}
                for number, receipt in enumerate(receipts)
            ],
        )
        failed = {int(entry["Id"]) for entry in response.get("Failed", [])}
        problem = "The queue did not delete the message. It comes back."
        return [
            Unavailable(problem) if number in failed else None for number in range(len(receipts))
        ]


def _received(item: Mapping[str, Any]) -> ReceivedMessage:
    attributes = item["Attributes"]
    sent_at = datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1_000, UTC)
    return ReceivedMessage(
        message=read_message(item["Body"], item["MessageId"], sent_at),
        receipt=item["ReceiptHandle"],
        receives=int(attributes["ApproximateReceiveCount"]),
    )
