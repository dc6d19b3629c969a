"""The contract of every store, on DynamoDB as the emulator has it: over the wire, with TLS."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from remit.ports.app import App
from tests.builders import dynamodb_app
from tests.contracts.test_health_states import *  # noqa: F403
from tests.contracts.test_ports import *  # noqa: F403  their tests are run by this module's `app`
from tests.contracts.test_store import *  # noqa: F403
from tests.emulated.harness import of_topology
from tests.emulated.lambda_dynamodb.stack import LambdaDynamodb

pytestmark = of_topology("lambda-dynamodb")


@pytest.fixture
def app(stack: LambdaDynamodb, tmp_path: Path) -> Iterator[App]:
    """The service over a table of its own."""
    client, name = stack.client("dynamodb"), f"transactions-{uuid.uuid4()}"
    yield dynamodb_app(tmp_path, client, table_name=name)
    client.delete_table(TableName=name)
