"""The runbook's commands are commands: AWS would take what it says to run, as far as that is said
in its API's own models.
"""

import json
import re
import shlex
from typing import Any

import pytest
from botocore import xform_name
from botocore.session import Session
from botocore.validate import validate_parameters

from tests.tidy.tree import ROOT, text

SECTION = "## Restore the Aurora database to a point in time"
BLOCK = re.compile(r"^```\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """Every command of `aws` with `--` options that the section on restoring has."""
    section = text(ROOT / "docs/runbook.md").split(SECTION)[1].split("\n# ")[0]
    lines = [line for block in BLOCK.findall(section) for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line))[0] == "aws"]


@pytest.mark.parametrize(
    "words", [words for words in commands() if words[2] not in ("wait", "tail")]
)
def test_each_option_is_one_of_the_operations(words: list[str]) -> None:
    _, service, operation, *options = words
    model: Any = Session().get_service_model(service)
    [known] = [name for name in model.operation_names if _dashed(name) == operation]
    members = {_dashed(name) for name in model.operation_model(known).input_shape.members}
    given = {word.removeprefix("--") for word in options if word.startswith("--")}
    assert {one.removeprefix("no-") for one in given} <= members
    for word in options:
        if word.startswith("{"):
            json.loads(word)


def test_what_the_one_off_task_is_told_fits_its_model() -> None:
    [words] = [words for words in commands() if words[2] == "run-task"]
    overrides = json.loads(words[words.index("--overrides") + 1])
    model: Any = Session().get_service_model("ecs").operation_model("RunTask")
    validate_parameters({"taskDefinition": "t", "overrides": overrides}, model.input_shape)


def _dashed(name: str) -> str:
    return xform_name(name).replace("_", "-").replace("serverlessv2", "serverless-v2")
