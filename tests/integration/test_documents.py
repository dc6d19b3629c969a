"""The README does what it says: its request gets its answer, and its commands run."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import Service, run_command
from tests.tidy.tree import ROOT, files, name, text

README = text(ROOT / "README.md")
BLOCKS = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"^remit ([a-z].*?)(?:\s+#.*)?$", re.MULTILINE)
MENTIONED = re.compile(r"`remit ([a-z]+(?: [a-z]+)?)[^`]*`")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("commands")]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("documents")
    folder.chmod(0o755)
    with Service(folder) as running:
        running.start()
        yield running


def block(mark: str) -> str:
    found: str = next(block for block in BLOCKS.findall(README) if mark in block)
    return found


def test_the_request_in_the_readme_gets_the_answer_in_the_readme(service: Service) -> None:
    words = shlex.split(block("curl ").replace("\\\n", " "))
    sent = json.loads(words[words.index("-d") + 1])
    shown = json.loads(block('"status": "validated"'))
    answer = service.call("POST", "/validate", sent, key="order-1001")
    assert answer.status == 200
    assert answer.body | {"transaction_id": ""} == shown | {"transaction_id": ""}

    step = {"transaction_id": answer.body["transaction_id"]}
    assert service.call("POST", "/process", step).body["status"] == "processed"
    again = service.call("POST", "/validate", sent, key="order-1001")
    assert (again.body, again.headers["idempotent-replayed"]) == (answer.body, "true")


@pytest.mark.parametrize("line", COMMAND.findall(block("remit pay")))
def test_the_commands_in_the_readme_run(service: Service, line: str) -> None:
    ended = service.command(*shlex.split(line))
    assert ended.returncode == 0
    assert ended.stderr.startswith("acting on ")


def test_every_command_that_a_document_mentions_exists(tmp_path: Path) -> None:
    mentioned = {
        (command, name(page))
        for page in files(".md")
        for command in MENTIONED.findall(text(page)) + _in_blocks(page)
    }
    unknown = [
        (command, page)
        for command, page in sorted(mentioned)
        if run_command(*command.split(), "--help", folder=tmp_path).returncode != 0
    ]
    assert unknown == []


def _in_blocks(page: Path) -> list[str]:
    lines = [line for block in BLOCKS.findall(text(page)) for line in COMMAND.findall(block)]
    return [" ".join(re.findall(r"^[a-z]+(?: [a-z]+(?= |$))?", line)) for line in lines]
