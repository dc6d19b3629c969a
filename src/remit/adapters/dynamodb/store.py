"""The store on DynamoDB. Each change is one transaction (TransactWriteItems) with its conditions.

The service reads a payment from the JSON in its item's `data`. The other attributes repeat its
figures for people and tools that read the table.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
from botocore.exceptions import ClientError

from remit.adapters.dynamodb.api_keys import DynamoApiKeys
from remit.adapters.dynamodb.table import (
    BY_OWNER,
    BY_PAYMENT,
    BY_TASK,
    SHARDS,
    Item,
    Table,
    encode,
    shard,
)
from remit.domain.caller import KeyScope, Mode
from remit.domain.change import AuditEntry, Change, Conflict, IdempotencyRecord, KeyUse, Message
from remit.domain.errors import Unavailable
from remit.domain.ledger import Posting
from remit.domain.money import major_units
from remit.domain.operation import Operation
from remit.domain.payment import STATUS_NAMES, Payment, State
from remit.domain.refund import Refund
from remit.ports.store import OnCommit, PageQuery

T = TypeVar("T")

MAX_TRIES = 6
NO_OPERATION = "none"
FIRST_PAUSE_SECONDS = 0.02

_PASSING = frozenset(
    {"None", "ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"}
)
"""Reasons for which a transaction is canceled that say nothing against writing it again."""

Write = tuple[Conflict | None, Item]
"""One item of a transaction, and the conflict that its failed condition means."""

_json = msgspec.json.Encoder().encode
_payment = msgspec.json.Decoder(Payment)
_refund = msgspec.json.Decoder(Refund)
_operation = msgspec.json.Decoder(Operation)
_entry = msgspec.json.Decoder(AuditEntry)
_record = msgspec.json.Decoder(IdempotencyRecord)


class DynamoStore:
    """Store and Reader over one table. `retention` is the time to live of idempotency records."""

    def __init__(
        self, table: Table, *, retention: timedelta, on_commit: Sequence[OnCommit] = ()
    ) -> None:
        self._table = table
        self._retention = retention
        self._on_commit = on_commit

    async def ping(self) -> None:
        await self._table.call("describe_table", TableName=self._table.name)

    async def commit(self, change: Change) -> Conflict | None:
        if not (writes := self._writes(change)):
            return None
        pause = FIRST_PAUSE_SECONDS
        for _ in range(MAX_TRIES):
            try:
                await self._table.call(
                    "transact_write_items", TransactItems=[write for _, write in writes]
                )
            except ClientError as error:
                if error.response["Error"]["Code"] != "TransactionCanceledException":
                    raise
                conflict = _conflict(writes, error)
                if conflict is Conflict.KEY_TAKEN and change.record_use is not KeyUse.CLAIM:
                    # Another request has the key by now. The rest of the change is still true.
                    return await self.commit(msgspec.structs.replace(change, record=None))
                if conflict is not None:
                    return conflict
                # Another transaction is writing the same items: this one is tried again.
                await asyncio.sleep(pause)
                pause *= 2
            else:
                for notify in self._on_commit:
                    await notify(change)
                return None
        raise Unavailable("The same records are changing too fast. Try again.")

    def _writes(self, change: Change) -> list[Write]:
        writes: list[Write] = []
        if change.record is not None:
            writes.append(self._write_record(change.record, change.record_use))
        if (payment := change.payment) is not None:
            writes.append((Conflict.STALE, self._put(payment_item(payment), payment.version)))
            if payment.version == 1 and payment.reference is not None:
                name = _reference(payment.merchant_id, payment.mode, payment.reference)
                item = {"transaction_id": name, "kind": "reference", "names": payment.id}
                writes.append((Conflict.REFERENCE_TAKEN, self._put(item, 1)))
        if (refund := change.refund) is not None:
            writes.append((Conflict.STALE, self._put(refund_item(refund), refund.version)))
        for operation in change.operations:
            put = self._put(operation_item(operation), operation.version)
            writes.append((Conflict.STALE, put))
        items = [audit_item(entry) for entry in change.audit]
        items += ledger_items(change.postings)
        items += [message_item(message) for message in change.messages]
        return writes + [(None, self._put(item, None)) for item in items]

    def _put(self, item: Item, version: int | None) -> Item:
        """A put on the condition that the item has the version before. None is no condition."""
        put: Item = {"TableName": self._table.name, "Item": encode(item)}
        if version == 1:
            put["ConditionExpression"] = "attribute_not_exists(transaction_id)"
        elif version is not None:
            put["ConditionExpression"] = "version = :before"
            put["ExpressionAttributeValues"] = encode({":before": version - 1})
        return {"Put": put}

    def _write_record(self, record: IdempotencyRecord, use: KeyUse) -> tuple[Conflict | None, Item]:
        name = _scope(record.scope)
        operation_id = record.operation_id or NO_OPERATION
        same_operation: Item = {
            "ConditionExpression": "attribute_not_exists(transaction_id) OR "
            "operation_id = :operation",
            "ExpressionAttributeValues": encode({":operation": operation_id}),
        }
        if use is KeyUse.RELEASE:
            key = self._table.key(name)
            return Conflict.KEY_TAKEN, {
                "Delete": {"TableName": self._table.name, "Key": key, **same_operation}
            }
        item = {
            "transaction_id": name,
            "kind": "record",
            "operation_id": operation_id,
            "data": _json(record).decode(),
            "expires_at": int((record.at + self._retention).timestamp()),
        }
        if use is KeyUse.CLAIM:
            return Conflict.KEY_TAKEN, self._put(item, 1)
        return Conflict.KEY_TAKEN, {
            "Put": {"TableName": self._table.name, "Item": encode(item), **same_operation}
        }

    async def payment(self, payment_id: str) -> Payment | None:
        item = await self._table.get(payment_id)
        return None if item is None else _payment.decode(item["data"])

    async def refund(self, refund_id: str) -> Refund | None:
        item = await self._table.get(f"refund#{refund_id}")
        return None if item is None else _refund.decode(item["data"])

    async def operation(self, operation_id: str) -> Operation | None:
        item = await self._table.get(f"operation#{operation_id}")
        return None if item is None else _operation.decode(item["data"])

    async def payment_by_reference(
        self, merchant_id: str, mode: Mode, reference: str
    ) -> Payment | None:
        item = await self._table.get(_reference(merchant_id, mode, reference))
        return None if item is None else await self.payment(item["names"])

    async def record(self, scope: KeyScope) -> IdempotencyRecord | None:
        item = await self._table.get(_scope(scope))
        return None if item is None else _record.decode(item["data"])

    async def page(self, query: PageQuery) -> list[Payment]:
        owner = _owner(query.merchant_id, query.mode)
        condition, values = "#owner = :owner", {":owner": owner}
        if query.cursor is not None:
            condition += " AND transaction_id < :cursor"
            values[":cursor"] = query.cursor
        payments: list[Payment] = []
        async for item in self._table.query(
            BY_OWNER,
            condition,
            values,
            newest_first=True,
            ExpressionAttributeNames={"#owner": "owner"},
        ):
            payment = _payment.decode(item["data"])
            if _matches(payment, query):
                payments.append(payment)
            if len(payments) == query.limit:
                break
        return payments

    async def newest(self, mode: Mode, *, limit: int, state: State | None = None) -> list[Payment]:
        # The index is by merchant. Every merchant with a payment has an API key, maybe revoked.
        owners = {key.merchant_id for key in await DynamoApiKeys(self._table).all()}
        pages = [
            await self.page(PageQuery(merchant_id=owner, mode=mode, limit=limit, state=state))
            for owner in sorted(owners)
        ]
        payments = [payment for page in pages for payment in page]
        return sorted(payments, key=lambda payment: payment.id, reverse=True)[:limit]

    async def refunds(self, payment_id: str) -> list[Refund]:
        return [_refund.decode(data) async for data in self._of_payment(payment_id, "refund#")]

    async def history(self, payment_id: str) -> list[AuditEntry]:
        return [_entry.decode(data) async for data in self._of_payment(payment_id, "audit#")]

    async def _of_payment(self, payment_id: str, kind: str) -> Any:
        async for item in self._table.query(
            BY_PAYMENT,
            "payment_id = :payment AND begins_with(transaction_id, :kind)",
            {":payment": payment_id, ":kind": kind},
        ):
            yield item["data"]

    async def due(self, now: datetime, limit: int) -> list[Payment]:
        return await _first(limit, self._tasks("due", _payment, now))

    async def due_operations(self, now: datetime, limit: int) -> list[Operation]:
        return await _first(limit, self._tasks("due-operation", _operation, now))

    async def open_operations(self, limit: int, *, needs_decision: bool = False) -> list[Operation]:
        found = self._tasks("due-operation", _operation)
        if needs_decision:
            found = (operation async for operation in found if operation.needs_decision)
        return await _first(limit, found)

    async def operations(self, payment_id: str) -> list[Operation]:
        found = self._of_payment(payment_id, "operation#")
        return [_operation.decode(data) async for data in found]

    async def _tasks(
        self, task: str, decoder: msgspec.json.Decoder[T], until: datetime | None = None
    ) -> AsyncIterator[T]:
        """What has this task, until then or at any time. Each shard is in the order of its time."""
        condition, values = "task = :task", {}
        if until is not None:
            condition, values = "task = :task AND task_at <= :until", {":until": _instant(until)}
        for number in range(SHARDS):
            shard_values = {":task": f"{task}#{number}", **values}
            async for item in self._table.query(BY_TASK, condition, shard_values):
                yield decoder.decode(item["data"])


def payment_item(payment: Payment) -> Item:
    return {
        "transaction_id": payment.id,
        "kind": "payment",
        "version": payment.version,
        "status": STATUS_NAMES[payment.state],
        "amount": major_units(payment.amount_minor, payment.currency),
        "currency": payment.currency,
        "customer_id": payment.customer_id,
        "created_at": _instant(payment.created_at),
        "processed_at": payment.processed_at and _instant(payment.processed_at),
        "owner": _owner(payment.merchant_id, payment.mode),
        "task": payment.due_at and f"due#{shard(payment.id)}",
        "task_at": payment.due_at and _instant(payment.due_at),
        "data": _json(payment).decode(),
    }


def refund_item(refund: Refund) -> Item:
    return {
        "transaction_id": f"refund#{refund.id}",
        "kind": "refund",
        "version": refund.version,
        "status": refund.state.value,
        "payment_id": refund.payment_id,
        "data": _json(refund).decode(),
    }


def operation_item(operation: Operation) -> Item:
    return {
        "transaction_id": f"operation#{operation.id}",
        "kind": "operation",
        "version": operation.version,
        "status": operation.state.value,
        "payment_id": operation.payment_id,
        "task": operation.due_at and f"due-operation#{shard(operation.id)}",
        "task_at": operation.due_at and _instant(operation.due_at),
        "data": _json(operation).decode(),
    }


def audit_item(entry: AuditEntry) -> Item:
    return {
        "transaction_id": f"audit#{entry.id}",
        "kind": "audit",
        "payment_id": entry.payment_id,
        "task": f"unarchived#{shard(entry.id)}",
        "task_at": entry.id,
        "data": _json(entry).decode(),
    }


def ledger_items(postings: Sequence[Posting]) -> list[Item]:
    """One item for each ledger transaction, so that all its postings are written or none."""
    by_transaction: dict[str, list[Posting]] = {}
    for posting in postings:
        by_transaction.setdefault(posting.transaction_id, []).append(posting)
    return [
        {
            "transaction_id": f"ledger#{transaction_id}",
            "kind": "ledger",
            "payment_id": lines[0].payment_id,
            "data": _json(lines).decode(),
        }
        for transaction_id, lines in by_transaction.items()
    ]


def message_item(message: Message) -> Item:
    return {
        "transaction_id": f"message#{message.id}",
        "kind": "message",
        "task": f"outbox#{shard(message.id)}",
        "task_at": message.id,
        "created_at": _instant(message.created_at),
        "data": _json(message).decode(),
    }


async def _first(limit: int, items: AsyncIterator[T]) -> list[T]:
    """The first items, `limit` at most."""
    first: list[T] = []
    async for item in items:
        first.append(item)
        if len(first) == limit:
            break
    return first


def _conflict(
    writes: Sequence[tuple[Conflict | None, Item]], error: ClientError
) -> Conflict | None:
    """The conflict of the first failed condition. None if another transaction was in the way."""
    reasons = error.response.get("CancellationReasons", [])
    for (conflict, _), reason in zip(writes, reasons, strict=False):
        if reason.get("Code") == "ConditionalCheckFailed":
            if conflict is None:
                raise error
            return conflict
    if all(reason.get("Code") in _PASSING for reason in reasons):
        return None
    raise error


def _matches(payment: Payment, query: PageQuery) -> bool:
    return (
        (query.state is None or payment.state is query.state)
        and (query.customer_id is None or payment.customer_id == query.customer_id)
        and (query.reference is None or payment.reference == query.reference)
    )


def _owner(merchant_id: str, mode: Mode) -> str:
    return f"{merchant_id}/{mode}"


def _reference(merchant_id: str, mode: Mode, reference: str) -> str:
    return f"reference#{merchant_id}/{mode}/{reference}"


def _scope(scope: KeyScope) -> str:
    return f"record#{scope.merchant_id}/{scope.mode}/{scope.operation}/{scope.key}"


def _instant(at: datetime) -> str:
    """RFC 3339 in UTC with six decimals, so that the texts sort by time."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
