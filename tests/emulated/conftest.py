"""Every topology, deployed when the first test asks for it and shared by all the others."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from remit_infra.graph.terraform import TerraformError
from tests.emulated.fargate_aurora import stack as fargate_aurora
from tests.emulated.harness import as_operator
from tests.emulated.lambda_dynamodb import stack as lambda_dynamodb
from tests.emulated.lambda_postgres import stack as lambda_postgres

DEPLOYED: dict[str, Callable[[Path], AbstractContextManager[Any]]] = {
    "fargate-aurora": fargate_aurora.deployed,
    "lambda-dynamodb": lambda_dynamodb.deployed,
    "lambda-postgres": lambda_postgres.deployed,
}
DESTROY = Path(__file__).with_name("test_destroy.py")


class Deployments:
    """The deployed topologies of this worker, by name."""

    def __init__(self, new_folder: Callable[[str], Path]) -> None:
        self._new_folder = new_folder
        self.made: dict[str, Any] = {}
        self._running: dict[str, ExitStack] = {}

    def of(self, topology: str) -> Any:
        """Deploys it once. Skips the test where Terraform is missing."""
        if topology not in self.made:
            with ExitStack() as running:
                try:
                    deployed = DEPLOYED[topology](self._new_folder(topology))
                    self.made[topology] = running.enter_context(deployed)
                except TerraformError as error:
                    if "not on PATH" in str(error):
                        pytest.skip(str(error))
                    raise
                self._running[topology] = running.pop_all()
        return self.made[topology]

    def end(self, topology: str) -> None:
        """Stops its emulator and its servers."""
        self._running.pop(topology).close()

    def end_all(self) -> None:
        for topology in list(self._running):
            self.end(topology)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Moves the tests that destroy a stack behind those that need it."""
    items.sort(key=lambda item: item.path == DESTROY)


@pytest.fixture(scope="session")
def deployments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployments]:
    made = Deployments(tmp_path_factory.mktemp)
    yield made
    made.end_all()


@pytest.fixture
def deployed(deployments: Deployments, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The stack of a topology, with the environment of an operator's shell for its account."""

    def of(topology: str) -> Any:
        stack = deployments.of(topology)
        as_operator(stack.emulator, monkeypatch)
        return stack

    return of
