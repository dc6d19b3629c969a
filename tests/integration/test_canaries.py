"""A marked card number and CVC, sent everywhere and into every failure, are found nowhere after.

The one place where the number may be is the vault's ciphertext, which opens to it.
"""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog
from stdnum import luhn

from remit.adapters.files.storage import FileTopic
from remit.delivery.relay import relay
from remit.delivery.sweep import sweep
from remit.delivery.work_messages import handle_batch
from remit.domain.errors import ProcessorTimeout, ProcessorUnavailable
from remit.domain.operation import Approved, Declined, ProcessorResult
from remit.entrypoints.logs import configure_logs
from remit.oversight.audit.archiver import AuditArchiver
from remit.ports.app import App
from remit.ports.processor import Capabilities, Instruction
from remit.settings import Settings
from remit_infra.emulated.ports import free_port
from tests.builders import ScriptedProcessor, clock_of, postgres_app, replace_parts
from tests.integration.http_server import JSON, HttpServer

_STEM = "424242731944608"
NUMBER = _STEM + luhn.calc_check_digit(_STEM)
CVC = "917"
MARKED_CVC = f'"cvc": "{CVC}"'
GROUPS = " ".join(NUMBER[at : at + 4] for at in range(0, 16, 4))
CARD = {"number": NUMBER, "exp_month": 12, "exp_year": 2031, "cvc": CVC}


class Leaky(ScriptedProcessor):
    """A processor that fails in every way there is, with the card in its errors."""

    name = "leaky"
    capabilities = Capabilities(modes=frozenset({"test"}))

    def __init__(self) -> None:
        super().__init__()
        self.mood = "well"
        self.answered: dict[str, ProcessorResult] = {}

    async def execute(self, instruction: Instruction) -> ProcessorResult:
        assert instruction.card is None or instruction.card.number == NUMBER
        text = f"{instruction.card and instruction.card.number}"
        match self.mood:
            case "declining":
                return Declined("card_declined", "The card was declined.", "generic_decline")
            case "silent":
                raise ProcessorTimeout(f"no answer about {text}")
            case "down":
                raise ProcessorUnavailable("The processor cannot be reached. Try again.")
            case "broken":
                raise RuntimeError(f"unexpected {text} {instruction!r}")
            case _:
                return self.answered.setdefault(instruction.key, Approved("ref"))


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Path]:
    """Where the service writes its logs, at their most talkative."""
    path = tmp_path / "logs.txt"
    with path.open("w") as file:
        configure_logs("debug", file)
        yield path
        structlog.reset_defaults()


def test_a_marked_card_is_found_nowhere_but_in_the_vault(
    tmp_path: Path, database_url: str, logged: Path
) -> None:
    processor = Leaky()
    settings = Settings(port=free_port(), work_max_receives=2)
    app = replace_parts(
        postgres_app(tmp_path, database_url, settings=settings),
        processor=processor,
        notifications=FileTopic(tmp_path / "notifications.jsonl"),
        alerts=FileTopic(tmp_path / "alerts.jsonl"),
    )
    with HttpServer(app) as server:
        responses = [*misplaced(server), *fail_in_every_way(server, processor)]
        waiting = server.post("/validate", {"amount": 5, "card": CARD}).body["transaction_id"]
        stored = server.run(app.store.payment(waiting))
        assert stored is not None
        assert stored.encrypted_card is not None
        assert server.run(app.vault.decrypt(stored.encrypted_card, waiting)).number == NUMBER
        server.run(deliver_everything(app))
    places = {
        "answers": "\n".join(responses),
        "logs": logged.read_text(),
        "database": asyncio.run(everything_stored(database_url)),
        "files": everything_written(tmp_path),
    }
    assert "request_failed" in places["logs"]
    assert "payment_intent.succeeded" in places["files"]
    assert waiting in places["database"]
    assert [(place, form) for place in places for form in forms() if form in places[place]] == []


