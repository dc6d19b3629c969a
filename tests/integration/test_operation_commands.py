"""`remit operations`: what waits for a person is listed, looked at, and decided by two."""

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from remit.domain.payment import State
from tests.builders import postgres_app
from tests.service import run_command
from tests.unit.steps import an_undecided_operation, current, history

pytestmark = pytest.mark.slow


async def test_two_persons_decide_what_does_not_end_by_itself(
    database_url: str, tmp_path: Path
) -> None:
    def run(*arguments: str) -> "CompletedProcess[str]":
        return run_command(
            "operations", *arguments, folder=tmp_path, REMIT_DATABASE_URL=database_url
        )

    def output(*arguments: str) -> str:
        ended = run(*arguments)
        assert (ended.returncode, ended.stderr.count("\n")) == (0, 1), ended.stderr
        return ended.stdout

    def data(*arguments: str) -> Any:
        return json.loads(output(*arguments, "--json"))

    assert output("list") == "No operation waits for a person.\n"
    assert output("list", "--all") == "Every operation has its result.\n"
    app = postgres_app(tmp_path, database_url)
    operation = await an_undecided_operation(app)

    [listed] = data("list")
    assert (listed["operation_id"], listed["needs_decision"]) == (operation.id, True)
    assert data("list", "--all") == data("list", "--payment", operation.payment_id) == [listed]
    assert output("list").splitlines()[1].endswith("a person")
    assert "approved --reference REFERENCE" in output("show", operation.id)
    assert data("show", operation.id) == listed

    decide = ("decide", operation.id)
    said = output(*decide, "approved", "--reference", "ch_1", "--as", "ann")
    assert said == "proposed by ann: approved. A second person has to say the same.\n"
    assert "operator:ann says approved as ch_1" in output("list")
    assert f"remit operations decide {operation.id} approved --reference ch_1" in output(
        "show", operation.id
    )
    again = run(*decide, "approved", "--reference", "ch_1", "--as", "ann")
    assert (again.returncode, again.stdout) == (1, "")
    assert "You proposed this: a second person has to confirm it." in again.stderr
    other = data(*decide, "approved", "--reference", "ch_2", "--as", "ben")
    assert other["proposal"] == {
        "by": "operator:ben",
        "result": {"type": "approved", "reference": "ch_2"},
    }

    said = output(*decide, "approved", "--reference", "ch_2", "--as", "ann")
    assert said == f"operation {operation.id}: succeeded\n"
    payment = await app.store.payment(operation.payment_id)
    assert payment is not None
    assert (await current(app, payment)).state is State.CAPTURED
    assert (await history(app, payment))[-3:] == [
        ("decide", "proposed"),
        ("decide", "proposed"),
        ("resolve", "done"),
    ]
    await app.close()
    assert output("list") == "No operation waits for a person.\n"
    assert "It has ended: there is nothing to do." in output("show", operation.id)
    ended = run(*decide, "not-done", "--as", "ben")
    assert (ended.returncode, ended.stdout) == (1, "")
