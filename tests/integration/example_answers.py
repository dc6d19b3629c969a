"""How each answer in the OpenAPI document comes about: the requests that lead to it."""

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from remit.adapters.memory.limiter import LocalLimiter
from remit.clock_and_ids import new_secret
from remit.domain.caller import Mode
from remit.domain.errors import Unavailable
from remit.http.openapi import document
from remit.http.route import Route
from remit.http.router import Api
from remit.http.routes import ROUTES
from remit.http.two_step.examples import (
    PAYMENT_ID,
    PAYMENT_REQUEST,
    REQUEST_ID,
)
from remit.oversight.api_keys import create_key
from remit.oversight.health import Monitor
from remit.ports.app import App
from remit.settings import Settings
from tests.builders import ScriptedProcessor, clock_of, replace_parts
from tests.integration.sent import Sent

OTHERS = {"validate": PAYMENT_REQUEST | {"payment_id": "order-1003"}}
"""A different request than the example, where a space more makes no difference."""

TIMES_OUT = Settings().simulator_modulus - 1
"""The remainder of the example's amount, 99.99."""

OF_THE_SERVER = (408, 413)
"""What only a server refuses, while a body arrives."""

Answered = tuple[int, Any]


class Operation(NamedTuple):
    """An operation as the document has it: its request, and its examples by status."""

    method: str
    path: str
    body: Any
    answers: dict[int, Any]


def operations(routes: Iterable[Route]) -> dict[str, Operation]:
    """The documented operations of these routes, by name. Each answer has to have an example."""
    return {
        operation["operationId"]: Operation(
            method.upper(),
            path,
            operation["requestBody"]["content"]["application/json"]["example"]
            if "requestBody" in operation
            else None,
            {
                int(status): answer["content"]["application/json"]["example"]
                for status, answer in operation["responses"].items()
            },
        )
        for path, methods in document(routes, "simulated")["paths"].items()
        for method, operation in methods.items()
    }


class Client:
    """Calls the service in memory, with the simulated processor."""

    def __init__(self, app: App, routes: tuple[Route, ...] = ROUTES) -> None:
        self.app = app
        self.routes = routes
        self.operations = operations(routes)
        self.transaction_id = PAYMENT_ID

    def over(self, **parts: Any) -> "Client":
        """The same service with other parts in the place of some."""
        return Client(replace_parts(self.app, **parts), self.routes)

    async def key(self, mode: Mode = "test") -> str:
        made = await create_key(
            self.app, merchant_id="acme", mode=mode, label="", random=new_secret()
        )
        return made.secret

    async def post(self, path: str, body: object, **headers: str) -> Answered:
        headers = {"content-type": "application/json"} | headers
        return await self.send("POST", path, json.dumps(body), **headers)

    async def send(
        self, method: str, path: str, body: str = "", query: str = "", **headers: str
    ) -> Answered:
        if "x_api_key" not in headers:
            headers["x_api_key"] = await self.key()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        text = body.replace(PAYMENT_ID, self.transaction_id).encode()
        request = Sent(method, path, named, text, query, request_id=REQUEST_ID)
        response = await Api(self.app, self.routes).respond(request)
        return response.status, json.loads(response.body)

    async def call(self, name: str, **headers: str) -> Answered:
        """An operation as the document shows it."""
        operation = self.operations[name]
        path = operation.path.format(transaction_id=self.transaction_id)
        if operation.body is not None:
            return await self.post(path, operation.body, **headers)
        return await self.send(operation.method, path, **headers)

    async def answer(self, name: str, status: int) -> Answered:
        """What the service answers where the document says `status`; ids are the example's."""
        if (name, status) in OWN:
            answered = await OWN[name, status](self)
        else:
            answered = await ANY[status](self, name)
        return answered[0], json.loads(
            json.dumps(answered[1]).replace(self.transaction_id, PAYMENT_ID)
        )

    async def validate(self, **fields: object) -> Answered:
        status, body = await self.post("/validate", PAYMENT_REQUEST | fields)
        self.transaction_id = body["transaction_id"]
        return status, body

    async def process(self) -> Answered:
        """The example's payment, a second after it was validated."""
        await self.validate()
        clock_of(self.app).advance(1)
        return await self.call("process")


