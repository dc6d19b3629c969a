"""The API as callers see it: every answer of the contract, over real HTTP."""

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from remit.delivery.relay import relay
from remit.delivery.work_messages import handle_batch
from remit.domain.ids import is_id
from remit.oversight.audit.archiver import AuditArchiver
from remit.oversight.reconcile import reconcile
from remit.ports.app import App
from tests.builders import (
    GOOD_CARD,
    clock_of,
)
from tests.integration.conftest import Serve
from tests.integration.http_server import JSON, HttpServer
from tests.service import Service, ServiceResponse
from tests.unit.steps import store_of

ORDER: dict[str, Any] = {
    "amount": 99.99,
    "currency": "USD",
    "customer_id": "cus_1",
    "payment_id": "order-1001",
    "card": {"number": GOOD_CARD, "exp_month": 12, "exp_year": 2030, "cvc": "123"},
    "metadata": {"basket": "7"},
}
NOW = "2026-11-20T12:00:00Z"


@pytest.fixture(scope="module")
def whole_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A whole `remit up`, with the simulated processor."""
    folder = tmp_path_factory.mktemp("service")
    folder.chmod(0o755)
    with Service(folder) as service:
        yield service.start()


def validate(server: HttpServer, **fields: object) -> str:
    """The id of a payment just validated."""
    response = server.post("/validate", ORDER | {"payment_id": None} | fields)
    assert response.status == 200, response
    transaction_id: str = response.body["transaction_id"]
    return transaction_id


def process(server: HttpServer, transaction_id: str, **headers: str) -> ServiceResponse:
    return server.post("/process", {"transaction_id": transaction_id}, **headers)


def problem(response: ServiceResponse) -> tuple[int, str, str]:
    error = response.body["error"]
    return response.status, error["type"], error["code"]


async def drain(app: App) -> None:
    """Delivers and works until nothing is left to do."""
    while await relay(app) or await handle_batch(app) or await AuditArchiver(app).archive():
        pass


def test_a_payment_is_validated_and_processed(each_server: HttpServer) -> None:
    validated = each_server.post("/validate", ORDER)
    transaction_id = validated.body["transaction_id"]
    assert is_id(transaction_id)
    assert (validated.status, validated.body) == (
        200,
        {
            "status": "validated",
            "transaction_id": transaction_id,
            "message": "Payment validated successfully",
            "amount": "99.99",
            "currency": "USD",
            "card": {"brand": "visa", "last4": "4242"},
        },
    )
    processed = process(each_server, transaction_id)
    assert (processed.status, processed.body) == (
        200,
        {
            "status": "processed",
            "transaction_id": transaction_id,
            "amount": "99.99",
            "currency": "USD",
            "created_at": NOW,
            "processed_at": NOW,
            "amount_captured": "99.99",
            "amount_refunded": "0.00",
            "customer_id": "cus_1",
            "payment_id": "order-1001",
            "metadata": {"basket": "7"},
            "card": {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2030},
        },
    )
    assert "idempotent-replayed" not in processed.headers
    assert each_server.get(f"/payments/{transaction_id}").body == processed.body
    again = process(each_server, transaction_id)
    assert (again.status, again.body) == (200, processed.body)
    assert again.headers["idempotent-replayed"] == "true"
    assert each_server.run(_findings(each_server.app)) == []


async def _findings(app: App) -> list[object]:
    await drain(app)
    return [found async for found in reconcile(app)]


def test_only_the_amount_is_needed(server: HttpServer) -> None:
    response = server.post("/validate", {"amount": "5"})
    assert (response.body["amount"], response.body["currency"]) == ("5.00", "USD")
    assert "card" not in response.body
    assert process(server, response.body["transaction_id"]).body["status"] == "processed"


def test_every_response_has_a_request_id_and_is_not_cached(server: HttpServer) -> None:
    responses = [
        server.get("/health"),
        server.get("/nowhere"),
        server.post("/validate", ORDER),
        server.post("/validate", {}),
        server.send("POST", "/validate", None, {}),
    ]
    assert all(is_id(response.headers["x-request-id"]) for response in responses)
    assert len({response.headers["x-request-id"] for response in responses}) == len(responses)
    for response in responses:
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-type"] == "application/json"


def test_a_key_is_read_from_each_of_its_three_places(server: HttpServer) -> None:
    basic = base64.b64encode(f"{server.key}:".encode()).decode()
    for headers in (
        {"x-api-key": server.key},
        {"authorization": f"Bearer {server.key}"},
        {"authorization": f"bearer  {server.key}"},
        {"authorization": f"Basic {basic}"},
    ):
        assert server.send("GET", "/payments", None, headers).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": "sk_test_" + "A" * 43},
        {"x-api-key": "é"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer nonsense"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic " + base64.b64encode(b"\xff:").decode()},
        {"authorization": "Digest x"},
    ],
    ids=repr,
)
def test_a_request_without_a_valid_key_is_rejected_and_leaves_nothing(
    server: HttpServer, headers: dict[str, str]
) -> None:
    response = server.send("POST", "/validate", json.dumps(ORDER), JSON | headers)
    assert problem(response) == (401, "authentication_error", "api_key_invalid")
    assert (store_of(server.app).audit, store_of(server.app).payments) == ([], {})


def test_a_revoked_key_stops_working_within_its_second(server: HttpServer) -> None:
    key = server.new_key("acme")
    assert server.get("/payments", key).status == 200
    key_id = next(k.id for k in store_of(server.app).api_keys.values() if k.last4 == key[-4:])
    server.run(server.app.database.api_keys.revoke(key_id, server.app.clock()))
    clock_of(server.app).advance(1.0)
    assert problem(server.get("/payments", key))[0] == 401


def test_other_merchants_and_modes_do_not_see_a_payment(each_server: HttpServer) -> None:
    transaction_id = validate(each_server)
    for key in (each_server.new_key("other"), each_server.new_key("acme", "live")):
        assert each_server.get("/payments", key).body == {"data": [], "next_cursor": None}
        assert problem(each_server.get(f"/payments/{transaction_id}", key))[0] == 404
        response = each_server.post("/process", {"transaction_id": transaction_id}, x_api_key=key)
        assert problem(response) == (404, "invalid_request_error", "not_found")
    assert process(each_server, transaction_id).status == 200


@pytest.mark.parametrize(
    ("number", "code", "decline_code"),
    [
        ("4000000000000002", "card_declined", "generic_decline"),
        ("4000000000009995", "card_declined", "insufficient_funds"),
        ("4000000000000069", "expired_card", "expired_card"),
        ("4000000000000127", "incorrect_cvc", "incorrect_cvc"),
        ("4000000000000119", "processing_error", "processing_error"),
        ("4100000000000019", "card_declined", "fraudulent"),
    ],
)
def test_each_test_card_is_declined_as_the_contract_says(
    whole_service: Service, number: str, code: str, decline_code: str
) -> None:
    made = whole_service.call("POST", "/validate", {"amount": 5, "card": number})
    step = {"transaction_id": made.body["transaction_id"]}
    declined = whole_service.call("POST", "/process", step)
    assert problem(declined) == (402, "card_error", code)
    assert declined.body["error"]["decline_code"] == decline_code
    payment = whole_service.call("GET", f"/payments/{step['transaction_id']}").body
    assert (payment["status"], payment["failure"]["decline_code"]) == ("declined", decline_code)
    again = whole_service.call("POST", "/process", step)
    assert (again.status, again.headers["idempotent-replayed"]) == (402, "true")
    retried = whole_service.call("POST", "/process", step | {"card": GOOD_CARD})
    assert (retried.status, retried.body["status"]) == (200, "processed")


def test_the_same_key_and_request_get_the_first_response(each_server: HttpServer) -> None:
    first = each_server.post("/validate", ORDER, idempotency_key="k1")
    again = each_server.post("/validate", ORDER, idempotency_key="k1")
    assert again.body == first.body
    assert again.headers["idempotent-replayed"] == "true"
    transaction_id = first.body["transaction_id"]
    processed = process(each_server, transaction_id, idempotency_key="k1")
    assert "idempotent-replayed" not in processed.headers
    repeated = process(each_server, transaction_id, idempotency_key="k1")
    assert (repeated.body, repeated.headers["idempotent-replayed"]) == (processed.body, "true")


def test_the_same_key_with_another_request_is_rejected(each_server: HttpServer) -> None:
    each_server.post("/validate", ORDER, idempotency_key="k1")
    other = each_server.post("/validate", ORDER | {"amount": 1}, idempotency_key="k1")
    assert problem(other) == (422, "idempotency_error", "idempotency_key_reused")
    ids = [validate(each_server), validate(each_server)]
    assert process(each_server, ids[0], idempotency_key="k2").status == 200
    assert problem(process(each_server, ids[1], idempotency_key="k2"))[0] == 422
    assert process(each_server, ids[1], idempotency_key="k3").status == 200


def test_a_rejected_request_leaves_its_key_free(each_server: HttpServer) -> None:
    bad = each_server.post("/validate", ORDER | {"amount": -1}, idempotency_key="k1")
    assert bad.status == 400
    assert each_server.post("/validate", ORDER, idempotency_key="k1").status == 200


def test_a_reference_names_one_payment(each_server: HttpServer) -> None:
    first = each_server.post("/validate", ORDER)
    again = each_server.post("/validate", ORDER)
    assert (again.body, again.headers["idempotent-replayed"]) == (first.body, "true")
    other = each_server.post("/validate", ORDER | {"amount": "1.00"})
    assert problem(other) == (409, "invalid_state_error", "payment_id_taken")


def test_a_worker_processes_a_payment_that_was_accepted_for_later(each_server: HttpServer) -> None:
    transaction_id = validate(each_server)
    response = process(each_server, transaction_id, prefer="respond-async", idempotency_key="k")
    assert (response.status, response.body["status"]) == (202, "processing")
    again = process(each_server, transaction_id, prefer="respond-async", idempotency_key="k")
    assert (again.status, again.headers["idempotent-replayed"]) == (202, "true")
    each_server.run(drain(each_server.app))
    assert each_server.get(f"/payments/{transaction_id}").body["status"] == "processed"
    assert process(each_server, transaction_id, prefer="respond-async").status == 200


def test_payments_are_paged_newest_first_and_each_is_seen_once(each_server: HttpServer) -> None:
    made = [validate(each_server, customer_id=f"cus_{n % 2}") for n in range(7)]
    process(each_server, made[3])
    process(each_server, made[4])
    seen: list[str] = []
    query = "limit=3"
    while query:
        page = each_server.get(f"/payments?{query}").body
        seen += [payment["transaction_id"] for payment in page["data"]]
        query = f"limit=3&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert seen == made[::-1]

    def listed(query: str) -> list[str]:
        return [
            found["transaction_id"] for found in each_server.get(f"/payments?{query}").body["data"]
        ]

    assert listed("status=processed") == [made[4], made[3]]
    assert listed("customer_id=cus_1") == [made[5], made[3], made[1]]
    assert listed("customer_id=cus_1&status=processed") == [made[3]]
    assert listed("payment_id=order-1001") == []


def test_requests_at_once_each_get_their_own_response(server: HttpServer) -> None:
    async def many() -> list[int]:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(None, validate, server) for _ in range(50)]
        made = await asyncio.gather(*calls)
        paid = [loop.run_in_executor(None, process, server, one) for one in made]
        assert len(set(made)) == 50
        return [response.status for response in await asyncio.gather(*paid)]

    assert asyncio.run(many()) == [200] * 50


def test_the_currency_and_the_largest_amount_are_settings(serve_memory: Serve) -> None:
    server = serve_memory(default_currency="JPY", max_amount_minor=500)
    assert server.post("/validate", {"amount": 500}).body["currency"] == "JPY"
    response = server.post("/validate", {"amount": 501})
    assert response.body["error"]["message"] == "amount must be at most 500 JPY."
