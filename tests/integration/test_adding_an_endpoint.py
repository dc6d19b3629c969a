"""`docs/adding-an-endpoint.md` is followed: its code is run, and does what the page says."""

import json
import re
import sys
from dataclasses import fields
from types import ModuleType
from typing import Any

import msgspec
import pytest

from remit.http.openapi import document
from remit.http.route import Route
from remit.http.router import Api
from remit.http.routes import ROUTES
from remit.ports.app import App
from tests.integration import example_answers
from tests.integration.example_answers import OF_THE_SERVER, Client, operations
from tests.integration.sent import Sent
from tests.tidy.tree import ROOT, text

PAGE = text(ROOT / "docs/adding-an-endpoint.md")
TYPES_AND_HANDLER, ROUTE, TEST = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def module_of_the_page() -> ModuleType:
    """The page's module with its route, as if they were written to the files that it names."""
    module = ModuleType("card_checks_of_the_page")
    sys.modules[module.__name__] = module
    exec(compile(TYPES_AND_HANDLER + ROUTE, "docs/adding-an-endpoint.md", "exec"), vars(module))
    return module


CHECK_CARD: Route = module_of_the_page().CHECK_CARD
TABLE = (*ROUTES, CHECK_CARD)
SHOWN = operations(TABLE)["check_card"]


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What leads to each answer, with what the page adds."""
    added = {"OWN": dict(example_answers.OWN)}
    exec(compile(TEST, "docs/adding-an-endpoint.md", "exec"), added)
    monkeypatch.setattr(example_answers, "OWN", added["OWN"])


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("status", [one for one in SHOWN.answers if one not in OF_THE_SERVER])
async def test_the_route_of_the_page_answers_as_it_is_documented(
    simulator: Client, status: int
) -> None:
    client = Client(simulator.app, TABLE)
    assert await client.answer("check_card", status) == (status, SHOWN.answers[status])


async def test_the_route_of_the_page_is_in_the_document(in_memory: App) -> None:
    response = await Api(in_memory, TABLE).respond(Sent("GET", "/openapi.json"))
    described = json.loads(response.body)
    operation = described["paths"]["/card_checks"]["post"]
    assert (operation["operationId"], operation["tags"]) == ("check_card", ["Cards"])
    assert [tag["name"] for tag in described["tags"]] == ["Payments", "Health", "Cards"]
    assert described == msgspec.to_builtins(document(TABLE, in_memory.processor.name))


async def test_a_repeat_gets_the_first_response(simulator: Client) -> None:
    app = simulator.app
    headers = {
        "x-api-key": await simulator.key(),
        "content-type": "application/json",
        "idempotency-key": "k",
    }
    request = Sent("POST", "/card_checks", headers, json.dumps(SHOWN.body).encode())
    first, again = [await Api(app, TABLE).respond(request) for _ in range(2)]
    assert (again.status, again.body) == (first.status, first.body)
    assert dict(again.headers) == {"idempotent-replayed": "true"}


@pytest.mark.parametrize("body", ['{"card": "4242424242424241"}', '{"card": 5}', "{"])
async def test_each_refusal_leaves_an_audit_entry(simulator: Client, body: str) -> None:
    client = Client(simulator.app, TABLE)
    refused = await client.send("POST", "/card_checks", body, content_type="application/json")
    audit: Any = simulator.app.store
    entries = [(entry.action, entry.outcome) for entry in audit.audit]
    assert (refused[0], entries) == (400, [("check_card", "refused")])


def test_the_page_names_fields_that_a_route_has() -> None:
    table = PAGE.partition("| from | follows |")[2].partition("\n\n")[0]
    named = {
        name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    assert named - {field.name for field in fields(Route)} == set()
