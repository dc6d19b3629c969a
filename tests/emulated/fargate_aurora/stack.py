"""fargate-aurora, applied by the real AWS provider, with its tasks as processes."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from remit.assembly.service import assemble
from remit.ports.app import App
from remit.settings import read_settings
from remit_infra.emulated.database import EmulatedDatabase
from remit_infra.emulated.emulator import CREDENTIALS, Emulator
from remit_infra.emulated.fargate_stack import EmulatedFargateAurora, TaskProcess
from tests.emulated.harness import (
    SETTINGS,
    Caller,
    a_key,
    as_operator,
    eventually,
    new_database,
    new_emulator,
    rows_of,
    subscribe,
)

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


class FargateAurora(EmulatedFargateAurora):
    """The applied topology: its tasks as processes, and what is in its database and queues."""

    def __init__(self, emulator: Emulator, database: EmulatedDatabase, folder: Path) -> None:
        super().__init__(SUFFIX, emulator, database, folder / "terraform")
        self.folder = folder
        self.key = ""
        self._kept: dict[str, TaskProcess] = {}
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

    def keep(self, family: str, **more: str) -> TaskProcess:
        """A task that runs on for the next test that needs it, by itself."""
        if family not in self._kept:
            self.end_kept()
            self._kept[family] = self.begin(family, **more)
        return self._kept[family]

    def end_kept(self) -> None:
        while self._kept:
            self._kept.popitem()[1].end()

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

    def refusals(self, role: str) -> list[str]:
        """What the tasks of all roles have logged: each family to a file of its own."""
        return [path.read_text(encoding="utf-8") for path in self.folder.glob("*.log")]

    def log(self, family: str) -> str:
        path = self.folder / f"{family}.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def subscribe(self, topic: str) -> Callable[[], list[dict[str, Any]]]:
        return subscribe(self.emulator, self.names("topic", topic))


class Api(Caller):
    """An API task, as a merchant sees it."""

    def __init__(self, stack: FargateAurora, task: TaskProcess) -> None:
        super().__init__(stack.emulator, task.url, stack.key)
        self.task = task


@contextmanager
def deployed(folder: Path) -> Iterator[FargateAurora]:
    """Migrated by its task, and with a merchant's key. Raises TerraformError."""
    with (
        new_emulator(folder / "emulator") as emulator,
        new_database(emulator, folder / "rds") as database,
    ):
        made = FargateAurora(emulator, database, folder)
        made.apply(settings=json.dumps(SETTINGS))
        with made.cache:
            migration = made.start("payment-migration-task", made.folder / "migration.log")
            assert migration.process.wait(60) == 0, (made.folder / "migration.log").read_text()
            with pytest.MonkeyPatch.context() as patch:
                as_operator(emulator, patch)
                made.key = made.use(a_key).secret
            try:
                yield made
            finally:
                made.end_kept()


def wait_until_processed(stack: FargateAurora, seconds: float) -> None:
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
