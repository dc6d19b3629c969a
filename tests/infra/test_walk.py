"""An environment's suffix reaches a resource in the files that ARCHITECTURE.md names: followed on
the call stack, from the program that Pulumi or the CDK runs.
"""

import json
import re
import runpy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, NamedTuple

import jsii
import pulumi
import pulumi_aws as aws
import pytest

from remit_infra.graph.pulumi_recorder import record
from remit_infra.model.environments import Names
from remit_infra.model.stack_config import StackConfiguration
from remit_infra.topologies.fargate_aurora.configuration import FargateAuroraConfiguration
from tests.tidy.tree import ROOT, text

pytestmark = pytest.mark.xdist_group("cdk")

MAX_FILES = 6
INFRASTRUCTURE, PROGRAMS = ROOT / "src/remit_infra", ROOT / "deploy"


class Walk(NamedTuple):
    """The way of the suffix to a resource: its kind and name in the program, and the files."""

    topology: str
    kind: str
    name: str
    files: tuple[str, ...]


WALKS = (
    Walk(
        "fargate-aurora",
        "queue",
        "payment-queue",
        (
            "deploy/fargate-aurora/__main__.py",
            "model/stack_config.py",
            "topologies/fargate_aurora/configuration.py",
            "topologies/fargate_aurora/program.py",
            "components/data/queues.py",
            "model/environments.py",
        ),
    ),
    Walk(
        "lambda-postgres",
        "database",
        "payment-db",
        (
            "deploy/lambda-postgres/__main__.py",
            "model/stack_config.py",
            "topologies/lambda_postgres/program.py",
            "components/data/rds.py",
            "model/environments.py",
        ),
    ),
    Walk(
        "lambda-dynamodb",
        "table",
        "transactions",
        (
            "deploy/lambda-dynamodb/app.py",
            "topologies/lambda_dynamodb/configuration.py",
            "topologies/lambda_dynamodb/stack.py",
            "topologies/lambda_dynamodb/storage.py",
            "model/environments.py",
        ),
    ),
)
CONFIGURATIONS: Mapping[str, Mapping[str, str]] = {
    "fargate-aurora": {
        "payment-processing:environmentSuffix": "dev",
        "payment-processing:environment": "dev",
        "payment-processing:allowHttp": "true",
        "payment-processing:image": "123456789012.dkr-ecr.us-east-1.on.aws/payment:1",
    },
    "lambda-postgres": {
        "payment-processing-staging:environmentSuffix": "dev",
        "payment-processing-staging:allowHttp": "true",
    },
    "lambda-dynamodb": {},
}


def files_from_the_program(frame: FrameType | None, callee: str) -> tuple[str, ...]:
    """Our files on the stack, from the program down to the callee; one entry for each stay."""
    stays: list[str] = []
    names = [callee]
    while frame is not None and not Path(frame.f_code.co_filename).is_relative_to(PROGRAMS):
        names.append(frame.f_code.co_filename)
        frame = frame.f_back
    assert frame is not None
    for path in map(Path, (*names, frame.f_code.co_filename)):
        under = ROOT if path.is_relative_to(PROGRAMS) else INFRASTRUCTURE
        if path.is_relative_to(under) and stays[-1:] != [path.relative_to(under).as_posix()]:
            stays.append(path.relative_to(under).as_posix())
    return tuple(stays[::-1])


class Stacks:
    """Notes the files on the stack at calls of a method."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def at(
        self, owner: Any, method: str, is_noted: Callable[..., bool] = lambda *_: True
    ) -> set[tuple[str, ...]]:
        """Those at every call from now on that is to be noted."""
        stacks: set[tuple[str, ...]] = set()
        original = getattr(owner, method)

        def noting(*args: Any, **more: Any) -> Any:
            if is_noted(*args):
                stacks.add(files_from_the_program(sys._getframe(1), original.__code__.co_filename))
            return original(*args, **more)

        self._monkeypatch.setattr(owner, method, noting)
        return stacks


def run_in_pulumi(program: Path) -> None:
    def run() -> Mapping[str, pulumi.Output[str]]:
        runpy.run_path(str(program), run_name="__main__")
        return {}

    record(run, topology="any", suffix="dev", project="payments")


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    """What AWS answers a program that looks its account up."""
    zones = SimpleNamespace(names=["us-east-1a", "us-east-1b", "us-east-1c"])
    monkeypatch.setattr(aws, "get_availability_zones", lambda **_: zones)
    monkeypatch.setattr(aws, "get_caller_identity", lambda: SimpleNamespace(account_id="1" * 12))
    monkeypatch.setattr(aws, "get_partition", lambda: SimpleNamespace(partition="aws"))


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.topology)
def test_the_suffix_reaches_a_resource_in_at_most_six_files_each_once(
    walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps(CONFIGURATIONS[walk.topology]))
    stacks = Stacks(monkeypatch)
    checks = [
        stacks.at(Names, "require"),
        stacks.at(StackConfiguration, "check"),
        stacks.at(FargateAuroraConfiguration, "check"),
    ]
    namings = stacks.at(Names, "__call__", lambda _, *named: named == (walk.kind, walk.name))
    if walk.topology == "lambda-dynamodb":
        creations = stacks.at(jsii, "create", lambda _class, _self, args: walk.name in args[1:2])
        runpy.run_path(str(PROGRAMS / walk.topology / "app.py"), run_name="__main__")
    else:
        creations = stacks.at(
            pulumi.CustomResource, "__init__", lambda _self, _type, name, *_: name == walk.name
        )
        run_in_pulumi(PROGRAMS / walk.topology / "__main__.py")
    [creation] = creations
    [naming] = [stack for stack in namings if stack[: len(creation)] == creation]
    followed = {creation, naming, *(stack for noted in checks for stack in noted)}
    assert {file for stack in followed for file in stack} == set(walk.files)
    for stack in followed:
        assert stack == tuple(file for file in walk.files if file in stack)
    assert len(set(walk.files)) == len(walk.files) <= MAX_FILES


def test_architecture_shows_the_walks() -> None:
    section = text(ROOT / "ARCHITECTURE.md").split("### From an environment's name", 1)[1]
    head, _, *rows = [line for line in section.splitlines() if line.startswith("|")]
    topologies = re.findall(r"[a-z]+-[a-z]+", head)
    for column, topology in enumerate(topologies):
        cells = [row.split("|")[2 + column].strip(" `") for row in rows[:MAX_FILES]]
        [walk] = [walk for walk in WALKS if walk.topology == topology]
        assert tuple(cell for cell in cells if cell != "") == walk.files
    assert topologies == [walk.topology for walk in WALKS]
