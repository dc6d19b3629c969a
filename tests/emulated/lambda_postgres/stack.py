"""lambda-postgres, applied by the real AWS provider, as its callers and its operators have it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from remit.clock_and_ids import new_secret
from remit.ports.app import App
from remit_infra.emulated.database import EmulatedDatabase
from remit_infra.emulated.emulator import Emulator
from remit_infra.emulated.postgres_stack import EmulatedLambdaPostgres
from tests.emulated.harness import (
    ARCHITECTURE,
    PYTHON,
    SETTINGS,
    Caller,
    a_key,
    as_operator,
    function_zip,
    new_database,
    new_emulator,
    refusals_of,
    rows_of,
)

SUFFIX = "staging-001"

T = TypeVar("T")


class LambdaPostgres(EmulatedLambdaPostgres):
    """With its two ways in."""

    def __init__(self, emulator: Emulator, database: EmulatedDatabase, folder: Path) -> None:
        super().__init__(SUFFIX, emulator, database, folder)
        self.client = emulator.client
        self.api = Caller(emulator, "")
        self.balancer = Caller(emulator, self.balancer_url)

    def use(self, work: Callable[[App], Awaitable[T]], **more: str) -> T:
        """What `work` returns over the service, which is closed afterwards."""

        async def run() -> T:
            app = self.app(more)
            try:
                return await work(app)
            finally:
                await app.close()

        return asyncio.run(run())

    def run(self, function: str, job: str) -> Any:
        """One call of a function as the clock makes it."""
        called = self.client("lambda").invoke(
            FunctionName=f"{function}-{SUFFIX}:live", Payload=json.dumps({"job": job})
        )
        return json.loads(called["Payload"].read())

    def refusals(self, role: str) -> list[str]:
        """The lines in which the function of this role has logged that AWS refused an action."""
        return refusals_of(self.emulator, f"{role}-{SUFFIX}")

    def rows(self, query: str, *args: object) -> list[Any]:
        return rows_of(self.database, query, *args)

    def rotate(self) -> None:
        """Another password, and every connection ended, as by a failover."""
        self.change_password(new_secret())
        self.database.terminate_connections()


@contextmanager
def deployed(folder: Path) -> Iterator[LambdaPostgres]:
    """With a merchant's key. Raises TerraformError."""
    with new_emulator(folder / "emulator") as emulator:
        code = function_zip(folder / "function.zip", emulator.certificate)
        with new_database(emulator, folder / "rds") as database:
            made = LambdaPostgres(emulator, database, folder / "terraform")
            outputs = made.apply(
                codePath=str(code),
                python=PYTHON,
                architecture=ARCHITECTURE,
                settings=json.dumps(SETTINGS),
            )
            made.api.url = emulator.api_url(outputs["api_gateway_url"])
            with pytest.MonkeyPatch.context() as patch:
                as_operator(emulator, patch)
                made.api.key = made.balancer.key = asyncio.run(a_key(made.operator())).secret
            yield made
