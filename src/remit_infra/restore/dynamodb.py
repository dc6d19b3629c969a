"""Restores the table to a point in time, into a new table, and proves what is in it.

    restore   DynamoDB's point-in-time recovery, to any second of 35 days up to some minutes ago
    replay    the changes since then, from the old table's stream, which keeps every one for a day
    verify    books, payments, processor and audit trail of the new table, as `remit reconcile` does

After a bad deployment, `until` ends the replay before it.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from remit.adapters.dynamodb.table import TIME_TO_LIVE
from remit.assembly.service import assemble
from remit.clock_and_ids import now as clock
from remit.oversight.reconcile import Discrepancy, reconcile
from remit.settings import Settings, read_settings
from remit_infra.deploy.cloudformation import CloudFormationStack

POLL_SECONDS = 2.0
OVERLAP = timedelta(minutes=10)
"""Changes from before the point are replayed too: the last image of an item wins, however often it
is written, and a gap would lose one.
"""

EMPTY_PAGES = 3
"""So many pages without a record, before a shard that is still open counts as read to its end."""


class RestoreError(Exception):
    """The table cannot be restored. The message says why."""


class TableRecovery(msgspec.Struct, frozen=True, kw_only=True):
    """What was recovered: until when, in how long, and what is wrong with it."""

    table: str
    restored_to: datetime
    replayed: int
    recovery_point: datetime
    recovery_seconds: float
    payments: int
    discrepancies: list[Discrepancy]


class TableRestore:
    """Of one deployment's table. Raises RestoreError."""

    def __init__(self, deployment: CloudFormationStack, say: Callable[[str], None]) -> None:
        self._deployment = deployment
        self._dynamodb = deployment.client("dynamodb")
        self._streams = deployment.client("dynamodbstreams")
        self._say = say
        self.source = deployment.names("table", "transactions")

    def run(
        self, target: str, *, at: datetime | None = None, until: datetime | None = None
    ) -> TableRecovery:
        """Restores into `target`, replays and verifies."""
        began = clock()
        point = self.restore(target, at)
        replayed, last = self.replay(target, since=point - OVERLAP, until=until)
        payments, found = self.verify(target)
        return TableRecovery(
            table=target,
            restored_to=point,
            replayed=replayed,
            recovery_point=max(point, last) if last else point,
            recovery_seconds=round((clock() - began).total_seconds(), 1),
            payments=payments,
            discrepancies=found,
        )

    def restore(self, target: str, at: datetime | None = None) -> datetime:
        """Makes `target` as the table was then, with what a restore leaves out. The point."""
        described = self._dynamodb.describe_continuous_backups(TableName=self.source)
        recovery = described["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        if recovery["PointInTimeRecoveryStatus"] != "ENABLED":
            raise RestoreError(f"{self.source} has no point-in-time recovery.")
        earliest = recovery["EarliestRestorableDateTime"].astimezone(UTC)
        latest = recovery["LatestRestorableDateTime"].astimezone(UTC)
        point = at or latest
        if not earliest <= point <= latest:
            raise RestoreError(f"{self.source} can be restored from {earliest} to {latest}.")
        self._say(f"restoring {self.source} to {point:%Y-%m-%d %H:%M:%S} UTC as {target}")
        self._dynamodb.restore_table_to_point_in_time(
            SourceTableName=self.source,
            TargetTableName=target,
            RestoreDateTime=point,
            BillingModeOverride="PAY_PER_REQUEST",
            **self._encryption(),
        )
        while self._status(target) != "ACTIVE":
            time.sleep(POLL_SECONDS)
        self._dynamodb.update_time_to_live(
            TableName=target,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": TIME_TO_LIVE},
        )
        self._dynamodb.update_continuous_backups(
            TableName=target,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        )
        return point

    def _encryption(self) -> dict[str, Any]:
        """The new table under the old one's key: by default it would be AWS's own."""
        table = self._dynamodb.describe_table(TableName=self.source)["Table"]
        if (key := table.get("SSEDescription", {}).get("KMSMasterKeyArn")) is None:
            return {}
        wanted = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
        return {"SSESpecificationOverride": wanted}

    def _status(self, table: str) -> str:
        status: str = self._dynamodb.describe_table(TableName=table)["Table"]["TableStatus"]
        return status

    def replay(
        self, target: str, *, since: datetime, until: datetime | None = None
    ) -> tuple[int, datetime | None]:
        """Writes every change of the old table since then; how many, and when the last was made.

        Changes of one item come in their order, and writing one twice changes nothing.
        """
        replayed, last = 0, None
        for record in self._records():
            change = record["dynamodb"]
            at = change["ApproximateCreationDateTime"].astimezone(UTC)
            if at < since or (until is not None and at > until):
                continue
            if record["eventName"] == "REMOVE":
                self._dynamodb.delete_item(TableName=target, Key=change["Keys"])
            else:
                self._dynamodb.put_item(TableName=target, Item=change["NewImage"])
            replayed += 1
            last = at if last is None else max(at, last)
            if replayed % 1_000 == 0:
                self._say(f"replayed {replayed} changes, up to {at:%H:%M:%S}")
        self._say(f"replayed {replayed} changes")
        return replayed, last

    def _records(self) -> Iterator[Mapping[str, Any]]:
        """Every change that the stream still has: a shard's parent before the shard."""
        table = self._dynamodb.describe_table(TableName=self.source)["Table"]
        arn = table["LatestStreamArn"]
        shards: dict[str, str | None] = {}
        asked: dict[str, Any] = {"StreamArn": arn}
        while True:
            page = self._streams.describe_stream(**asked)["StreamDescription"]
            shards |= {one["ShardId"]: one.get("ParentShardId") for one in page["Shards"]}
            if (last := page.get("LastEvaluatedShardId")) is None:
                break
            asked["ExclusiveStartShardId"] = last
        for shard in _parents_first(shards):
            yield from self._records_of(arn, shard)

    def _records_of(self, arn: str, shard: str) -> Iterator[Mapping[str, Any]]:
        iterator = self._streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        empty = 0
        while iterator is not None and empty < EMPTY_PAGES:
            page = self._streams.get_records(ShardIterator=iterator)
            yield from page["Records"]
            empty = 0 if page["Records"] else empty + 1
            iterator = page.get("NextShardIterator")

    def verify(self, target: str) -> tuple[int, list[Discrepancy]]:
        """How many payments are in the table, and every disagreement about them."""
        variables = self._deployment.settings("payment-delivery")
        settings: Settings = msgspec.structs.replace(
            read_settings(variables), transactions_table=target
        )

        async def look() -> tuple[int, list[Discrepancy]]:
            app = assemble(settings)
            return await app.database.books.count(), [found async for found in reconcile(app)]

        self._say("verifying books, payments, processor and audit trail")
        return asyncio.run(look())

    def discard(self, target: str) -> None:
        """Deletes a table that a drill made."""
        if target == self.source:
            raise RestoreError(f"{target} is the deployment's own table.")
        self._dynamodb.delete_table(TableName=target)
        self._say(f"deleted {target}")


def _parents_first(shards: Mapping[str, str | None]) -> list[str]:
    ordered: list[str] = []

    def add(shard: str) -> None:
        parent = shards.get(shard)
        if parent is not None and parent in shards and parent not in ordered:
            add(parent)
        if shard not in ordered:
            ordered.append(shard)

    for shard in shards:
        add(shard)
    return ordered
