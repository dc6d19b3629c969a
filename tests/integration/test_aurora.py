"""The service as processes that stay: PostgreSQL by its secret, work in SQS, several at once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import boto3
import pytest
from moto import mock_aws
from msgspec import structs

from remit.adapters.aws.sqs import SqsQueue
from remit.adapters.postgres.connection import Connection, UrlLogin, connect
from remit.adapters.postgres.migrations import migrate
from remit.assembly.service import assemble
from remit.domain.errors import Unavailable
from remit.domain.payment import State
from remit.entrypoints.worker import run_worker
from remit.idle import IdlePolicy
from remit.oversight.audit.verification import VerifiedTrail, verify
from remit.oversight.health import health
from remit.oversight.reconcile import reconcile
from remit.payments.process import ProcessRequest, enqueue
from remit.ports.app import App
from remit.settings import Settings, SettingsError
from remit_infra.emulated.database import EmulatedDatabase
from remit_infra.model.service_env import AURORA_SETTINGS
from tests.builders import caller
from tests.contracts.test_aws import settings_in_aws
from tests.integration.test_rds import Rotated, login_of, make_database
from tests.unit.steps import a_validated_payment, current


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificate") / "database.pem"


@pytest.fixture(scope="module")
def database(
    tmp_path_factory: pytest.TempPathFactory, certificate: Path
) -> Iterator[EmulatedDatabase]:
    with make_database(tmp_path_factory.mktemp("aurora"), certificate) as running:
        yield running


@pytest.fixture
async def deployed(
    database: EmulatedDatabase, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Settings]:
    """Everything that the service on Aurora needs, made as a deployment makes it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        secret, sqs = Rotated(database), boto3.client("sqs")
        connection = await connect(login_of(database, secret, certificate))
        await migrate(connection)
        yield structs.replace(
            settings_in_aws(),
            database_endpoint=f"localhost:{database.port}",
            database_secret_arn=secret.arn,
            database_ca=certificate,
            work_queue_url=sqs.create_queue(QueueName="payments")["QueueUrl"],
            work_dead_letter_url=sqs.create_queue(QueueName="payments-dlq")["QueueUrl"],
            work_wait_seconds=0,
            work_visibility_seconds=300.0,
            service_name="payment-worker",
        )
        await connection.execute("DROP OWNED BY CURRENT_USER")
        await connection.close()


async def test_two_workers_process_what_the_api_queued(deployed: Settings) -> None:
    api, *workers = [assemble(deployed) for _ in range(3)]
    assert isinstance(api.delivery.queue, SqsQueue)
    stop = asyncio.Event()
    running = [asyncio.create_task(run_worker(app, stop)) for app in workers]
    payments = [await a_validated_payment(api) for _ in range(5)]
    for payment in payments:
        await enqueue(api, caller(), ProcessRequest(payment.id))
    async with asyncio.timeout(90):
        for payment in payments:
            while (await current(api, payment)).state is not State.CAPTURED:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        while await waiting_entries(api) or await api.delivery.outbox.oldest_created_at():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*running)
    assert [found async for found in reconcile(api)] == []
    assert isinstance(await verify(api.audit.bucket), VerifiedTrail)
    for app in (api, *workers):
        await app.close()
    counted = {m["MetricName"] for m in boto3.client("cloudwatch").list_metrics()["Metrics"]}
    assert {"payment_intent.succeeded", "OutboxAge"} <= counted


async def waiting_entries(app: App) -> int:
    """How many audit entries wait for the archiver. To read them would take its lease."""
    outbox: Any = app.delivery.outbox
    count: int = await outbox._connection.value("SELECT count(*) FROM audit_unarchived")
    return count


IDLE = "not checked: this process is idle, and the database may have paused"


async def test_an_idle_service_does_not_use_its_database_until_the_next_payment(
    deployed: Settings,
) -> None:
    quick = structs.replace(
        deployed,
        idle_after_seconds=0.5,
        service_name=None,
        relay_interval_seconds=0.05,
        archive_interval_seconds=0.05,
        sweep_interval_seconds=0.05,
    )
    asking = assemble(deployed)
    assert await asking.delivery.outbox.oldest_created_at() is None
    ours = await connections(asking)
    api, worker = assemble(quick), assemble(quick)
    stop = asyncio.Event()
    running = asyncio.create_task(run_worker(worker, stop))
    async with asyncio.timeout(90):
        await a_validated_payment(api)
        for _ in range(2):
            while not (api.idle.is_idle and worker.idle.is_idle):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            while await connections(asking) != ours:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            assert (await health(api)).checks["database"].detail == IDLE
            assert await connections(asking) == ours
            await a_validated_payment(api)  # which puts a message on the queue
            while await asking.delivery.outbox.oldest_created_at():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        stop.set()
        await running
    for app in (api, worker, asking):
        await app.close()


async def connections(app: App) -> set[int]:
    """Who is connected to the database, as the database knows it."""
    outbox: Any = app.delivery.outbox
    rows = await outbox._connection.rows(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'remit'"
    )
    return {row["pid"] for row in rows}


async def test_a_deployment_that_lacks_a_setting_names_it(deployed: Settings) -> None:
    for name in set(AURORA_SETTINGS) - {"database_secret_arn", "work_queue_url"}:
        with pytest.raises(SettingsError, match=f"REMIT_{name.upper()} is not set"):
            assemble(structs.replace(deployed, **{name: None}))


async def test_queries_that_are_not_work_do_not_keep_a_connection_open(database_url: str) -> None:
    connection = Connection(UrlLogin(database_url), idle=IdlePolicy(0.1))
    assert await connection.value("SELECT 1") == 1
    async with asyncio.timeout(30):
        while connection.is_open:
            await connection.value("SELECT 1")
            await asyncio.sleep(0.02)
    assert await connection.value("SELECT 1") == 1
    await connection.close()


async def test_calls_that_wait_for_a_database_share_one_attempt_to_connect() -> None:
    class Away(UrlLogin):
        attempts = 0

        async def connect_arguments(self) -> dict[str, Any]:
            self.attempts += 1
            await asyncio.sleep(0)
            raise OSError("away")

    login = Away("")
    connection = Connection(login)
    asked = await asyncio.gather(
        *(connection.value("SELECT 1") for _ in range(20)), return_exceptions=True
    )
    assert {type(one) for one in asked} == {Unavailable}
    assert login.attempts == 1
    with pytest.raises(Unavailable):
        await connection.value("SELECT 1")
    assert login.attempts == 2


async def test_a_connection_to_a_writer_that_became_a_reader_is_replaced(
    database_url: str,
) -> None:
    connection = Connection(UrlLogin(database_url))
    write: tuple[Any, ...] = ("INSERT INTO leases VALUES ($1, gen_random_uuid(), now())",)
    await connection.rows(*write, "before")
    administrator = await asyncpg.connect(database_url)
    name = await administrator.fetchval("SELECT current_database()")
    await administrator.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await connection.rows("SET default_transaction_read_only = on")
    before = await connection.value("SELECT pg_backend_pid()")
    for _ in range(2):
        with pytest.raises(Unavailable):
            await connection.rows(*write, "during")
    await administrator.execute("SET default_transaction_read_only = off")
    await administrator.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await administrator.close()
    await connection.rows(*write, "after")
    assert await connection.value("SELECT pg_backend_pid()") != before
    assert await connection.value("SELECT count(*) FROM leases") == 2
    await connection.close()
