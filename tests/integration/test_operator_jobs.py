"""`remit operate`: one job of an operator, as the process that a task runs."""

import asyncio
import json
from datetime import datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import msgspec
import pytest

from remit.clock_and_ids import new_secret
from remit.oversight.api_keys import create_key
from remit.ports.api_keys import ApiKey
from remit.ports.app import App
from tests.builders import postgres_app
from tests.service import run_command
from tests.unit.steps import an_undecided_operation

pytestmark = pytest.mark.slow


class Database:
    """The database of a test, with nothing said to a command but where it is."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder

    async def run(self, asked: str) -> "CompletedProcess[str]":
        return await asyncio.to_thread(
            run_command, "operate", asked, folder=self._folder, REMIT_DATABASE_URL=self._url
        )

    async def answer(self, job: str, **asked: object) -> Any:
        """What the one line says that the process prints."""
        ended = await self.run(json.dumps({"job": job, **asked}))
        assert (ended.returncode, ended.stderr, ended.stdout.count("\n")) == (0, "", 1)
        return json.loads(ended.stdout)["result"]


@pytest.fixture
def database(database_url: str, tmp_path: Path) -> Database:
    return Database(database_url, tmp_path)


async def test_a_key_is_added_listed_and_revoked(database: Database, in_memory: App) -> None:
    made = await create_key(
        in_memory, merchant_id="acme", mode="test", label="Käse", random=new_secret()
    )
    assert await database.answer("add_key", key=msgspec.to_builtins(made.key)) is None
    assert msgspec.convert(await database.answer("keys"), list[ApiKey]) == [made.key]
    at = in_memory.clock().isoformat()
    assert await database.answer("revoke_key", id=made.key.id, at=at) is True
    assert await database.answer("revoke_key", id="unknown", at=at) is False
    [found] = await database.answer("keys")
    assert datetime.fromisoformat(found["revoked_at"]) == datetime.fromisoformat(at)


async def test_a_live_key_is_rejected_where_the_processor_moves_no_money(
    database: Database, in_memory: App
) -> None:
    made = await create_key(
        in_memory, merchant_id="acme", mode="live", label="", random=new_secret()
    )
    ended = await database.run(json.dumps({"job": "add_key", "key": msgspec.to_builtins(made.key)}))
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        1,
        "",
        "remit: This is a live key, and only the simulated processor is configured, which moves "
        "no money: use a test key.\n",
    )
    assert await database.answer("keys") == []


async def test_failed_work_is_listed_and_redriven(database: Database) -> None:
    assert await database.answer("failed", limit=10) == []
    assert await database.answer("dead_letters", limit=10) == []
    assert await database.answer("redrive", id=None) == 0
    assert await database.answer("migrate") == {"applied": []}


async def test_two_persons_end_an_operation(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    app = postgres_app(tmp_path, database_url)
    operation = await an_undecided_operation(app)
    await app.close()
    plain = msgspec.to_builtins(operation)
    assert await database.answer("operations", needs_decision=True, limit=10) == [plain]
    assert await database.answer("operations", payment_id=operation.payment_id) == [plain]
    assert await database.answer("operation", id=operation.id) == plain
    approved = {"type": "approved", "reference": "ch_1"}
    decision = {"id": operation.id, "result": approved}
    proposed = await database.answer("decide", by="ann", **decision)
    assert proposed["proposal"] == {"by": "operator:ann", "result": approved}
    decided = await database.answer("decide", by="ben", **decision)
    assert (decided["state"], decided["result"]) == ("succeeded", approved)
    assert await database.answer("operations", needs_decision=False, limit=10) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ('{"job": "frobnicate"}', "This is no job: There is no job 'frobnicate' with these"),
        ('{"job": "failed"}', "This is no job: There is no job 'failed' with these arguments."),
        ('{"job": "add_key", "key": {}}', "This is no job: Object missing required field"),
        ('{"job": "operation", "id": 1}', "This is no job: There is no job 'operation' with these"),
        ('{"job": "operation", "id": "1"}', "No such operation."),
        (
            '{"job": "decide", "id": "1", "by": "ann", "result": {"type": "lost"}}',
            "This is no job: Invalid value 'lost'",
        ),
        ("migrate", "This is no job: JSON is malformed"),
        ("[]", "This is no job: Expected `object`, got `array`"),
    ],
)
async def test_an_unknown_job_is_one_line(database: Database, asked: str, said: str) -> None:
    ended = await database.run(asked)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert said in ended.stderr


async def test_a_database_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    nowhere = Database("postgresql://127.0.0.1:1/payments", tmp_path)
    ended = await nowhere.run('{"job": "keys"}')
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert ended.stderr.startswith("remit: ")
