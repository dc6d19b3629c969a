"""The commands for AWS in the documents are run as they are written.

`remit infra` needs no account. What does need one is run without, so it has to get as far as asking
for it; the emulated topologies run the same commands to their end. The `aws` commands are compared
with the models of AWS's own API.
"""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.model import ServiceModel, Shape
from botocore.session import Session
from botocore.validate import validate_parameters

from tests.documents import commands
from tests.service import REMIT, clean_environ
from tests.tidy.tree import ROOT, files, text

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("recorded")]

WITHOUT_AN_ACCOUNT = sorted({line for _, line in commands("remit infra")})
NEED_AN_ACCOUNT = sorted(
    {
        line
        for _, line in commands("remit")
        if re.search(r"remit (?:deploy|destroy|outputs|restore) ", line)
    }
)
ASKS_FOR_ONE = re.compile(
    r"^remit: (?:There are no AWS credentials here: run |Pulumi's command line is not on PATH\.)",
    re.MULTILINE,
)
AWS = sorted({line for _, line in commands("aws")})

OF_THE_COMMAND_LINE = {"query", "cli-binary-format"}
"""Options that `aws` itself has for every operation."""

TAIL = {"since", "filter-pattern"}
"""Options of `aws logs tail`, which is no operation of the API."""


def in_a_shell(line: str, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Runs a line as a reader without an AWS account does."""
    paths = [str(REMIT.parent), *os.environ["PATH"].split(os.pathsep)]
    without_pulumi = [path for path in paths if not Path(path, "pulumi").exists()]
    settings = {
        "PATH": os.pathsep.join(without_pulumi),
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": "/nonexistent",
    }
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=clean_environ() | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.parametrize("line", WITHOUT_AN_ACCOUNT)
def test_a_documented_command_without_an_account_runs(line: str, tmp_path: Path) -> None:
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")  # charts are drawn beside it
    ended = in_a_shell(line, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout != ""


@pytest.mark.parametrize("line", NEED_AN_ACCOUNT)
def test_a_documented_command_gets_as_far_as_the_account(line: str) -> None:
    ended = in_a_shell(line)
    assert ended.returncode != 0
    assert ASKS_FOR_ONE.search(ended.stderr), ended.stderr


@pytest.mark.parametrize("line", AWS)
def test_a_documented_command_of_aws_fits_the_api(line: str) -> None:
    _, service, operation, *words = shlex.split(line)
    given = {word.removeprefix("--").removeprefix("no-") for word in words if word[:2] == "--"}
    for word in words:
        if word[:1] in "{[":
            json.loads(word)
    if (service, operation) == ("logs", "tail"):
        assert given <= TAIL
        return
    if operation == "wait":
        waiters = Session().get_waiter_model(service).waiter_names
        assert words[0] in [_dashed(one) for one in waiters]
        return
    assert given <= _options(Session().get_service_model(service), operation) | OF_THE_COMMAND_LINE


def test_the_overrides_of_a_documented_task_fit_the_api() -> None:
    [line] = [line for line in AWS if " run-task " in line]
    words = shlex.split(line)
    overrides = json.loads(words[words.index("--overrides") + 1])
    model: Any = Session().get_service_model("ecs").operation_model("RunTask")
    validate_parameters({"taskDefinition": "t", "overrides": overrides}, model.input_shape)


def _options(model: ServiceModel, operation: str) -> set[str]:
    [known] = [name for name in model.operation_names if _dashed(name) == operation]
    shape: Shape | None = model.operation_model(known).input_shape
    return {_dashed(name) for name in getattr(shape, "members", {})}


def _dashed(name: str) -> str:
    return xform_name(name).replace("_", "-").replace("serverlessv2", "serverless-v2")


def test_a_documented_filter_finds_an_event_that_is_logged() -> None:
    filters = {
        words[words.index("--filter-pattern") + 1]
        for words in map(shlex.split, AWS)
        if "--filter-pattern" in words
    }
    events = {one for one in filters if re.fullmatch(r"[a-z_]+", one)}
    code = "".join(text(path) for path in files(".py", "src"))
    assert len(events) >= 4
    assert [event for event in sorted(events) if f'"{event}"' not in code] == []
