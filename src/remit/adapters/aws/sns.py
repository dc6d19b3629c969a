"""A topic in SNS: one message each, with its kind as an attribute to filter subscriptions by."""

from collections.abc import Sequence
from typing import Any

import msgspec

from remit.adapters.aws.client import call, in_batches
from remit.domain.change import Message
from remit.domain.errors import Unavailable

BATCH = 10
"""How many messages SNS takes in one call."""


class SnsTopic:
    def __init__(self, client: Any, arn: str) -> None:
        self._client = client
        self._arn = arn

    async def publish(self, messages: Sequence[Message]) -> None:
        """Raises Unavailable unless every message was taken; some may have been."""
        await in_batches(messages, self._publish, size=BATCH)

    async def _publish(self, messages: Sequence[Message]) -> None:
        entries = [
            {
                "Id": message.id,
                "Message": msgspec.json.encode(message).decode(),
                "MessageAttributes": {"kind": {"DataType": "String", "StringValue": message.kind}},
            }
            for message in messages
        ]
        answer = await call(
            self._client.publish_batch,
            TopicArn=self._arn,
            PublishBatchRequestEntries=entries,
        )
        if answer["Failed"]:
            raise Unavailable("The topic did not take every message. Try again.")
