"""After all other tests of a topology: its stack is destroyed, and nothing of it is left."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.emulated.conftest import Deployments
from tests.emulated.harness import left_of, of_topology
from tests.emulated.lambda_dynamodb.stack import SUFFIX, left_with


@pytest.mark.parametrize(
    "topology",
    [pytest.param(one, marks=of_topology(one)) for one in ("fargate-aurora", "lambda-postgres")],
)
def test_destroying_a_program_leaves_nothing(
    deployments: Deployments, deployed: Callable[[str], Any], topology: str
) -> None:
    stack = deployed(topology)
    stack.terraform.destroy()
    assert left_of(stack.emulator) == []
    assert stack.terraform.outputs() == {}
    deployments.end(topology)


@pytest.mark.parametrize(
    "topology", [pytest.param(one, marks=of_topology(one)) for one in ("lambda-dynamodb",)]
)
def test_destroying_the_stack_leaves_nothing(
    deployments: Deployments, deployed: Callable[[str], Any], topology: str
) -> None:
    stack = deployed(topology)
    stack.deployment.destroy(lambda *_: None)
    assert left_with(SUFFIX, stack.emulator) == []
    deployments.end(topology)
