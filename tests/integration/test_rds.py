"""The service on PostgreSQL as RDS runs it: TLS, and a password that changes while it is in use."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import boto3
import pytest
from moto import mock_aws
from msgspec import structs
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from remit.adapters.aws.rds import SecretLogin, span
from remit.adapters.postgres.connection import Connection, connect
from remit.adapters.postgres.migrations import migrate
from remit.assembly.service import assemble
from remit.delivery.relay import relay
from remit.domain.errors import Unavailable
from remit.domain.payment import State
from remit.entrypoints.lambdas.delivery import DeliveryFunction
from remit.oversight.audit.archiver import AuditArchiver
from remit.oversight.audit.verification import VerifiedTrail, verify
from remit.oversight.reconcile import reconcile
from remit.payments.process import ProcessRequest, enqueue, process
from remit.payments.results import Replayed
from remit.settings import Settings, SettingsError
from remit_infra.components.data.postgres import ADMIN_USER, DATABASE
from remit_infra.emulated.certificate import make_certificate
from remit_infra.emulated.database import EmulatedDatabase
from remit_infra.model.service_env import RDS_SETTINGS
from tests.builders import DECLINED_CARD, caller
from tests.contracts.test_aws import settings_in_aws
from tests.unit.steps import a_processed_payment, a_validated_payment, current


def make_database(folder: Path, certificate: Path) -> EmulatedDatabase:
    """A server that shows a certificate of its own, which is then its only authority."""
    key = certificate.with_suffix(".key")
    make_certificate(certificate, key)
    return EmulatedDatabase(folder, certificate=certificate, key=key)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificate") / "database.pem"


@pytest.fixture(scope="module")
def database(
    tmp_path_factory: pytest.TempPathFactory, certificate: Path
) -> Iterator[EmulatedDatabase]:
    with make_database(tmp_path_factory.mktemp("rds"), certificate) as running:
        yield running


class Rotated:
    """The database's secret, and its rotation in the two steps that Secrets Manager takes."""

    def __init__(self, database: EmulatedDatabase) -> None:
        self.client: Any = boto3.client("secretsmanager", region_name="us-east-1")
        self._database = database
        self._number = 0
        self.arn = self.client.create_secret(Name="database", SecretString=self._changed())["ARN"]
        self._pending = ""

    def _changed(self) -> str:
        self._number += 1
        password = f"password-{self._number}"
        self._database.change_password(password)
        return json.dumps({"username": ADMIN_USER, "password": password})

    def change(self) -> None:
        """The password is another one in the database, and so far only pending in the secret."""
        self._pending = self.client.put_secret_value(
            SecretId=self.arn, SecretString=self._changed(), VersionStages=["AWSPENDING"]
        )["VersionId"]

    def finish(self) -> None:
        versions = self.client.describe_secret(SecretId=self.arn)["VersionIdsToStages"]
        [current] = [one for one, stages in versions.items() if "AWSCURRENT" in stages]
        self.client.update_secret_version_stage(
            SecretId=self.arn,
            VersionStage="AWSCURRENT",
            MoveToVersionId=self._pending,
            RemoveFromVersionId=current,
        )


@pytest.fixture
def secret(database: EmulatedDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rotated]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield Rotated(database)


@pytest.fixture
def login(database: EmulatedDatabase, secret: Rotated, certificate: Path) -> SecretLogin:
    return login_of(database, secret, certificate)


def login_of(
    database: EmulatedDatabase, secret: Rotated, ca: Path | None, host: str = "localhost"
) -> SecretLogin:
    return SecretLogin(
        secret.client,
        secret_arn=secret.arn,
        endpoint=f"{host}:{database.port}",
        database=DATABASE,
        ca=ca,
    )


async def test_the_database_is_reached_over_tls(login: SecretLogin) -> None:
    connection = await connect(login)
    try:
        assert (await migrate(connection))[0].startswith("0001")
        assert await connection.fetchval("SELECT current_user") == ADMIN_USER
    finally:
        await connection.close()


@pytest.fixture
async def deployed(
    database: EmulatedDatabase, secret: Rotated, login: SecretLogin, certificate: Path
) -> AsyncIterator[Settings]:
    """Everything that the service on RDS needs, made as a deployment makes it."""
    connection = await connect(login)
    await migrate(connection)
    yield structs.replace(
        settings_in_aws(),
        database_endpoint=f"localhost:{database.port}",
        database_secret_arn=secret.arn,
        database_ca=certificate,
    )
    await connection.execute("DROP OWNED BY CURRENT_USER")
    await connection.close()


