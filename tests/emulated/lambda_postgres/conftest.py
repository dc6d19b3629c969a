"""lambda-postgres, applied once by the real AWS provider, for all of these tests in their order."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from remit.clock_and_ids import new_secret
from remit.oversight.api_keys import NewKey, create_key
from remit.ports.app import App
from remit_infra.build.lambda_package import build_package
from remit_infra.emulated.database import EmulatedDatabase
from remit_infra.emulated.emulator import Emulator, install
from remit_infra.emulated.postgres_stack import EmulatedLambdaPostgres
from remit_infra.graph.terraform import TerraformError
from tests.emulated.conftest import HERE, OUR_PYTHON, SETTINGS, Caller, as_operator, rows_of
from tests.tidy.tree import ROOT

SUFFIX = "staging-001"

T = TypeVar("T")


class Stack(EmulatedLambdaPostgres):
    """The applied topology, as its callers and its operators see it."""

    def __init__(self, emulator: Emulator, database: EmulatedDatabase, folder: Path) -> None:
        super().__init__(SUFFIX, emulator, database, folder)
        self.api = Caller(emulator, "")
        self.balancer = Caller(emulator, self.balancer_url)

    def use(self, work: Callable[[App], Awaitable[T]], **more: str) -> T:
        """What `work` answers over that service, which is closed afterwards."""

        async def run() -> T:
            app = self.app(more)
            try:
                return await work(app)
            finally:
                await app.close()

        return asyncio.run(run())

    def run(self, function: str, job: str) -> Any:
        answer = self.emulator.client("lambda").invoke(
            FunctionName=f"{function}-{SUFFIX}:live", Payload=json.dumps({"job": job})
        )
        return json.loads(answer["Payload"].read())

    def rows(self, query: str, *args: object) -> list[Any]:
        return rows_of(self.database, query, *args)

    def rotate(self) -> None:
        """Another password, and every connection ended, as by a failover."""
        self.change_password(new_secret())
        self.database.terminate_connections()


async def a_key(app: App) -> NewKey:
    return await create_key(app, merchant_id="acme", mode="test", label="", random=new_secret())


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One of its own: what another topology leaves behind is not this one's."""
    command = install(ROOT / ".venv/emulator", ROOT / "requirements/emulator.lock")
    with Emulator(command, tmp_path_factory.mktemp("emulator")) as running:
        yield running


@pytest.fixture(scope="session")
def stack(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    code = tmp_path_factory.mktemp("package") / "function.zip"
    build_package(
        code,
        python=OUR_PYTHON,
        architecture=HERE,
        requirements=ROOT / "requirements/function.lock",
        database_ca=emulator.certificate,
    )
    certificate = emulator.certificate
    folder = tmp_path_factory.mktemp("rds")
    with EmulatedDatabase(
        folder, certificate=certificate, key=certificate.with_suffix(".key")
    ) as database:
        try:
            made = Stack(emulator, database, tmp_path_factory.mktemp("terraform"))
        except TerraformError as error:
            pytest.skip(str(error))
        outputs = made.apply(
            codePath=str(code),
            python=OUR_PYTHON,
            architecture=HERE,
            settings=json.dumps(SETTINGS),
        )
        made.api.url = emulator.api_url(outputs["api_gateway_url"])
        with pytest.MonkeyPatch.context() as patch:
            as_operator(emulator, patch)
            made.api.key = made.balancer.key = asyncio.run(a_key(made.operator())).secret
        yield made
