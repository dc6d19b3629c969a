"""Everything that is committed in DynamoDB."""

from datetime import timedelta

from remit.adapters.dynamodb.api_keys import DynamoApiKeys
from remit.adapters.dynamodb.books import DynamoBooks
from remit.adapters.dynamodb.health_states import DynamoHealthStates
from remit.adapters.dynamodb.outbox import DynamoOutbox
from remit.adapters.dynamodb.store import DynamoStore
from remit.adapters.dynamodb.table import Table
from remit.assembly.parts import DatabaseAdapters, Process, nothing


def on_dynamodb(process: Process, table: Table) -> DatabaseAdapters:
    """The ports that one table fills."""
    kept = timedelta(seconds=process.settings.idempotency_retention_seconds)
    return DatabaseAdapters(
        store=DynamoStore(table, kept=kept, on_commit=process.on_commit),
        books=DynamoBooks(table),
        api_keys=DynamoApiKeys(table),
        outbox=DynamoOutbox(table),
        health_states=DynamoHealthStates(table),
        close=nothing,
    )