async def test_a_payment_is_processed_and_reconciled_on_rds(deployed: Settings) -> None:
    app = assemble(deployed)
    payment = await a_processed_payment(app)
    declined = await a_processed_payment(app, card=DECLINED_CARD)
    assert (payment.state, declined.state) == (State.CAPTURED, State.DECLINED)
    processing = ProcessRequest(payment.id)
    assert isinstance(await process(app, caller(), processing), Replayed)
    await app.database.ping()
    while await relay(app) or await AuditArchiver(app).archive():
        pass
    assert [found async for found in reconcile(app)] == []
    assert isinstance(await verify(app.audit.bucket), VerifiedTrail)
    await app.close()


async def test_a_deployment_that_lacks_a_setting_names_it(deployed: Settings) -> None:
    for name in set(RDS_SETTINGS) - {"database_secret_arn"}:
        with pytest.raises(SettingsError, match=f"REMIT_{name.upper()} is not set"):
            assemble(structs.replace(deployed, **{name: None}))


async def test_a_scheduled_run_handles_the_queue_and_keeps_dead_letters(
    deployed: Settings,
) -> None:
    app = assemble(structs.replace(deployed, simulator_down_at=667, work_max_receives=1))
    good, bad = await a_validated_payment(app), await a_validated_payment(app, amount="6.67")
    for payment in (good, bad):
        await enqueue(app, caller(), ProcessRequest(payment.id))
    function = DeliveryFunction(app)
    done = await function({"job": "work"})
    assert (done["worked"], (await current(app, good)).state) == (2, State.CAPTURED)
    assert (await current(app, bad)).state is State.UNKNOWN
    assert [one.message.payment_id for one in await app.delivery.failed.dead_letters(10)] == [
        bad.id
    ]
    assert (await function({"job": "work"}))["worked"] == 0
    await app.close()


async def test_each_scheduled_run_may_be_in_another_container(deployed: Settings) -> None:
    containers = [assemble(deployed) for _ in range(2)]
    for app in containers:
        payment = await a_validated_payment(app)
        await enqueue(app, caller(), ProcessRequest(payment.id))
        done = await DeliveryFunction(app)({"job": "work"})
        assert (done["worked"], (await current(app, payment)).state) == (1, State.CAPTURED)
        assert done["archived"] > 0
    for app in containers:
        await app.close()


async def test_a_server_without_the_right_certificate_is_rejected(
    database: EmulatedDatabase, secret: Rotated, certificate: Path
) -> None:
    unknown = Connection(login_of(database, secret, None))
    with pytest.raises(Unavailable):
        await unknown.value("SELECT 1")
    elsewhere = Connection(login_of(database, secret, certificate, host="127.1"))
    with pytest.raises(Unavailable):
        await elsewhere.value("SELECT 1")


async def test_each_statement_is_a_span_without_its_values(login: SecretLogin) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    connection = Connection(login, span=partial(span, tracer=provider.get_tracer("test")))
    await connection.value("SELECT $1::text", "somebody's")
    await connection.close()
    [found] = exporter.get_finished_spans()
    assert found.kind is SpanKind.CLIENT
    assert found.attributes == {"db.system": "postgresql", "db.statement": "SELECT $1::text"}


async def test_a_connection_without_tls_is_rejected(database: EmulatedDatabase) -> None:
    with pytest.raises((OSError, asyncpg.PostgresError)):
        await asyncpg.connect(host="127.0.0.1", port=database.port, user=ADMIN_USER, ssl=False)


async def test_a_connection_goes_on_through_a_rotation(
    database: EmulatedDatabase, secret: Rotated, login: SecretLogin
) -> None:
    before = Connection(login)
    assert await before.value("SELECT 1") == 1
    for _ in range(2):
        secret.change()
        assert await answers_anew(login)  # the old one is refused, the new one is pending
        secret.finish()
        assert await answers_anew(login)
    assert await before.value("SELECT 1") == 1
    await before.close()


async def test_a_connection_closed_by_the_server_is_opened_again(
    database: EmulatedDatabase, login: SecretLogin
) -> None:
    """As after a failover, in a container that was frozen meanwhile."""
    connection = Connection(login)
    for _ in range(3):
        assert await connection.value("SELECT 1") == 1
        database.terminate_connections()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert await connection.value("SELECT 1") == 1
    await connection.close()


async def test_a_database_that_rejects_every_password_is_unavailable(
    database: EmulatedDatabase, login: SecretLogin
) -> None:
    database.change_password("a new one")
    with pytest.raises(Unavailable):
        await Connection(login).value("SELECT 1")


async def answers_anew(login: SecretLogin) -> bool:
    connection = Connection(login)
    try:
        return bool(await connection.value("SELECT 1"))
    finally:
        await connection.close()
