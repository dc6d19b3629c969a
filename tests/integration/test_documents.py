"""What the documents show is run as it is written: requests, and commands on this machine.

Commands that need the tools for AWS are run by `tests/infra/test_documented_commands.py`.
"""

import asyncio
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remit_infra.commands.main import cli
from tests.builders import postgres_app
from tests.documents import blocks, commands
from tests.service import REMIT, Service, ServiceResponse, clean_environ
from tests.tidy.tree import ROOT, files, name, text
from tests.unit.steps import an_undecided_operation

ON_A_SERVICE = ("audit", "failed", "keys", "operations", "pay", "payments", "reconcile")
MENTIONED = re.compile(r"`remit ([a-z]+(?: [a-z]+)?)[^`]*`")

LINES = sorted(
    {
        line
        for _, line in commands("remit")
        if line.split()[1] in ON_A_SERVICE and "--url" not in line
    }
)
COPIES = [line for _, line in commands("remit migrate-data")]
REQUESTS = sorted({line for _, line in commands("curl") if "http://127.0.0.1:8000" in line})

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("commands")]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("documents")
    folder.chmod(0o755)
    with Service(folder) as running:
        running.start()
        yield running


def send(service: Service, line: str) -> ServiceResponse:
    """Sends the request of a documented `curl`."""
    words = shlex.split(line)
    [path] = [w.removeprefix("http://127.0.0.1:8000") for w in words if w.startswith("http")]
    headers = dict(word.split(": ") for word in words if re.match(r"[\w-]+: ", word))
    key = headers.get("idempotency-key")
    if "-d" not in words:
        return service.call("GET", path)
    assert headers["content-type"] == "application/json"
    return service.call("POST", path, json.loads(words[words.index("-d") + 1]), key=key)


@pytest.mark.parametrize("line", REQUESTS)
def test_a_documented_request_succeeds(service: Service, line: str) -> None:
    assert send(service, line).status == 200


def test_the_request_in_the_readme_gets_the_answer_in_the_readme(service: Service) -> None:
    [request] = [line for page, line in commands("curl") if page == "README.md"]
    shown = re.search(r"```json\n(.*?)```", text(ROOT / "README.md"), re.DOTALL)
    assert shown is not None
    answer = send(service, request)
    expected = json.loads(shown[1])
    assert answer.body | {"transaction_id": ""} == expected | {"transaction_id": ""}

    step = {"transaction_id": answer.body["transaction_id"]}
    assert service.call("POST", "/process", step).body["status"] == "processed"
    again = send(service, request)
    assert (again.body, again.headers["idempotent-replayed"]) == (answer.body, "true")


@pytest.mark.parametrize("line", [line for line in LINES if "OPERATION" not in line])
def test_a_documented_command_runs(service: Service, line: str) -> None:
    payment = json.loads(service.command("pay", "25.00", "--json").stdout)["transaction_id"]
    key = json.loads(service.command("keys", "create", "--merchant", "a", "--json").stdout)["id"]
    for placeholder, value in {"PAYMENT": payment, "KEY": key, "MERCHANT": "acme"}.items():
        line = re.sub(rf"\b{placeholder}\b", value, line)
    ended = in_a_shell(line, service.data.parent, PORT=str(service.port))
    assert (ended.returncode, ended.stderr.startswith("acting on ")) == (0, True), ended.stderr


@pytest.mark.parametrize("line", [line for line in LINES if "OPERATION" in line])
def test_a_documented_command_on_an_operation_runs(
    database_url: str, tmp_path: Path, line: str
) -> None:
    line = line.replace("OPERATION", asyncio.run(undecided(tmp_path, database_url)))
    ended = in_a_shell(line.replace("REFERENCE", "ch_1"), tmp_path, REMIT_DATABASE_URL=database_url)
    assert (ended.returncode, ended.stderr.startswith("acting on ")) == (0, True), ended.stderr


async def undecided(folder: Path, database_url: str) -> str:
    """The id of an operation that waits for a person."""
    app = postgres_app(folder, database_url)
    operation = await an_undecided_operation(app)
    await app.close()
    return operation.id


@pytest.mark.parametrize("line", COPIES)
def test_a_documented_copy_of_the_database_runs(
    service: Service, database_url: str, line: str
) -> None:
    source = f"'postgresql://postgres@/postgres?host={service.data / 'postgres'}'"
    line = line.replace("postgresql://…", source).replace("FOLDER", str(service.data / "bucket"))
    ended = in_a_shell(line, service.data.parent, REMIT_DATABASE_URL=database_url)
    assert ended.returncode == 0, ended.stderr


def test_every_command_that_a_document_mentions_exists() -> None:
    mentioned = {
        (command, name(page))
        for page in files(".md")
        for command in MENTIONED.findall(text(page)) + _in_blocks(page)
    }
    unknown = [(command, page) for command, page in sorted(mentioned) if not exists(command)]
    assert unknown == []


def exists(command: str) -> bool:
    """Whether `remit` has this command. What follows a command that is no group is an argument."""
    found = cli
    for word in command.split():
        if all(name.startswith("-") for name in found):
            return True
        if word not in found:
            return False
        found = found[word]
    return True


def _in_blocks(page: Path) -> list[str]:
    lines = [
        found for block in blocks(page) for found in re.findall(r"\bremit ([a-z][^\n]*)", block)
    ]
    return [" ".join(re.findall(r"^[a-z-]+(?: [a-z]+(?= |$))?", line)) for line in lines]


def in_a_shell(line: str, folder: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Runs a line as somebody does who copies it into a shell, with `remit` on PATH."""
    path = f"{REMIT.parent}{os.pathsep}{os.environ['PATH']}"
    settings: dict[str, Any] = clean_environ() | {"PATH": path} | environ
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
