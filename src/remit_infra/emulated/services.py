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
from remit.entrypoints.cli.example import Service, say, show_payment
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
ARCHITECTURE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
OUR_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def run(topology: str, command: Path, port: int) -> None:
    """Packages, starts, deploys, pays, and serves until Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    start = {
        "fargate-aurora": _fargate_aurora,
        "lambda-dynamodb": _lambda_dynamodb,
        "lambda-postgres": _lambda_postgres,
    }[topology]
    with TemporaryDirectory(prefix="remit-emulator-") as folder, ExitStack() as running:
        emulator = running.enter_context(Emulator(command, Path(folder) / "emulator", port))
        os.environ.update(emulator.environment)
        start(emulator, Path(folder), running)
        say(f"AWS: export {' '.join(f'{n}={v}' for n, v in emulator.environment.items())}")
        say("Stop: Ctrl-C")
        stop.wait()


def _lambda_dynamodb(emulator: Emulator, folder: Path, _: ExitStack) -> None:
    code = folder / "function.zip"
    say("packaging the functions")
    build_package(code, python=OUR_PYTHON, architecture=ARCHITECTURE)
    say("synthesising the stack")
    stack, template = synthesise_in_subprocess(suffix=SUFFIX)
    say(f"deploying to {emulator.url}")
    deployment = CloudFormationStack(stack, Names(SUFFIX), emulator.client, REGION)
    outputs = deployment.deploy(without_gaps(template), code, lambda *_: None)
    key = _key(assemble(read_settings(deployment.settings("payment-delivery"))))
    _pay(emulator, emulator.api_url(outputs["APIEndpoint"]), key)


def _lambda_postgres(emulator: Emulator, folder: Path, running: ExitStack) -> None:
    """Both ways in: API Gateway and the load balancer."""
    database = _database(emulator, folder, running)
    stack = EmulatedLambdaPostgres(SUFFIX, emulator, database, folder / "terraform")
    code = folder / "function.zip"
    say("packaging the functions")
    build_package(
        code, python=OUR_PYTHON, architecture=ARCHITECTURE, database_ca=emulator.certificate
    )
    say(f"applying to {emulator.url}: about two minutes, most of which the provider waits")
    outputs = stack.apply(codePath=str(code), python=OUR_PYTHON, architecture=ARCHITECTURE)
    key = _key(stack.operator())
    _pay(emulator, emulator.api_url(outputs["api_gateway_url"]), key)
    say("The same through the load balancer")
    _pay(emulator, stack.balancer_url, key)


def _fargate_aurora(emulator: Emulator, folder: Path, running: ExitStack) -> None:
    """Migrated by its task, with an API and a worker."""
    database = _database(emulator, folder, running)
    stack = EmulatedFargateAurora(SUFFIX, emulator, database, folder / "terraform")
    say(f"applying to {emulator.url}: about two minutes, most of which the provider waits")
    stack.apply()
    running.enter_context(stack.cache)
    log = folder / "tasks.log"
    if stack.start("payment-migration-task", log).process.wait() != 0:
        raise EmulatorError(f"The migration failed: {log.read_text(encoding='utf-8')}")
    api, worker = (
        stack.start(family, log, REMIT_HOST="127.0.0.1")
        for family in ("payment-task", "payment-worker-task")
    )
    running.callback(api.end)
    running.callback(worker.end)
    api.wait()
    stack.trust(CREDENTIALS, CREDENTIALS)
    key = _key(assemble(read_settings(stack.environment("payment-worker-task"))))
    show_payment(Service(api.url), key)
    say(f"Tasks log to {log}")


def _database(emulator: Emulator, folder: Path, running: ExitStack) -> EmulatedDatabase:
    say("starting the database")
    certificate, key = emulator.certificate, emulator.certificate.with_suffix(".key")
    database = EmulatedDatabase(folder / "postgres", certificate=certificate, key=key)
    return running.enter_context(database)


def _key(app: App) -> str:
    async def make() -> str:
        try:
            made = await create_key(
                app, merchant_id="example", mode="test", label="example", random=new_secret()
            )
        finally:
            await app.close()
        return made.secret

    return asyncio.run(make())


def _pay(emulator: Emulator, url: str, key: str) -> None:
    service = Service(url, emulator.certificate)
    show_payment(service, key, curl=f"curl --cacert {emulator.certificate}")
