"""The API as callers see it: every answer of the contract, over real HTTP."""

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from remit.delivery.relay import consume_batch, relay
from remit.domain.ids import is_id
from remit.oversight.audit import AuditArchiver
from remit.oversight.reconcile import reconcile
from remit.ports.app import App
from tests.builders import (
    GOOD_CARD,
    clock_of,
)
from tests.integration.conftest import Serve
from tests.integration.served import JSON, Served
from tests.service import Answered, Service
from tests.unit.arranged import store_of

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
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A whole `remit up`, with the simulated processor."""
    folder = tmp_path_factory.mktemp("running")
    folder.chmod(0o755)
    with Service(folder) as service:
        yield service.start()


def validate(served: Served, **fields: object) -> str:
    """The id of a payment just validated."""
    answer = served.post("/validate", ORDER | {"payment_id": None} | fields)
    assert answer.status == 200, answer
    transaction_id: str = answer.body["transaction_id"]
    return transaction_id


def process(served: Served, transaction_id: str, **headers: str) -> Answered:
    return served.post("/process", {"transaction_id": transaction_id}, **headers)


def problem(answer: Answered) -> tuple[int, str, str]:
    error = answer.body["error"]
    return answer.status, error["type"], error["code"]


async def drain(app: App) -> None:
    """Delivers and works until nothing is left to do."""
    while await relay(app) or await consume_batch(app) or await AuditArchiver(app).archive():
        pass


def test_a_payment_is_validated_and_processed(on_both: Served) -> None:
    validated = on_both.post("/validate", ORDER)
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
    processed = process(on_both, transaction_id)
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
    assert on_both.get(f"/payments/{transaction_id}").body == processed.body
    again = process(on_both, transaction_id)
    assert (again.status, again.body) == (200, processed.body)
    assert again.headers["idempotent-replayed"] == "true"
    assert on_both.run(_findings(on_both.app)) == []


async def _findings(app: App) -> list[object]:
    await drain(app)
    return [found async for found in reconcile(app)]


def test_only_the_amount_is_needed(served: Served) -> None:
    answer = served.post("/validate", {"amount": "5"})
    assert (answer.body["amount"], answer.body["currency"]) == ("5.00", "USD")
    assert "card" not in answer.body
    assert process(served, answer.body["transaction_id"]).body["status"] == "processed"


def test_every_answer_can_be_traced_and_is_not_kept(served: Served) -> None:
    answers = [
        served.get("/health"),
        served.get("/nowhere"),
        served.post("/validate", ORDER),
        served.post("/validate", {}),
        served.send("POST", "/validate", None, {}),
    ]
    assert all(is_id(answer.headers["x-request-id"]) for answer in answers)
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"] == "application/json"


def test_a_key_is_taken_from_each_of_its_three_places(served: Served) -> None:
    basic = base64.b64encode(f"{served.key}:".encode()).decode()
    for headers in (
        {"x-api-key": served.key},
        {"authorization": f"Bearer {served.key}"},
        {"authorization": f"bearer  {served.key}"},
        {"authorization": f"Basic {basic}"},
    ):
        assert served.send("GET", "/payments", None, headers).status == 200


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
def test_without_a_right_key_nothing_is_done(served: Served, headers: dict[str, str]) -> None:
    answer = served.send("POST", "/validate", json.dumps(ORDER), JSON | headers)
    assert problem(answer) == (401, "authentication_error", "api_key_invalid")
    assert (store_of(served.app).audit, store_of(served.app).payments) == ([], {})


def test_a_revoked_key_stops_working_within_its_second(served: Served) -> None:
    key = served.new_key("acme")
    assert served.get("/payments", key).status == 200
    key_id = next(k.id for k in store_of(served.app).api_keys.values() if k.last4 == key[-4:])
    served.run(served.app.database.api_keys.revoke(key_id, served.app.clock()))
    clock_of(served.app).advance(1.0)
    assert problem(served.get("/payments", key))[0] == 401


def test_other_merchants_and_modes_do_not_see_a_payment(on_both: Served) -> None:
    transaction_id = validate(on_both)
    for key in (on_both.new_key("other"), on_both.new_key("acme", "live")):
        assert on_both.get("/payments", key).body == {"data": [], "next_cursor": None}
        assert problem(on_both.get(f"/payments/{transaction_id}", key))[0] == 404
        answer = on_both.post("/process", {"transaction_id": transaction_id}, x_api_key=key)
        assert problem(answer) == (404, "invalid_request_error", "not_found")
    assert process(on_both, transaction_id).status == 200


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
    running: Service, number: str, code: str, decline_code: str
) -> None:
    made = running.call("POST", "/validate", {"amount": 5, "card": number})
    step = {"transaction_id": made.body["transaction_id"]}
    declined = running.call("POST", "/process", step)
    assert problem(declined) == (402, "card_error", code)
    assert declined.body["error"]["decline_code"] == decline_code
    shown = running.call("GET", f"/payments/{step['transaction_id']}").body
    assert (shown["status"], shown["failure"]["decline_code"]) == ("declined", decline_code)
    again = running.call("POST", "/process", step)
    assert (again.status, again.headers["idempotent-replayed"]) == (402, "true")
    retried = running.call("POST", "/process", step | {"card": GOOD_CARD})
    assert (retried.status, retried.body["status"]) == (200, "processed")


def test_the_same_key_and_request_get_the_first_answer(on_both: Served) -> None:
    first = on_both.post("/validate", ORDER, idempotency_key="k1")
    again = on_both.post("/validate", ORDER, idempotency_key="k1")
    assert again.body == first.body
    assert again.headers["idempotent-replayed"] == "true"
    transaction_id = first.body["transaction_id"]
    processed = process(on_both, transaction_id, idempotency_key="k1")
    assert "idempotent-replayed" not in processed.headers
    repeated = process(on_both, transaction_id, idempotency_key="k1")
    assert (repeated.body, repeated.headers["idempotent-replayed"]) == (processed.body, "true")


def test_the_same_key_with_another_request_is_refused(on_both: Served) -> None:
    on_both.post("/validate", ORDER, idempotency_key="k1")
    other = on_both.post("/validate", ORDER | {"amount": 1}, idempotency_key="k1")
    assert problem(other) == (422, "idempotency_error", "idempotency_key_reused")
    ids = [validate(on_both), validate(on_both)]
    assert process(on_both, ids[0], idempotency_key="k2").status == 200
    assert problem(process(on_both, ids[1], idempotency_key="k2"))[0] == 422
    assert process(on_both, ids[1], idempotency_key="k3").status == 200


def test_a_refused_request_leaves_its_key_free(on_both: Served) -> None:
    bad = on_both.post("/validate", ORDER | {"amount": -1}, idempotency_key="k1")
    assert bad.status == 400
    assert on_both.post("/validate", ORDER, idempotency_key="k1").status == 200


def test_a_reference_names_one_payment(on_both: Served) -> None:
    first = on_both.post("/validate", ORDER)
    again = on_both.post("/validate", ORDER)
    assert (again.body, again.headers["idempotent-replayed"]) == (first.body, "true")
    other = on_both.post("/validate", ORDER | {"amount": "1.00"})
    assert problem(other) == (409, "invalid_state_error", "payment_id_taken")


def test_a_worker_does_what_may_be_done_later(on_both: Served) -> None:
    transaction_id = validate(on_both)
    answer = process(on_both, transaction_id, prefer="respond-async", idempotency_key="k")
    assert (answer.status, answer.body["status"]) == (202, "processing")
    again = process(on_both, transaction_id, prefer="respond-async", idempotency_key="k")
    assert (again.status, again.headers["idempotent-replayed"]) == (202, "true")
    on_both.run(drain(on_both.app))
    assert on_both.get(f"/payments/{transaction_id}").body["status"] == "processed"
    assert process(on_both, transaction_id, prefer="respond-async").status == 200


def test_payments_are_paged_newest_first_and_each_is_seen_once(on_both: Served) -> None:
    made = [validate(on_both, customer_id=f"cus_{n % 2}") for n in range(7)]
    process(on_both, made[3])
    process(on_both, made[4])
    seen: list[str] = []
    query = "limit=3"
    while query:
        page = on_both.get(f"/payments?{query}").body
        seen += [payment["transaction_id"] for payment in page["data"]]
        query = f"limit=3&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert seen == made[::-1]

    def listed(query: str) -> list[str]:
        return [found["transaction_id"] for found in on_both.get(f"/payments?{query}").body["data"]]

    assert listed("status=processed") == [made[4], made[3]]
    assert listed("customer_id=cus_1") == [made[5], made[3], made[1]]
    assert listed("customer_id=cus_1&status=processed") == [made[3]]
    assert listed("payment_id=order-1001") == []


def test_requests_at_once_each_get_their_own_answer(served: Served) -> None:
    async def many() -> list[int]:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(None, validate, served) for _ in range(50)]
        made = await asyncio.gather(*calls)
        paid = [loop.run_in_executor(None, process, served, one) for one in made]
        assert len(set(made)) == 50
        return [answer.status for answer in await asyncio.gather(*paid)]

    assert asyncio.run(many()) == [200] * 50


def test_the_currency_and_the_largest_amount_are_settings(serve_memory: Serve) -> None:
    served = serve_memory(default_currency="JPY", max_amount_minor=500)
    assert served.post("/validate", {"amount": 500}).body["currency"] == "JPY"
    answer = served.post("/validate", {"amount": 501})
    assert answer.body["error"]["message"] == "amount must be at most 500 JPY."