async def replayed_by_reference(client: Client) -> Answered:
    await client.validate()
    return await client.post("/validate", PAYMENT_REQUEST | {"amount": "5.00"})


async def queued(client: Client) -> Answered:
    await client.validate()
    return await client.call("process", prefer="respond-async")


async def declined(client: Client) -> Answered:
    await client.validate(card="4000000000000002")
    return await client.call("process")


async def shown_payment(client: Client) -> Answered:
    await client.process()
    return await client.call("show_payment")


async def listed(client: Client) -> Answered:
    await client.process()
    return await client.call("list_payments")


async def after_the_monitor_ran(client: Client) -> Answered:
    await Monitor(client.app).check()
    clock_of(client.app).advance(3)
    return await client.call("health")


async def without_a_database(client: Client) -> Answered:
    down = Failing(Unavailable("The database cannot be reached. Try again."))
    parts = {"outbox": down, "failed": down, "health_states": down}
    return await client.over(ping=down.call, **parts).call("health")


class Failing:
    """A port each of whose methods raises."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return self.call

    async def call(self, *_: object) -> None:
        raise self._error


Scenario = Callable[[Client], Awaitable[Answered]]

OWN: dict[tuple[str, int], Scenario] = {
    ("validate", 200): lambda client: client.validate(),
    ("validate", 400): lambda client: client.post("/validate", {"currency": "USD"}),
    ("validate", 409): replayed_by_reference,
    ("process", 200): lambda client: client.process(),
    ("process", 202): queued,
    ("process", 400): lambda client: client.post("/process", {}),
    ("process", 402): declined,
    ("process", 404): lambda client: client.call("process"),
    ("list_payments", 200): listed,
    ("list_payments", 400): lambda client: client.send("GET", "/payments", query="limit=0"),
    ("show_payment", 200): shown_payment,
    ("show_payment", 404): lambda client: client.call("show_payment"),
    ("health", 200): after_the_monitor_ran,
    ("health", 503): without_a_database,
}
"""What leads to an answer of one operation."""


async def with_a_live_key(client: Client, name: str) -> Answered:
    """The key was made while a processor took live payments."""
    key = await client.over(processor=ScriptedProcessor()).key("live")
    return await client.call(name, x_api_key=key)


async def with_a_wrong_key(client: Client, name: str) -> Answered:
    return await client.call(name, x_api_key="unknown")  # pragma: allowlist secret


async def while_in_flight(client: Client, name: str) -> Answered:
    await client.validate()
    first = await client.call(name, idempotency_key="k")
    assert first[0] == 202
    return await client.call(name, idempotency_key="k")


async def as_plain_text(client: Client, name: str) -> Answered:
    return await client.call(name, content_type="text/plain")


async def under_a_used_key(client: Client, name: str) -> Answered:
    await client.validate()
    operation = client.operations[name]
    other = json.dumps(OTHERS.get(name, operation.body)) + " "
    sent = {"content_type": "application/json", "idempotency_key": "k"}
    await client.send(operation.method, operation.path, other, **sent)
    await client.validate(payment_id="order-1002")
    return await client.call(name, idempotency_key="k")


async def over_the_rate(client: Client, name: str) -> Answered:
    limiter = LocalLimiter(client.app.clock, per_second=1, burst=1)
    hasty = client.over(limiter=limiter)
    key = await hasty.key()
    await hasty.call(name, x_api_key=key)
    return await hasty.call(name, x_api_key=key)


async def over_a_fault(client: Client, name: str) -> Answered:
    key = await client.key()
    return await client.over(api_keys=Failing(RuntimeError())).call(name, x_api_key=key)


async def over_no_database(client: Client, name: str) -> Answered:
    key = await client.key()
    down = Failing(Unavailable("The database cannot be reached. Try again."))
    return await client.over(api_keys=down).call(name, x_api_key=key)


ANY: dict[int, Callable[[Client, str], Awaitable[Answered]]] = {
    400: with_a_live_key,
    401: with_a_wrong_key,
    409: while_in_flight,
    415: as_plain_text,
    422: under_a_used_key,
    429: over_the_rate,
    500: over_a_fault,
    503: over_no_database,
}
"""What leads to an answer of any operation that can give it."""
