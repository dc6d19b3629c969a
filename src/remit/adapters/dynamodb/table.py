"""The DynamoDB table: the names of its items, its indexes, and calls to it from an event loop.

The partition key of every item is `transaction_id`: a payment's id, or the item's kind and its id
(`refund#…`, `audit#…`). There are three sparse indexes:

    by_owner     owner, transaction_id       the payments of a merchant and mode, and the API keys
    by_payment   payment_id, transaction_id  the refunds, entries and postings of a payment
    by_task      task, task_at               the work for a worker, in shards to spread the load

Indexes are eventually consistent, so no decision about money reads one.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from remit.adapters.aws.client import call

SHARDS = 8
BATCH = 100
"""How many items one call can read."""

BY_OWNER, BY_PAYMENT, BY_TASK = "by_owner", "by_payment", "by_task"

PARTITION_KEY = "transaction_id"
TIME_TO_LIVE = "expires_at"
INDEXES = {
    BY_OWNER: ("owner", PARTITION_KEY),
    BY_PAYMENT: ("payment_id", PARTITION_KEY),
    BY_TASK: ("task", "task_at"),
}
"""The partition and sort key of each index. Keys are text, and all attributes are projected."""

Item = dict[str, Any]

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


def shard(id_: str) -> int:
    """The shard of an item within its task, from the last digits of its id, which are random."""
    return int(id_[-2:], 16) % SHARDS


def encode(item: Mapping[str, Any]) -> Item:
    """The item in the form of DynamoDB's API, without its attributes that are None."""
    return {name: _serialize(value) for name, value in item.items() if value is not None}


def decode(item: Mapping[str, Any]) -> Item:
    return {name: _deserialize(value) for name, value in item.items()}


class Table:
    """Calls one table. Raises Unavailable if DynamoDB cannot serve a call now."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self.name = name

    async def get(self, key: str) -> Item | None:
        """The item, read consistently."""
        response = await self.call(
            "get_item", TableName=self.name, Key=self.key(key), ConsistentRead=True
        )
        return decode(response["Item"]) if "Item" in response else None

    async def get_all(self, keys: Sequence[str]) -> list[Item]:
        """The items that there are, read consistently, in no particular order."""
        items: list[Item] = []
        for start in range(0, len(keys), BATCH):
            asked = [self.key(key) for key in keys[start : start + BATCH]]
            while asked:
                wanted = {self.name: {"Keys": asked, "ConsistentRead": True}}
                response = await self.call("batch_get_item", RequestItems=wanted)
                items += [decode(item) for item in response["Responses"].get(self.name, ())]
                # What did not fit into 16 MB, or came too fast.
                asked = response.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
        return items

    async def put(self, item: Item) -> None:
        await self.call("put_item", TableName=self.name, Item=encode(item))

    async def put_new(self, item: Item) -> bool:
        """Writes the item and returns True, or returns False if there is one already."""
        return await self.put_if(item, f"attribute_not_exists({PARTITION_KEY})")

    async def put_if(self, item: Item, condition: str, values: Item | None = None) -> bool:
        """Writes the item and returns True, or returns False if the stored item does not meet
        `condition`.
        """
        parameters: Item = {"TableName": self.name, "Item": encode(item)}
        if values:
            parameters["ExpressionAttributeValues"] = encode(values)
        try:
            await self.call("put_item", **parameters, ConditionExpression=condition)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    async def delete(self, key: str) -> None:
        await self.call("delete_item", TableName=self.name, Key=self.key(key))

    async def query(
        self,
        index: str,
        condition: str,
        values: Item,
        *,
        newest_first: bool = False,
        **options: Any,
    ) -> AsyncIterator[Item]:
        """The items of an index. Pages are read as the caller iterates."""
        parameters = {
            "TableName": self.name,
            "IndexName": index,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": encode(values),
            "ScanIndexForward": not newest_first,
            **options,
        }
        async for item in self._pages("query", parameters):
            yield item

    async def scan(self, kind: str) -> AsyncIterator[Item]:
        """Every item of one kind, in no particular order."""
        parameters = {
            "TableName": self.name,
            "FilterExpression": "kind = :kind",
            "ExpressionAttributeValues": encode({":kind": kind}),
            "ConsistentRead": True,
        }
        async for item in self._pages("scan", parameters):
            yield item

    async def _pages(self, operation: str, parameters: Item) -> AsyncIterator[Item]:
        while True:
            page = await self.call(operation, **parameters)
            for item in page["Items"]:
                yield decode(item)
            if "LastEvaluatedKey" not in page:
                return
            parameters = parameters | {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    async def call(self, operation: str, **parameters: Any) -> Any:
        return await call(getattr(self._client, operation), **parameters)

    def key(self, key: str) -> Item:
        return encode({"transaction_id": key})
