"""Deploying through Pulumi: what is looked at first, what is said meanwhile, how traffic moves."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from moto import mock_aws
from pulumi import automation as auto

from remit_infra.deploy import lambda_postgres, pulumi_stack, pulumi_topology
from remit_infra.deploy.pulumi_stack import PulumiStack, fetch_authorities, release
from remit_infra.model.aws_account import DeployError, Problem
from remit_infra.model.environments import Names
from tests.tidy.tree import ROOT

pytestmark = pytest.mark.xdist_group("recorded")

REMIT = Path(sys.executable).with_name("remit")
NAMES = Names("staging-001")


@pytest.mark.parametrize("command", ["deploy", "destroy", "outputs"])
def test_without_pulumi_it_says_how_to_install_it(command: str, tmp_path: Path) -> None:
    shown = subprocess.run(
        [str(REMIT), command, "lambda-postgres", "--env", "staging-001"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert shown.returncode == 1
    assert "Pulumi's command line is not on PATH. Install it" in " ".join(shown.stderr.split())


def test_what_cannot_be_built_is_refused_before_anything_is_asked_for(tmp_path: Path) -> None:
    shown = subprocess.run(
        [str(REMIT), "deploy", "lambda-postgres", "--env", "prod"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    assert "prod speaks HTTPS only: set certificateArn" in " ".join(shown.stderr.split())


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An account in which nothing has been set up yet, and a Pulumi that nobody calls."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for module in (lambda_postgres, pulumi_topology):
        monkeypatch.setattr(module, "require_pulumi", lambda: None)
    monkeypatch.chdir(ROOT)
    with mock_aws():
        yield


def test_what_would_fail_in_the_account_is_said_first(
    account: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def problems(_: Any, reserved: int) -> Iterator[Problem]:
        asked.append(reserved)
        yield Problem("logs", "API Gateway may not write logs")

    monkeypatch.setattr(lambda_postgres, "account_problems", problems)
    with pytest.raises(DeployError, match="logs: API Gateway may not write logs"):
        lambda_postgres.deploy("staging-001", architecture="arm64", ask=False)
    assert asked == [40 + 40 + 2 + 2 + 1]


def test_a_stack_that_is_not_there_has_no_settings(account: None) -> None:
    with pytest.raises(DeployError, match="staging-001 is not deployed here"):
        lambda_postgres.exports("staging-001")


def test_prod_is_protected_from_being_destroyed(account: None) -> None:
    with pytest.raises(DeployError, match="prod is protected from deletion"):
        lambda_postgres.destroy("prod", ask=False)


class Stack:
    """A stack of Pulumi's, which makes two resources or fails."""

    def __init__(self, failure: str | None = None) -> None:
        self.failure = failure
        self.configuration: dict[str, Any] = {}

    def set_all_config(self, given: dict[str, Any]) -> None:
        self.configuration = {key: value.value for key, value in given.items()}

    def up(self, on_event: Any, **_: Any) -> Any:
        for name in ("payment-vpc", "payment-db"):
            urn = f"urn:pulumi:staging::payments::aws:x/y:Z::{name}"
            done = SimpleNamespace(metadata=SimpleNamespace(urn=urn))
            on_event(SimpleNamespace(res_outputs_event=done))
            on_event(SimpleNamespace(res_outputs_event=None))
        if self.failure is not None:
            failed: Any = SimpleNamespace(returncode=255, stdout="", stderr=self.failure)
            raise auto.CommandError(failed)
        return SimpleNamespace(outputs={"vpc_id": SimpleNamespace(value="vpc-1")})

    def outputs(self) -> dict[str, Any]:
        return {}


def deployment(monkeypatch: pytest.MonkeyPatch, stack: Stack) -> PulumiStack:
    monkeypatch.setattr(auto, "create_or_select_stack", lambda *_, **__: stack)
    return PulumiStack(
        "payments",
        "staging-001",
        folder=Path(),
        program=dict,
        configuration={"aws:region": "us-east-1"},
    )


