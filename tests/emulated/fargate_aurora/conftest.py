"""fargate-aurora, applied once by the real AWS provider, with its tasks as processes."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from remit.assembly.service import assemble
from remit.clock_and_ids import new_secret
from remit.oversight.api_keys import create_key
from remit.ports.app import App
from remit.settings import read_settings
from remit_infra.emulated.database import EmulatedDatabase
from remit_infra.emulated.emulator import CREDENTIALS, Emulator, install
from remit_infra.emulated.fargate_stack import EmulatedFargateAurora, TaskProcess
from remit_infra.graph.terraform import TerraformError
from tests.emulated.conftest import SETTINGS, Caller, as_operator, eventually, rows_of
from tests.tidy.tree import ROOT

SUFFIX = "staging-001"
QUICK = {
    # A message that a killed worker had comes back after seconds, and not after five minutes.
    "REMIT_WORK_VISIBILITY_SECONDS": "4",
    "REMIT_LEASE_SECONDS": "3",
    "REMIT_WORK_WAIT_SECONDS": "1",
    "REMIT_WORK_RETRY_SECONDS": "0.5",
    # And a claim of one that died lapses as soon.
    "REMIT_PROCESSOR_TIMEOUT_SECONDS": "3",
    "REMIT_RATE_PER_SECOND": "100000",
    "REMIT_RATE_BURST": "100000",
}

T = TypeVar("T")


class Stack(EmulatedFargateAurora):
    """The applied topology: its tasks as processes, and what is in its database and queues."""

    def __init__(self, emulator: Emulator, database: EmulatedDatabase, folder: Path) -> None:
        super().__init__(SUFFIX, emulator, database, folder / "terraform")
        self.folder = folder
        self.key = ""
        self.trust(CREDENTIALS, CREDENTIALS)

    def client(self, service: str) -> Any:
        return self.emulator.client(service)

    @contextmanager
    def api(self, **more: str) -> Iterator["Api"]:
        task = self.begin("payment-task", **more)
        try:
            yield Api(self, task)
        finally:
            task.kill()

    @contextmanager
    def worker(self, **more: str) -> Iterator[TaskProcess]:
        task = self.begin("payment-worker-task", **more)
        try:
            yield task
        finally:
            task.kill()

    def begin(self, family: str, **more: str) -> TaskProcess:
        """Starts a task and waits until its health check is content with it."""
        here = {"REMIT_HOST": "127.0.0.1", **QUICK}
        task = self.start(family, self.folder / f"{family}.log", **{**here, **more})
        eventually(task.is_live, 60)
        return task

    def use(self, work: Callable[[App], Awaitable[T]]) -> T:
        """What `work` answers over the service assembled here as a worker has it."""
        environment = self.environment("payment-worker-task") | QUICK

        async def run() -> T:
            app = assemble(read_settings(environment))
            try:
                return await work(app)
            finally:
                await app.close()

        return asyncio.run(run())

    def rows(self, query: str, *args: object) -> list[Any]:
        return rows_of(self.database, query, *args)

    def queue_url(self, name: str) -> str:
        url: str = self.client("sqs").get_queue_url(QueueName=self.names("queue", name))["QueueUrl"]
        return url

    def waiting(self, name: str) -> int:
        """How many messages the queue has, hidden or not."""
        found = self.client("sqs").get_queue_attributes(
            QueueUrl=self.queue_url(name), AttributeNames=["All"]
        )["Attributes"]
        counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return sum(int(found[count]) for count in counts)

    def log(self, family: str) -> str:
        return (self.folder / f"{family}.log").read_text(encoding="utf-8")


class Api(Caller):
    """An API task, as a merchant sees it."""

    def __init__(self, stack: Stack, task: TaskProcess) -> None:
        super().__init__(stack.emulator, task.url, stack.key)
        self.task = task


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One of its own: what another topology leaves behind is not this one's."""
    command = install(ROOT / ".venv/emulator", ROOT / "requirements/emulator.lock")
    with Emulator(command, tmp_path_factory.mktemp("emulator")) as running:
        yield running


@pytest.fixture(scope="session")
def stack(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Applied, migrated by its task, and with a merchant's key."""
    certificate = emulator.certificate
    folder = tmp_path_factory.mktemp("rds")
    with EmulatedDatabase(
        folder, certificate=certificate, key=certificate.with_suffix(".key")
    ) as database:
        try:
            made = Stack(emulator, database, tmp_path_factory.mktemp("stack"))
        except TerraformError as error:
            pytest.skip(str(error))
        made.apply(settings=json.dumps(SETTINGS))
        with made.cache:
            migration = made.start("payment-migration-task", made.folder / "migration.log")
            assert migration.process.wait(60) == 0, (made.folder / "migration.log").read_text()
            with pytest.MonkeyPatch.context() as patch:
                as_operator(emulator, patch)
                made.key = made.use(a_key)
            yield made


async def a_key(app: App) -> str:
    made = await create_key(app, merchant_id="acme", mode="test", label="", random=new_secret())
    return made.secret


def settled(stack: Stack, seconds: float) -> None:
    """Waits until nothing is left to do."""
    end = time.monotonic() + seconds
    while True:
        [(open_, left)] = stack.rows(
            "SELECT (SELECT count(*) FROM payments WHERE state = 'unknown')::int, "
            "((SELECT count(*) FROM outbox) + (SELECT count(*) FROM audit_unarchived))::int"
        )
        if open_ == left == stack.waiting("payment-queue") == 0:
            return
        if time.monotonic() > end:
            pytest.fail(f"{open_} payments without an answer, {left} rows to deliver")
        time.sleep(0.5)
