"""The store on DynamoDB, whose indexes lag behind its table: an emulator's never do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from remit.delivery.sweep import sweep
from remit.oversight.audit.archiver import AuditArchiver
from remit.oversight.audit.verification import VerifiedTrail, verify
from remit.payments.process import ProcessRequest, enqueue
from remit.ports.app import App
from tests.builders import SerialClient, caller, clock_of, dynamodb_app
from tests.unit.steps import a_processed_payment, a_validated_payment


class LaggingClient(SerialClient):
    """A client whose queries return what they returned the first time, until it has caught up."""

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self.is_behind = False
        self._pages: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = super().__getattr__(name)
        if name != "query":
            return method

        def query(**parameters: Any) -> Any:
            asked = repr(sorted(parameters.items(), key=lambda one: one[0]))
            if not self.is_behind or asked not in self._pages:
                self._pages[asked] = method(**parameters)
            return self._pages[asked]

        vars(query)["__self__"] = vars(method)["__self__"]
        query.__name__ = name
        return query


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Any:
    with mock_aws():
        session = boto3.Session("testing", "testing", region_name="us-east-1")
        yield LaggingClient(session.client("dynamodb"))


@pytest.fixture
def lagging(client: LaggingClient, tmp_path: Path) -> App:
    return dynamodb_app(tmp_path, client)


async def test_an_entry_that_the_index_still_has_is_archived_once(
    client: LaggingClient, lagging: App
) -> None:
    await a_processed_payment(lagging)
    archiver = AuditArchiver(lagging)
    client.is_behind = True
    archived = await archiver.archive()
    assert archived == 3
    assert await archiver.archive() == 0
    assert await AuditArchiver(lagging).archive() == 0
    client.is_behind = False
    trail = await verify(lagging.audit.bucket)
    assert isinstance(trail, VerifiedTrail)
    assert (trail.segments, trail.entries) == (1, archived)


async def test_an_operation_that_the_index_still_has_is_swept_once(
    client: LaggingClient, lagging: App
) -> None:
    payment = await a_validated_payment(lagging)
    await enqueue(lagging, caller(), ProcessRequest(payment.id))
    clock_of(lagging).advance(2 * 86_400)
    waiting = len(await lagging.delivery.outbox.pending(100))
    reader = lagging.database.reader
    assert len(await reader.due_operations(lagging.clock(), 10)) == 1
    client.is_behind = True
    for _ in range(3):
        await sweep(lagging)
    client.is_behind = False
    assert len(await lagging.delivery.outbox.pending(100)) == waiting + 1
