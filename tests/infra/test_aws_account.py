"""Which account and region a command asks, and what it says where there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from remit.adapters.aws.client import client
from remit_infra.model.aws_account import DeployError, aws_clients
from tests.tidy.tree import ROOT

pytestmark = pytest.mark.xdist_group("recorded")

REMIT = Path(sys.executable).with_name("remit")
NO_CREDENTIALS = (
    "There are no AWS credentials here: run `aws configure` or `aws sso login`, or export "
    "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
)


@pytest.fixture(autouse=True)
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shell in which nothing says anything about AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def signed_in(shell: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")


@pytest.mark.usefixtures("signed_in")
def test_both_names_of_the_region_are_taken_and_the_usual_one_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert (aws_clients()[1], client("sqs").meta.region_name) == ("us-east-1", "us-east-1")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    clients, region = aws_clients()
    assert (region, clients("sqs").meta.region_name) == ("eu-west-1", "eu-west-1")
    assert client("sqs").meta.region_name == "eu-west-1"


@pytest.mark.usefixtures("signed_in")
def test_a_region_that_is_not_set_is_asked_for() -> None:
    with pytest.raises(DeployError) as refused:
        aws_clients()
    assert str(refused.value) == ("No region is set: export AWS_REGION=us-east-1, or name another.")


def test_credentials_that_are_missing_are_said_before_aws_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with pytest.raises(DeployError) as refused:
        aws_clients()
    assert str(refused.value) == NO_CREDENTIALS


def test_a_profile_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(DeployError) as refused:
        aws_clients()
    assert str(refused.value) == (
        "AWS's settings on this machine cannot be used: "
        "The config profile (nobody) could not be found."
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("deploy", "lambda-dynamodb", "--yes"),
        ("destroy", "lambda-dynamodb", "--yes"),
        ("outputs", "lambda-dynamodb"),
        ("outputs", "lambda-postgres", "--shell"),
        ("outputs", "fargate-aurora", "--shell"),
        ("restore", "lambda-dynamodb"),
        ("restore", "fargate-aurora"),
    ],
    ids=" ".join,
)
def test_a_command_without_credentials_is_one_line_and_takes_the_region(
    arguments: tuple[str, ...],
) -> None:
    ended = subprocess.run(
        [REMIT, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"AWS_REGION": "us-east-1"},
    )
    said = [line for line in ended.stderr.splitlines() if " s  " not in line]
    assert (ended.returncode, said) == (1, [f"remit: {NO_CREDENTIALS}"])