def test_every_resource_is_told_as_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack()
    told: list[tuple[str, int, int]] = []
    outputs = deployment(monkeypatch, stack).up(lambda *one: told.append(one), 2)
    assert outputs == {"vpc_id": "vpc-1"}
    assert told == [("payment-vpc", 1, 2), ("payment-db", 2, 2)]
    assert stack.configuration == {"aws:region": "us-east-1"}


def test_a_failure_says_which_resource_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "Updating\n  aws:rds/instance:Instance payment-db\n error: creating RDS: quota exceeded"
    with pytest.raises(DeployError, match="error: creating RDS: quota exceeded"):
        deployment(monkeypatch, Stack(said)).up(lambda *_: None, 2)
    with pytest.raises(DeployError, match="There is nothing in the stack staging-001"):
        deployment(monkeypatch, Stack()).outputs()


class Aws:
    """Lambda and CodeDeploy, with one function that has versions and an alias."""

    def __init__(self, current: str, versions: tuple[str, ...], *states: str) -> None:
        self.current = current
        self.versions = versions
        self.states: Iterator[str] = iter(states)
        self.asked: list[dict[str, Any]] = []

    def __call__(self, _: str) -> Any:
        return self

    def get_alias(self, **_: str) -> dict[str, str]:
        return {"FunctionVersion": self.current}

    def get_paginator(self, _: str) -> Any:
        page = {"Versions": [{"Version": one} for one in ("$LATEST", *self.versions)]}
        return SimpleNamespace(paginate=lambda **_: [page])

    def create_deployment(self, **asked: Any) -> dict[str, str]:
        self.asked.append(asked)
        return {"deploymentId": "d-1"}

    def get_deployment(self, **_: str) -> dict[str, Any]:
        state = next(self.states)
        why = {"message": "an alarm fired"} if state == "Stopped" else {}
        return {"deploymentInfo": {"status": state, "errorInformation": why}}


def released(aws: Aws) -> None:
    release(aws, NAMES, iter(["payment-validator"]), lambda _: None, pause=lambda _: None)


def test_traffic_moves_to_the_newest_version_by_steps() -> None:
    aws = Aws("9", ("8", "9", "10"), "InProgress", "Succeeded")
    released(aws)
    [asked] = aws.asked
    assert asked["applicationName"] == "payment-releases-staging-001"
    assert asked["deploymentGroupName"] == "payment-validator-staging-001"
    [resource] = json.loads(asked["revision"]["appSpecContent"]["content"])["Resources"]
    assert resource["function"]["Properties"] == {
        "Name": "payment-validator-staging-001",
        "Alias": "live",
        "CurrentVersion": "9",
        "TargetVersion": "10",
    }


def test_traffic_that_is_on_the_newest_version_stays() -> None:
    aws = Aws("10", ("9", "10"))
    released(aws)
    assert aws.asked == []


def test_a_release_that_went_back_says_why() -> None:
    with pytest.raises(DeployError, match="went back to version 9: an alarm fired"):
        released(Aws("9", ("9", "10"), "Stopped"))


def test_only_certificates_are_taken_for_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "us-east-1.pem"
    target = tmp_path / "dist" / "rds-ca.pem"
    with web_server(tmp_path) as address:
        monkeypatch.setattr(pulumi_stack, "AUTHORITIES", f"{address}/{{region}}.pem")
        with pytest.raises(DeployError, match=r"cannot be fetched from .*404"):
            fetch_authorities("us-east-1", target)
        store.write_text("<html>")
        with pytest.raises(DeployError, match="holds no certificates"):
            fetch_authorities("us-east-1", target)
        store.write_text("-----BEGIN CERTIFICATE-----\n")
        assert fetch_authorities("us-east-1", target).read_bytes() == store.read_bytes()
    with pytest.raises(DeployError, match=r"cannot be fetched from .*refused"):
        fetch_authorities("us-east-1", target)


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing: what a test's server is asked for is in the test."""


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """The address of a server of the folder's files."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
