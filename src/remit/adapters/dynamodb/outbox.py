"""The outbox on DynamoDB, and the audit entries to archive.

The table's stream passes new messages to the delivery function, which sends them and marks them
sent. The reads here find messages that the stream has not passed on.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime

import msgspec

from remit.adapters.dynamodb.store import audit_item
from remit.adapters.dynamodb.table import BY_TASK, SHARDS, Item, Table
from remit.domain.change import AuditEntry, Message, Topic
from remit.ports.audit import ArchivedSegment

SEGMENTS = "segments"

_json = msgspec.json.Encoder().encode
_message = msgspec.json.Decoder(Message)
_entry = msgspec.json.Decoder(AuditEntry)


class DynamoOutbox:
    """Outbox, AuditLog and Retention. An item is in the index of its task until it is done."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def pending(self, limit: int, without: Collection[Topic] = ()) -> list[Message]:
        def is_wanted(item: Item) -> bool:
            return _message.decode(item["data"]).topic not in without

        found = await self._oldest("outbox", limit, is_wanted)
        return [_message.decode(item["data"]) for item in found]

    async def renew(self) -> None:
        """Does nothing. A stream has one reader for each shard, and the schedule one function, so
        there is no lease.
        """

    async def release(self) -> None:
        """Does nothing, as `renew`."""

    async def mark_sent(self, message_ids: Sequence[str]) -> None:
        for message_id in message_ids:
            await self._table.delete(f"message#{message_id}")

    async def oldest_created_at(self) -> datetime | None:
        messages = await self.pending(1)
        return messages[0].created_at.astimezone(UTC) if messages else None

    async def unarchived(self, limit: int) -> list[AuditEntry]:
        """The index lags behind the table. What it still has is read from the table, so that an
        entry that was archived a moment ago is not archived twice.
        """
        found = await self._oldest("unarchived", limit)
        items = [await self._table.get(item["transaction_id"]) for item in found]
        return [_entry.decode(item["data"]) for item in items if item and "task" in item]

    async def restore(self, entries: Sequence[AuditEntry]) -> None:
        for entry in entries:
            await self._table.put_new(audit_item(entry))

    async def mark_archived(self, entry_ids: Sequence[str], segment: ArchivedSegment) -> None:
        for entry_id in entry_ids:
            await self._table.call(
                "update_item",
                TableName=self._table.name,
                Key=self._table.key(f"audit#{entry_id}"),
                UpdateExpression="REMOVE task, task_at",
            )
        await self._table.put_if(
            {
                "transaction_id": SEGMENTS,
                "kind": "segments",
                "newest": segment.number,
                "archived_at": segment.archived_at.isoformat(),
            },
            "attribute_not_exists(newest) OR newest < :segment",
            {":segment": segment.number},
        )

    async def delete_records(self, before: datetime, limit: int) -> int:
        """Does nothing: DynamoDB deletes the records by the table's time to live."""
        return 0

    async def _oldest(
        self, task: str, limit: int, is_wanted: Callable[[Item], bool] = lambda _: True
    ) -> list[Item]:
        """The oldest items of a task, from all its shards. Ids sort by time."""
        items: list[Item] = []
        for number in range(SHARDS):
            of_shard = 0
            async for item in self._table.query(
                BY_TASK, "task = :task", {":task": f"{task}#{number}"}, Limit=limit
            ):
                if not is_wanted(item):
                    continue
                items.append(item)
                of_shard += 1
                if of_shard == limit:
                    break
        return sorted(items, key=lambda item: str(item["task_at"]))[:limit]
