"""The one DynamoDB table: how items are named and indexed, and calls to it from an event loop.

Every item's partition key is `transaction_id`: a payment's own id, or a name with its kind before
it (`refund#…`, `audit#…`). Three sparse indexes lead to items by something else:

    by_owner     owner, transaction_id      payments of a merchant and mode, and the API keys
    by_payment   payment_id, transaction_id what belongs to a payment
    by_task      task, task_at              what waits for a worker, in shards so none gets hot

Indexes are eventually consistent, so nothing that decides about money reads one.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from remit.adapters.aws.client import call

SHARDS = 8
BY_OWNER, BY_PAYMENT, BY_TASK = "by_owner", "by_payment", "by_task"

PARTITION_KEY = "transaction_id"
TIME_TO_LIVE = "expires_at"
INDEXES = {
    BY_OWNER: ("owner", PARTITION_KEY),
    BY_PAYMENT: ("payment_id", PARTITION_KEY),
    BY_TASK: ("task", "task_at"),
}
"""Each index by its partition and sort key. All attributes are text, and all are projected."""

Item = dict[str, Any]

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


def shard(id_: str) -> int:
    """Which shard of a task an item belongs to: by its id's last digits, which are random."""
    return int(id_[-2:], 16) % SHARDS


def encode(item: Mapping[str, Any]) -> Item:
    """The item as the API takes it, without what is None."""
    return {name: _serialize(value) for name, value in item.items() if value is not None}


def decode(item: Mapping[str, Any]) -> Item:
    return {name: _deserialize(value) for name, value in item.items()}


class Table:
    """Calls one table of a boto3 client. Raises Unavailable when DynamoDB cannot answer now."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self.name = name

    async def get(self, key: str) -> Item | None:
        """The item as it is now: read consistently."""
        answer = await self.call(
            "get_item", TableName=self.name, Key=self.key(key), ConsistentRead=True
        )
        return decode(answer["Item"]) if "Item" in answer else None

    async def put(self, item: Item) -> None:
        await self.call("put_item", TableName=self.name, Item=encode(item))

    async def put_new(self, item: Item) -> bool:
        """False, and nothing is written, if there is such an item already."""
        return await self.put_if(item, f"attribute_not_exists({PARTITION_KEY})")

    async def put_if(self, item: Item, condition: str, values: Item | None = None) -> bool:
        """False, and nothing is written, if the item that is there does not meet the condition."""
        asked: Item = {"TableName": self.name, "Item": encode(item)}
        if values:
            asked["ExpressionAttributeValues"] = encode(values)
        try:
            await self.call("put_item", **asked, ConditionExpression=condition)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    async def delete(self, key: str) -> None:
        await self.call("delete_item", TableName=self.name, Key=self.key(key))

    async def query(
        self, index: str, condition: str, values: Item, *, newest_first: bool = False, **more: Any
    ) -> AsyncIterator[Item]:
        """Items of an index, page after page for as long as the caller goes on."""
        asked = {
            "TableName": self.name,
            "IndexName": index,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": encode(values),
            "ScanIndexForward": not newest_first,
            **more,
        }
        async for item in self._pages("query", asked):
            yield item

    async def scan(self, kind: str) -> AsyncIterator[Item]:
        """Every item of one kind, in no particular order."""
        asked = {
            "TableName": self.name,
            "FilterExpression": "kind = :kind",
            "ExpressionAttributeValues": encode({":kind": kind}),
            "ConsistentRead": True,
        }
        async for item in self._pages("scan", asked):
            yield item

    async def _pages(self, operation: str, asked: Item) -> AsyncIterator[Item]:
        while True:
            page = await self.call(operation, **asked)
            for item in page["Items"]:
                yield decode(item)
            if "LastEvaluatedKey" not in page:
                return
            asked = asked | {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    async def call(self, operation: str, **asked: Any) -> Any:
        return await call(getattr(self._client, operation), **asked)

    def key(self, key: str) -> Item:
        return encode({"transaction_id": key})
