"""The contract of every store, on DynamoDB as the emulator has it: over the wire, with TLS."""

import dataclasses
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from remit.adapters.dynamodb import DynamoStore
from remit.adapters.dynamodb_books import DynamoBooks
from remit.adapters.dynamodb_delivery import DynamoKeys, DynamoOutbox, DynamoVerdicts
from remit.adapters.dynamodb_table import Table
from remit.ports import App
from remit_infra.emulator import Emulator
from tests.builders import make_table, memory_app
from tests.contracts.test_reading import *  # noqa: F403  their tests are run by this module's `app`
from tests.contracts.test_store import *  # noqa: F403
from tests.contracts.test_verdicts import *  # noqa: F403

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("emulator")]


@pytest.fixture
def app(emulator: Emulator, tmp_path: Path) -> Iterator[App]:
    """The service over a table of its own."""
    client = emulator.client("dynamodb")
    table = Table(client, f"transactions-{uuid.uuid4()}")
    make_table(client, table.name)
    store, outbox = DynamoStore(table, kept=timedelta(hours=48)), DynamoOutbox(table)
    yield dataclasses.replace(
        memory_app(tmp_path),
        store=store,
        reader=store,
        books=DynamoBooks(table),
        keys=DynamoKeys(table),
        outbox=outbox,
        audit_log=outbox,
        retention=outbox,
        verdicts=DynamoVerdicts(table),
        ping=store.ping,
    )
    client.delete_table(TableName=table.name)
