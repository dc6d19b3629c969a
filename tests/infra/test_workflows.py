"""What runs on GitHub holds no key, asks for little, and only calls what is in this repository."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from remit_infra.commands import stack
from tests.tidy.tree import ROOT, files

Workflow = dict[str, Any]
Change = Callable[[dict[str, Workflow]], object]

PLANNED = {"fargate-aurora"}
"""Topologies that the workflows may name before the commands know them."""

ROLE = "aws-actions/configure-aws-credentials"
PINNED = re.compile(r"uses: ([\w/.-]+)@[0-9a-f]{40} # v\d+\.\d+\.\d+")
REMIT = re.compile(r"(?:^|\s)\.venv/bin/remit ([^\n|]+)")
MAKE = re.compile(r"(?:^|\s)make ([^\n|]+)")


def sources() -> dict[str, str]:
    return {path.name: path.read_text() for path in files(".yml", ".github/workflows")}


def workflows() -> dict[str, Workflow]:
    # YAML 1.1 reads the word `on` as true.
    return {
        name: msgspec.yaml.decode(re.sub(r"^on:", "'on':", source, flags=re.MULTILINE))
        for name, source in sources().items()
    }


def broken_promises(every: dict[str, Workflow]) -> Iterator[str]:
    """Each promise that these workflows do not keep."""
    for workflow in every.values():
        if workflow["permissions"] != {}:
            yield "nothing is permitted by default"
        if "concurrency" not in workflow:
            yield "one at a time"
        if {"pull_request_target", "workflow_run"} & set(workflow["on"]):
            yield "no stranger's code runs with permissions"
        if "secrets" in json.dumps(workflow):
            yield "no key is stored"
        for job in workflow["jobs"].values():
            yield from broken_by(job, of_pull_requests="pull_request" in workflow["on"])
    jobs = every["deploy.yml"]["jobs"]
    needs = {name: job.get("needs") for name, job in jobs.items()}
    if needs != {"test": None, "dev": "test", "staging": "dev", "prod": "staging"}:
        yield "dev comes first and prod last"
    if [jobs[name]["with"]["env"] for name in ("dev", "staging", "prod")] != [
        *("dev", "staging", "prod")
    ]:
        yield "a job deploys what it is called"
    if every["deploy.yml"]["on"] != {"push": {"branches": ["main"]}}:
        yield "only main is deployed"
    deploying = every["deploy-environment.yml"]["jobs"]["deploy"]
    if deploying["environment"] != "${{ inputs.env }}":
        yield "an environment can ask for an approval"


def broken_by(job: dict[str, Any], *, of_pull_requests: bool) -> Iterator[str]:
    steps = job.get("steps", [])
    assumes = [step for step in steps if step.get("uses", "").startswith(ROLE)]
    calls_ours = job.get("uses", "").startswith("$/.github/workflows/")
    # GitHub takes no timeout for a job that calls a workflow; the one that is called has its own.
    if not calls_ours and not 0 < job.get("timeout-minutes", 0) <= 60:
        yield "every job ends"
    granted = dict(job["permissions"])
    if granted.pop("contents", None) != "read" or set(granted) - {"id-token"}:
        yield "a job may read the code and no more"
    deploys = calls_ours and job["uses"].endswith("/deploy-environment.yml")
    if ("id-token" in granted) != bool(assumes or deploys):
        yield "only who assumes a role gets a token"
    for step in assumes:
        if not step["with"]["role-to-assume"].startswith("${{ vars."):
            yield "a role is assumed"
        if set(step["with"]) - {"role-to-assume", "aws-region"}:
            yield "no key is stored"
        if of_pull_requests and "head.repo.full_name == github.repository" not in job.get("if", ""):
            yield "a fork gets no role"
    if any("${{" in step.get("run", "") for step in steps):
        yield "nothing is pasted into a shell"


def test_the_workflows_keep_their_promises() -> None:
    assert list(broken_promises(workflows())) == []


def job(every: dict[str, Workflow], file: str, name: str) -> Any:
    return every[f"{file}.yml"]["jobs"][name]


BREAKING: list[tuple[str, Change]] = [
    ("nothing is permitted by default", lambda w: w["ci.yml"].update(permissions="write-all")),
    ("one at a time", lambda w: w["deploy.yml"].pop("concurrency")),
    (
        "no stranger's code runs with permissions",
        lambda w: w["preview.yml"]["on"].update(pull_request_target=None),
    ),
    (
        "no key is stored",
        lambda w: job(w, "deploy-environment", "deploy")["env"].update(
            AWS_ACCESS_KEY_ID="${{ secrets.AWS_ACCESS_KEY_ID }}"
        ),
    ),
    (
        "no key is stored",
        lambda w: job(w, "preview", "preview")["steps"][2]["with"].update(
            {"aws-access-key-id": "${{ vars.KEY }}"}
        ),
    ),
    ("every job ends", lambda w: job(w, "preview", "plan").pop("timeout-minutes")),
    (
        "a job may read the code and no more",
        lambda w: job(w, "ci", "test")["permissions"].update(contents="write"),
    ),
    (
        "a job may read the code and no more",
        lambda w: job(w, "ci", "test")["permissions"].update(packages="write"),
    ),
    (
        "only who assumes a role gets a token",
        lambda w: job(w, "preview", "plan")["permissions"].update({"id-token": "write"}),
    ),
    (
        "a role is assumed",
        lambda w: job(w, "preview", "preview")["steps"][2]["with"].update({"role-to-assume": ""}),
    ),
    ("a fork gets no role", lambda w: job(w, "preview", "preview").pop("if")),
    (
        "nothing is pasted into a shell",
        lambda w: job(w, "ci", "test")["steps"][1].update(
            run="echo ${{ github.event.pull_request.title }}"
        ),
    ),
    ("dev comes first and prod last", lambda w: job(w, "deploy", "prod").update(needs="dev")),
    ("dev comes first and prod last", lambda w: job(w, "deploy", "dev").pop("needs")),
    (
        "a job deploys what it is called",
        lambda w: job(w, "deploy", "dev")["with"].update(env="prod"),
    ),
    ("only main is deployed", lambda w: w["deploy.yml"]["on"].update(pull_request=None)),
    (
        "an environment can ask for an approval",
        lambda w: job(w, "deploy-environment", "deploy").update(environment="dev"),
    ),
]


@pytest.mark.parametrize(
    ("promise", "change"),
    BREAKING,
    ids=[f"{number} {promise}" for number, (promise, _) in enumerate(BREAKING)],
)
def test_a_promise_that_is_broken_is_caught(promise: str, change: Change) -> None:
    changed = deepcopy(workflows())
    change(changed)
    assert promise in list(broken_promises(changed))


def test_every_action_is_pinned_by_its_commit() -> None:
    used = [
        line.strip().removeprefix("- ")
        for source in sources().values()
        for line in source.splitlines()
        if re.match(r"\s*(?:- )?uses:", line)
    ]
    ours = [line for line in used if line.startswith("uses: $/.github/workflows/")]
    others = [line for line in used if line not in ours]
    assert [line for line in others if not PINNED.fullmatch(line)] == []
    assert {line.partition("@")[0] for line in others} == {
        f"uses: {ROLE}",
        "uses: actions/checkout",
    }
    called = {line.rpartition("/")[2] for line in ours}
    assert called <= set(sources())


def shell() -> str:
    return "\n".join(
        step["run"]
        for workflow in workflows().values()
        for one in workflow["jobs"].values()
        for step in one.get("steps", [])
        if "run" in step
    )


def test_every_make_target_a_workflow_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {target for words in MAKE.findall(shell()) for target in words.split()}
    assert named == {"aws", "test"}
    assert [target for target in named if f"\n{target}:" not in makefile] == []


@pytest.mark.slow
def test_every_command_a_workflow_names_exists() -> None:
    lines = {line.strip() for line in REMIT.findall(shell())}
    assert len(lines) == 3
    for line in lines:
        words = line.split()
        verbs = words[: 2 if words[0] == "infra" else 1]
        shown = subprocess.run(
            [str(Path(sys.executable).with_name("remit")), *verbs, "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert shown.stdout.startswith(f"Usage: remit {' '.join(verbs)}")
        flags = {word for word in words if word.startswith("--")}
        assert {flag for flag in flags if flag not in shown.stdout} == set()
        topologies = set(get_args(stack.Topology))
        operands = words[len(verbs) :]
        named = {word for word in operands if "-" in word and word[0] not in '-"'}
        assert named <= topologies | PLANNED


def test_the_trust_policy_in_the_documents_names_one_repository_and_one_environment() -> None:
    page = (ROOT / "docs/continuous-deployment.md").read_text()
    [written] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    [statement] = json.loads(written)["Statement"]
    issuer = "token.actions.githubusercontent.com"
    assert statement["Principal"]["Federated"].endswith(f":oidc-provider/{issuer}")
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"] == {
        "StringEquals": {
            f"{issuer}:aud": "sts.amazonaws.com",
            f"{issuer}:sub": "repo:OWNER@1234/REPOSITORY@5678:environment:prod",
        }
    }
    assert "*" not in written
