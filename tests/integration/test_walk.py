"""The way of a payment through the code, as ARCHITECTURE.md has it, followed on the call stack."""

import re
import sys
from pathlib import Path
from types import FrameType

import remit
from remit.domain.change import Change
from remit.settings import Settings
from remit_infra.emulated.ports import free_port
from tests.builders import postgres_app
from tests.integration.http_server import HttpServer
from tests.integration.test_http import ORDER
from tests.tidy.tree import ROOT, text

SERVICE = Path(remit.__file__).parent
MOST_FILES = 8


def files_on_the_stack() -> list[str]:
    """The service's own files from the server down to here, one entry for each stay in a file."""
    frame: FrameType | None = sys._getframe(1)
    stays: list[str] = []
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(SERVICE):
            name = path.relative_to(SERVICE).as_posix()
            if not stays or stays[-1] != name:
                stays.append(name)
        frame = frame.f_back
    return stays[::-1]


def written_walks(heading: str) -> list[list[str]]:
    """The files of each table of a walk in ARCHITECTURE.md, in their order."""
    section = text(ROOT / "ARCHITECTURE.md").split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
    tables = re.findall(r"(?:^\|.+\n)+", section, re.MULTILINE)
    return [re.findall(r"^\| \d+ \| `([^`]+)` \|", table, re.MULTILINE) for table in tables]


def test_a_payment_is_processed_in_the_files_that_architecture_names(
    tmp_path: Path, database_url: str
) -> None:
    walks: list[list[str]] = []

    async def note(change: Change) -> None:
        walks.append(files_on_the_stack())

    app = postgres_app(tmp_path, database_url, settings=Settings(port=free_port()))
    with HttpServer(app) as server:
        validated = server.post("/validate", ORDER)
        app.store._on_commit = (note,)  # type: ignore[attr-defined]
        processed = server.post("/process", {"transaction_id": validated.body["transaction_id"]})
    assert processed.body["status"] == "processed"
    claim, result = walks
    before_the_call, after_it = written_walks("From `POST /process` to the store")
    assert claim == on_the_stack(before_the_call)
    caller = claim[: claim.index("payments/steps.py") + 1]
    assert result == caller + on_the_stack(after_it)
    for written in (before_the_call, after_it):
        assert len(set(written)) == len(written) <= MOST_FILES
        assert [file for file in written if not (SERVICE / file).is_file()] == []


def on_the_stack(written: list[str]) -> list[str]:
    """The files of a walk that are on the stack at its end: a value made before is not."""
    return [
        file
        for file in written
        if file not in ("domain/payment.py", "adapters/postgres/group_commit.py")
    ]
