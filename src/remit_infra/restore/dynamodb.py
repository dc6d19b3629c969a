"""Restores the table to a point in time, into a new table, and verifies the copy.

    restore   by DynamoDB's point-in-time recovery, to any second of 35 days, up to minutes ago
    replay    the changes since then, from the old table's stream, which keeps a day of them
    verify    books, payments, processor and audit trail of the new table, as `remit reconcile` does

The old table is never changed. After a bad deployment, `until` ends the replay before it.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from remit.adapters.dynamodb.table import TIME_TO_LIVE
from remit.assembly.service import assemble
from remit.clock_and_ids import now
from remit.oversight.reconcile import Discrepancy, reconcile
from remit.settings import Settings, read_settings
from remit_infra.deploy.cloudformation import CloudFormationStack

POLL_SECONDS = 2.0
OVERLAP = timedelta(minutes=10)
"""The replay starts so long before the point, so that no change is missed. A change that is
replayed twice has no effect, because the last image of an item wins.
"""

EMPTY_PAGES = 3
"""After so many pages without a record, an open shard counts as read."""


class RestoreError(Exception):
    """The restore failed. The message says why."""


class TableRecovery(msgspec.Struct, frozen=True, kw_only=True):
    """A restored table: its recovery point and time, and the discrepancies in it."""

    table: str
    restored_to: datetime
    replayed: int
    recovery_point: datetime
    recovery_seconds: float
    payments: int
    discrepancies: list[Discrepancy]


class TableRestore:
    """The restore of one deployment's table. Raises RestoreError."""

    def __init__(self, stack: CloudFormationStack, say: Callable[[str], None]) -> None:
        self._stack = stack
        self._dynamodb = stack.client("dynamodb")
        self._streams = stack.client("dynamodbstreams")
        self._say = say
        self.source = stack.names("table", "transactions")

    def run(
        self, target: str, *, at: datetime | None = None, until: datetime | None = None
    ) -> TableRecovery:
        """Restores into `target`, replays and verifies."""
        start = now()
        point = self.restore(target, at)
        replayed, last = self.replay(target, since=point - OVERLAP, until=until)
        payments, discrepancies = self.verify(target)
        return TableRecovery(
            table=target,
            restored_to=point,
            replayed=replayed,
            recovery_point=max(point, last) if last else point,
            recovery_seconds=round((now() - start).total_seconds(), 1),
            payments=payments,
            discrepancies=discrepancies,
        )

    def restore(self, target: str, at: datetime | None = None) -> datetime:
        """Makes `target` with the data of that time, and the options that DynamoDB does not
        restore. Returns the point.
        """
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
        """The old table's key. By default, DynamoDB would encrypt the new table with its own."""
        table = self._dynamodb.describe_table(TableName=self.source)["Table"]
        if (key := table.get("SSEDescription", {}).get("KMSMasterKeyArn")) is None:
            return {}
        specification = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
        return {"SSESpecificationOverride": specification}

    def _status(self, table: str) -> str:
        status: str = self._dynamodb.describe_table(TableName=table)["Table"]["TableStatus"]
        return status

    def replay(
        self, target: str, *, since: datetime, until: datetime | None = None
    ) -> tuple[int, datetime | None]:
        """Writes every change of the old table since then. Returns their number and the last's
        time.

        The stream has the changes of one item in their order, and writing one twice has no effect.
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
        """Every change in the stream. A shard's parent comes before the shard."""
        table = self._dynamodb.describe_table(TableName=self.source)["Table"]
        arn = table["LatestStreamArn"]
        shards: dict[str, str | None] = {}
        request: dict[str, Any] = {"StreamArn": arn}
        while True:
            page = self._streams.describe_stream(**request)["StreamDescription"]
            shards |= {shard["ShardId"]: shard.get("ParentShardId") for shard in page["Shards"]}
            if (last := page.get("LastEvaluatedShardId")) is None:
                break
            request["ExclusiveStartShardId"] = last
        for shard_id in _parents_first(shards):
            yield from self._records_of(arn, shard_id)

    def _records_of(self, arn: str, shard_id: str) -> Iterator[Mapping[str, Any]]:
        iterator = self._streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        empty_pages = 0
        while iterator is not None and empty_pages < EMPTY_PAGES:
            page = self._streams.get_records(ShardIterator=iterator)
            yield from page["Records"]
            empty_pages = 0 if page["Records"] else empty_pages + 1
            iterator = page.get("NextShardIterator")

    def verify(self, target: str) -> tuple[int, list[Discrepancy]]:
        """The number of payments in the table, and the discrepancies."""
        variables = self._stack.settings("payment-delivery")
        settings: Settings = msgspec.structs.replace(
            read_settings(variables), transactions_table=target
        )

        async def run() -> tuple[int, list[Discrepancy]]:
            app = assemble(settings)
            return await app.database.books.count(), [each async for each in reconcile(app)]

        self._say("verifying books, payments, processor and audit trail")
        return asyncio.run(run())

    def discard(self, target: str) -> None:
        """Deletes the table of a drill."""
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
