"""The adapters to DynamoDB."""

from datetime import timedelta

from remit.adapters.dynamodb.api_keys import DynamoApiKeys
from remit.adapters.dynamodb.books import DynamoBooks
from remit.adapters.dynamodb.health_states import DynamoHealthStates
from remit.adapters.dynamodb.outbox import DynamoOutbox
from remit.adapters.dynamodb.store import DynamoStore
from remit.adapters.dynamodb.table import Table
from remit.assembly.parts import DatabaseAdapters, Process, close_nothing


def dynamodb_adapters(process: Process, table: Table) -> DatabaseAdapters:
    """The database ports on one DynamoDB table."""
    retention = timedelta(seconds=process.settings.idempotency_retention_seconds)
    return DatabaseAdapters(
        store=DynamoStore(table, retention=retention, on_commit=process.on_commit),
        books=DynamoBooks(table),
        api_keys=DynamoApiKeys(table),
        outbox=DynamoOutbox(table),
        health_states=DynamoHealthStates(table),
        close=close_nothing,
    )
