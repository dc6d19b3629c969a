"""The table of routes: a route that is added to it is served, documented and replayed."""

import asyncio
from typing import Any

import msgspec
import pytest

from remit.clock_and_ids import new_secret
from remit.domain.caller import Mode
from remit.domain.change import Change
from remit.http.responses import Response, json_response
from remit.http.route import Call, ResponseSpec, Route, Tag, commit_once
from remit.http.router import Api, RouteTable
from remit.http.routes import ROUTES
from remit.oversight.api_keys import create_key
from remit.payments.results import audit_entry
from remit.ports.app import App
from remit.ports.processor import Capabilities
from tests.builders import replace_parts
from tests.integration.sent import Sent


class Note(msgspec.Struct, frozen=True):
    """A body of a route that only this test has."""

    text: str


async def write_note(app: App, call: Call) -> Response:
    """Commits something of its own, with the response that a repeat is to get."""
    response = json_response({"id": app.new_id(), "of": call.params["note_id"]}, 201)
    entry = audit_entry(app, call.caller, "write_note", "done")
    await commit_once(app, Change(audit=(entry,), record=call.record(app, response)))
    return response


NOTE = Route(
    method="POST",
    path="/notes/{note_id}",
    name="write_note",
    summary="Write a note",
    tag=Tag("Notes", "Notes that only this test takes."),
    handler=write_note,
    function="processing",
    action="write_note",
    body=Note,
    decode=msgspec.json.Decoder(Note).decode,
    example={"text": "hello"},
    stores_response=True,
    responses={201: ResponseSpec("The note is written.", Note, {"text": "hello"})},
)


async def key_for(app: App, mode: Mode = "test") -> str:
    made = await create_key(app, merchant_id="acme", mode=mode, label="", random=new_secret())
    return made.secret


async def send(api: Api, key: str, text: str = "hello", **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"x-api-key": key, "content-type": "application/json"} | named
    body = msgspec.json.encode({"text": text})
    return await api.respond(Sent("POST", "/notes/7", sent, body))


def actions(app: App) -> list[str]:
    audit: Any = app.store
    return [entry.action for entry in audit.audit]


async def test_a_route_that_is_added_is_served_and_documented(in_memory: App) -> None:
    api = Api(in_memory, (*ROUTES, NOTE))
    response = await send(api, await key_for(in_memory))
    assert (response.status, msgspec.json.decode(response.body)["of"]) == (201, "7")
    document = msgspec.json.decode((await api.respond(Sent("GET", "/openapi.json"))).body)
    operation = document["paths"]["/notes/{note_id}"]["post"]
    assert operation["operationId"] == "write_note"
    assert [parameter["name"] for parameter in operation["parameters"]] == [
        "note_id",
        "Idempotency-Key",
    ]
    assert sorted(operation["responses"]) == [
        *("201", "400", "401", "408", "413", "415", "422", "429", "500", "503")
    ]
    example = operation["responses"]["201"]["content"]["application/json"]["example"]
    assert example == {"text": "hello"}
    assert "Note" in document["components"]["schemas"]


async def test_its_refusals_are_those_of_every_route(in_memory: App) -> None:
    api = Api(in_memory, (*ROUTES, NOTE))
    assert (await send(api, "nobody")).status == 401
    key = await key_for(in_memory)
    assert (await send(api, key, content_type="text/plain")).status == 415
    assert (await api.respond(Sent("GET", "/notes/7"))).status == 405
    assert actions(in_memory) == ["write_note"]


async def test_a_kept_response_is_replayed_and_the_change_made_once(app: App) -> None:
    api, key = Api(app, (*ROUTES, NOTE)), await key_for(app)
    first = await send(api, key, idempotency_key="k1")
    again = await send(api, key, idempotency_key="k1")
    assert (again.status, again.body) == (201, first.body)
    assert dict(again.headers) == {"idempotent-replayed": "true"}
    other = await send(api, key, "other", idempotency_key="k1")
    assert (other.status, msgspec.json.decode(other.body)["error"]["code"]) == (
        422,
        "idempotency_key_reused",
    )
    assert (await send(api, key, idempotency_key="k2")).body != first.body


async def test_of_many_at_once_under_one_key_one_is_made(app: App) -> None:
    api, key = Api(app, (*ROUTES, NOTE)), await key_for(app)
    many = await asyncio.gather(*(send(api, key, idempotency_key="k1") for _ in range(20)))
    assert len({response.body for response in many}) == 1
    assert [response.status for response in many] == [201] * 20
    fresh = [response for response in many if not response.headers]
    assert len(fresh) == 1


def test_no_route_is_in_the_table_twice() -> None:
    with pytest.raises(AssertionError, match=r"POST /notes/\{note_id\} is in the table twice"):
        RouteTable((NOTE, NOTE))


async def test_a_live_key_is_refused_where_only_the_simulator_is(in_memory: App) -> None:
    class Simulated:
        name = "simulated"
        capabilities = Capabilities(modes=frozenset({"test"}))

    api = Api(replace_parts(in_memory, processor=Simulated()))
    request = Sent("GET", "/payments", {"x-api-key": await key_for(in_memory, "live")})
    refused = await api.respond(request)
    assert (refused.status, msgspec.json.decode(refused.body)["error"]) == (
        400,
        {
            "type": "invalid_request_error",
            "code": "live_mode_unavailable",
            "message": "This is a live key, and only the simulated processor is configured, which "
            "moves no money: use a test key.",
        },
    )
    request.headers["x-api-key"] = await key_for(in_memory)
    assert (await api.respond(request)).status == 200


async def test_the_address_itself_greets_and_links(in_memory: App) -> None:
    greeting = await Api(in_memory).respond(Sent("GET", "/"))
    assert (greeting.status, msgspec.json.decode(greeting.body)) == (
        200,
        {
            "service": "remit",
            "processor": "scripted",
            "modes": ["live", "test"],
            "documentation": "/docs",
            "openapi": "/openapi.json",
            "health": "/health",
        },
    )
