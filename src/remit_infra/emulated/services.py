"""`remit emulate`: a topology in an emulated AWS on this machine, with example payments."""

import asyncio
import os
import platform
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from remit.assembly.service import assemble
from remit.clock_and_ids import new_secret
from remit.entrypoints.cli.example import ServiceClient, show_payment
from remit.entrypoints.cli.terminal import Steps, print_line
from remit.oversight.api_keys import create_key
from remit.ports.app import App
from remit.settings import read_settings
from remit_infra.build.lambda_package import build_package
from remit_infra.deploy.cloudformation import CloudFormationStack
from remit_infra.emulated.database import EmulatedDatabase
from remit_infra.emulated.emulator import (
    CREDENTIALS,
    REGION,
    Emulator,
    EmulatorError,
    without_gaps,
)
from remit_infra.emulated.fargate_stack import EmulatedFargateAurora
from remit_infra.emulated.postgres_stack import EmulatedLambdaPostgres
from remit_infra.model.environments import Names
from remit_infra.topologies.lambda_dynamodb import synthesise_in_subprocess

SUFFIX = "dev-local"
HOST_ARCHITECTURE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
APPLYING = "applying with Terraform: about two minutes, most of which the provider waits"
HOST_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class Emulation:
    """One run of `remit emulate`. What is started in `running` is stopped at its end."""

    def __init__(self, emulator: Emulator, folder: Path, running: ExitStack, steps: Steps) -> None:
        self._emulator = emulator
        self._folder = folder
        self._running = running
        self._steps = steps

    def lambda_dynamodb(self) -> None:
        self._package()
        with self._steps.step("synthesising the stack"):
            name, template = synthesise_in_subprocess(suffix=SUFFIX)
        stack = CloudFormationStack(name, Names(SUFFIX), self._emulator.client, REGION)
        with self._steps.step(f"deploying to {self._emulator.url}") as progress:
            outputs = stack.deploy(without_gaps(template), self._code, progress)
        key = _make_key(assemble(read_settings(stack.settings("payment-delivery"))))
        self._pay(self._emulator.api_url(outputs["APIEndpoint"]), key)

    def lambda_postgres(self) -> None:
        """Pays through API Gateway and through the load balancer."""
        database = self._start_database()
        stack = EmulatedLambdaPostgres(SUFFIX, self._emulator, database, self._folder / "terraform")
        self._package(database_ca=self._emulator.certificate)
        with self._steps.step(APPLYING) as report:
            outputs = stack.apply(
                report,
                codePath=str(self._code),
                python=HOST_PYTHON,
                architecture=HOST_ARCHITECTURE,
            )
        key = _make_key(stack.operator())
        self._pay(self._emulator.api_url(outputs["api_gateway_url"]), key)
        print_line("The same through the load balancer")
        self._pay(stack.balancer_url, key)

    def fargate_aurora(self) -> None:
        """Runs the migration, then a task of the API and one of the worker."""
        database = self._start_database()
        stack = EmulatedFargateAurora(SUFFIX, self._emulator, database, self._folder / "terraform")
        with self._steps.step(APPLYING) as report:
            stack.apply(report)
        self._running.enter_context(stack.cache)
        log = self._folder / "tasks.log"
        with self._steps.step("migrating the database"):
            if stack.start("payment-migration-task", log).process.wait() != 0:
                raise EmulatorError(f"The migration failed: {log.read_text(encoding='utf-8')}")
        with self._steps.step("starting the API and the worker"):
            api, worker = (
                stack.start(family, log, REMIT_HOST="127.0.0.1")
                for family in ("payment-task", "payment-worker-task")
            )
            self._running.callback(api.end)
            self._running.callback(worker.end)
            api.wait()
        stack.trust(CREDENTIALS, CREDENTIALS)
        key = _make_key(assemble(read_settings(stack.environment("payment-worker-task"))))
        with ServiceClient(api.url) as client:
            show_payment(client, key)
        print_line(f"Tasks log to {log}")

    @property
    def _code(self) -> Path:
        return self._folder / "function.zip"

    def _package(self, database_ca: Path | None = None) -> None:
        with self._steps.step("packaging the functions"):
            build_package(
                self._code,
                python=HOST_PYTHON,
                architecture=HOST_ARCHITECTURE,
                database_ca=database_ca,
            )

    def _start_database(self) -> EmulatedDatabase:
        certificate = self._emulator.certificate
        with self._steps.step("starting the database"):
            database = EmulatedDatabase(
                self._folder / "postgres",
                certificate=certificate,
                key=certificate.with_suffix(".key"),
            )
            return self._running.enter_context(database)

    def _pay(self, url: str, key: str) -> None:
        certificate = self._emulator.certificate
        with ServiceClient(url, certificate) as client:
            show_payment(client, key, curl=f"curl --cacert {certificate}")


def run(topology: str, command: Path, port: int, steps: Steps) -> None:
    """Starts the emulator, deploys the topology, makes example payments, serves until Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with TemporaryDirectory(prefix="remit-emulator-") as folder, ExitStack() as running:
        with steps.step("starting the emulator"):
            emulator = running.enter_context(Emulator(command, Path(folder) / "emulator", port))
        os.environ.update(emulator.environment)
        emulation = Emulation(emulator, Path(folder), running, steps)
        deploy = {
            "fargate-aurora": emulation.fargate_aurora,
            "lambda-dynamodb": emulation.lambda_dynamodb,
            "lambda-postgres": emulation.lambda_postgres,
        }[topology]
        deploy()
        variables = " ".join(f"{name}={value}" for name, value in emulator.environment.items())
        print_line(f"AWS: export {variables}")
        print_line("Stop: Ctrl-C")
        stop.wait()


def _make_key(app: App) -> str:
    async def make() -> str:
        try:
            created = await create_key(
                app, merchant_id="example", mode="test", label="example", random=new_secret()
            )
        finally:
            await app.close()
        return created.secret

    return asyncio.run(make())
