"""The outbox on DynamoDB, and the audit entries that wait for the archive.

The table's stream hands new messages to the delivery function as they are written. What is read
here is what the stream has not delivered yet.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from remit.adapters.dynamodb.table import BY_TASK, SHARDS, Item, Table
from remit.domain.change import AuditEntry, Message

SEGMENTS = "segments"

_json = msgspec.json.Encoder().encode
_message = msgspec.json.Decoder(Message)
_entry = msgspec.json.Decoder(AuditEntry)


class DynamoOutbox:
    """Outbox, AuditLog and Retention: items in the shards of a task until they are done with."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def pending(self, limit: int) -> list[Message]:
        return [_message.decode(item["data"]) for item in await self._waiting("outbox", limit)]

    async def renew(self) -> None:
        """Nothing to do: the stream has one reader for each shard, and the clock one function."""

    async def release(self) -> None:
        """Nothing to do, as for `renew`."""

    async def sent(self, message_ids: Sequence[str]) -> None:
        for message_id in message_ids:
            await self._table.delete(f"message#{message_id}")

    async def oldest(self) -> datetime | None:
        found = await self.pending(1)
        return found[0].created_at.astimezone(UTC) if found else None

    async def unarchived(self, limit: int) -> list[AuditEntry]:
        return [_entry.decode(item["data"]) for item in await self._waiting("unarchived", limit)]

    async def mark_archived(self, entry_ids: Sequence[str], segment: int) -> None:
        for entry_id in entry_ids:
            await self._table.call(
                "update_item",
                TableName=self._table.name,
                Key=self._table.key(f"audit#{entry_id}"),
                UpdateExpression="REMOVE task, task_at",
            )
        await self._table.put_if(
            {"transaction_id": SEGMENTS, "kind": "segments", "newest": segment},
            "attribute_not_exists(newest) OR newest < :segment",
            {":segment": segment},
        )

    async def delete_records(self, before: datetime, limit: int) -> int:
        """Nothing to do: the table's time to live deletes them."""
        return 0

    async def _waiting(self, task: str, limit: int) -> list[Item]:
        """The oldest of each shard, put in order: ids rise with time."""
        found: list[Item] = []
        for number in range(SHARDS):
            taken = 0
            async for item in self._table.query(
                BY_TASK, "task = :task", {":task": f"{task}#{number}"}, Limit=limit
            ):
                found.append(item)
                taken += 1
                if taken == limit:
                    break
        return sorted(found, key=lambda item: str(item["task_at"]))[:limit]
