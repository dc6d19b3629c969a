"""A topic in SNS. The kind of a message is an attribute, by which subscriptions can filter."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from remit.adapters.aws.client import call, send_in_batches
from remit.domain.change import Message

BATCH = 10
"""The number of messages that SNS takes in one call."""


class SnsTopic:
    def __init__(self, client: Any, arn: str) -> None:
        self._client = client
        self._arn = arn

    async def publish(self, messages: Sequence[Message]) -> None:
        """Raises Unavailable if SNS took no message, and NotAllSent if it refused some."""
        await send_in_batches(messages, self._publish, size=BATCH)

    async def _publish(self, messages: Sequence[Message]) -> Iterable[str]:
        entries = [
            {
                "Id": message.id,
                "Message": msgspec.json.encode(message).decode(),
                "MessageAttributes": {"kind": {"DataType": "String", "StringValue": message.kind}},
            }
            for message in messages
        ]
        response = await call(
            self._client.publish_batch,
            TopicArn=self._arn,
            PublishBatchRequestEntries=entries,
        )
        return [failed["Id"] for failed in response["Failed"]]