def forms() -> list[str]:
    """How the number could have been written down, and the CVC as nothing else would be."""
    plain = NUMBER.encode()
    return [
        NUMBER,
        GROUPS,
        GROUPS.replace(" ", "-"),
        NUMBER[::-1],
        NUMBER[:12],
        NUMBER[4:],
        plain.hex(),
        *(base64.b64encode(b" " * pad + plain).decode()[4:-4] for pad in range(3)),
        MARKED_CVC,
        MARKED_CVC.replace(" ", ""),
    ]


def misplaced(server: HttpServer) -> list[str]:
    """What is answered when the card is sent to every wrong place."""
    body: dict[str, Any] = {"amount": 5, "card": CARD}
    bodies: list[str] = [
        json.dumps(body | wrong)
        for wrong in (
            {NUMBER: 1},
            {"number": NUMBER},
            {"amount": NUMBER},
            {"amount": int(NUMBER)},
            {"currency": NUMBER},
            {"customer_id": NUMBER},
            {"payment_id": GROUPS},
            {"metadata": {NUMBER: "x"}},
            {"metadata": {"x": f"card={NUMBER}"}},
            {"card": CARD | {NUMBER: CVC}},
            {"card": CARD | {"exp_year": int(NUMBER)}},
            {"card": CARD | {"cvc": NUMBER}},
            {"card": CARD | {"exp_month": 13}},
            {"card": CARD | {"exp_year": 2020}},
            {"card": [NUMBER]},
            {"card": NUMBER[:-1] + "0"},
        )
    ]
    bodies += [f'{{"card": "{NUMBER}"', f'"{NUMBER}"', f'{{"amount": 1, "card": {NUMBER}}}']
    headers = JSON | {"x-api-key": server.key}
    responses = [server.send("POST", "/validate", text, headers) for text in bodies]
    assert {response.status for response in responses} == {400}
    responses += [
        server.post("/process", {"transaction_id": NUMBER}),
        server.post("/process", {"transaction_id": "x", "card": CARD | {"pin": NUMBER}}),
        server.post("/validate", body, idempotency_key=NUMBER),
        server.post("/validate", body, x_api_key=NUMBER),
        server.post("/validate", body, x_request_id=NUMBER),
        server.send("POST", "/validate", NUMBER * 5_000, headers),
        server.send("POST", "/validate", f"card={NUMBER}", {"x-api-key": server.key}),
        *(server.get(path) for path in (f"/payments/{NUMBER}", f"/{NUMBER}")),
        *(server.get(f"/payments?{name}={NUMBER}") for name in ("cursor", "status", NUMBER)),
    ]
    return [f"{response.headers} {json.dumps(response.body)}" for response in responses]


def fail_in_every_way(server: HttpServer, processor: Leaky) -> list[str]:
    """What is answered when the card is where it belongs and everything else goes wrong."""
    responses = []
    for mood in ("declining", "silent", "down", "broken", "well"):
        processor.mood = mood
        for later in ("", "respond-async"):
            made = server.post("/validate", {"amount": 5, "card": CARD})
            step = {"transaction_id": made.body["transaction_id"]}
            responses += [made, server.post("/process", step, prefer=later)]
            responses += [server.post("/process", step | {"card": CARD}, prefer=later)]
        server.run(deliver_everything(server.app))
    assert {response.status for response in responses} >= {200, 202, 402, 500, 503}
    return [f"{response.headers} {json.dumps(response.body)}" for response in responses]


async def deliver_everything(app: App) -> None:
    for _ in range(6):
        clock_of(app).advance(60)
        await sweep(app)
        while await relay(app):
            pass
        await handle_batch(app)
    while await AuditArchiver(app).archive():
        pass


async def everything_stored(url: str) -> str:
    """Every row of every table, as text."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        rows = [
            row[0]
            for (table,) in tables
            for row in await connection.fetch(f'SELECT t::text FROM "{table}" t')
        ]
    finally:
        await connection.close()
    return "\n".join(rows)


def everything_written(folder: Path) -> str:
    """Every file under the service's folder: topics, audit segments, keys."""
    return "\n".join(
        path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()
    )
