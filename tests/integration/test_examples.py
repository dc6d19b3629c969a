"""Every example in the OpenAPI document is what the service really answers, word for word."""

import json

import pytest

from remit.adapters.processors.simulated import processor as simulated
from remit.http.openapi import document
from remit.http.routes import ROUTES
from remit.http.two_step.examples import PAYMENT_REQUEST, TEST_CARDS, SimulatedCard
from tests.integration.conftest import Serve
from tests.integration.example_answers import OF_THE_SERVER, TIMES_OUT, Client, operations

OPERATIONS = operations(ROUTES)
DESCRIPTION = document(ROUTES, "simulated")["info"]["description"]


@pytest.mark.parametrize(
    ("simulator", "name", "status"),
    [
        pytest.param(TIMES_OUT if status == 409 else None, name, status, id=f"{name}-{status}")
        for name, operation in OPERATIONS.items()
        for status in operation.answers
        if status not in OF_THE_SERVER
    ],
    indirect=["simulator"],
)
async def test_an_example_is_what_the_service_answers(
    simulator: Client, name: str, status: int
) -> None:
    answered = await simulator.answer(name, status)
    assert answered == (status, OPERATIONS[name].answers[status])


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.body])
def test_the_examples_of_a_body_that_the_server_refuses(serve_memory: Serve, name: str) -> None:
    served = serve_memory(body_timeout_seconds=0.2)
    _, path, _, answers = OPERATIONS[name]
    large = served.post(path, {"currency": "x" * 70_000})
    assert (large.status, large.body["error"]) == (413, answers[413]["error"])
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {served.key}\r\n"
    with served.connect() as connection:
        connection.sendall(
            f"{head}content-type: application/json\r\ncontent-length: 9\r\n\r\n".encode()
        )
        late = connection.recv(4096).decode()
    received = json.loads(late.rpartition("\r\n\r\n")[2])
    expected = json.loads(json.dumps(answers[408]["error"]).replace("10 s", "0.2 s"))
    assert late.startswith("HTTP/1.1 408 ")
    assert received["error"] == expected


@pytest.mark.parametrize("card", TEST_CARDS, ids=lambda card: card.number)
async def test_a_test_card_does_what_the_table_says(simulator: Client, card: SimulatedCard) -> None:
    answered = await simulator.post("/validate", PAYMENT_REQUEST | {"card": card.number})
    if answered[0] == 200:
        simulator.transaction_id = answered[1]["transaction_id"]
        answered = await simulator.call("process")
    error = answered[1].get("error", {})
    assert (answered[0], error.get("code"), error.get("decline_code")) == card[1:]
    assert f"`{card.number}`" in DESCRIPTION


def test_every_card_that_the_simulator_declines_is_in_the_table() -> None:
    assert {card.number for card in TEST_CARDS if card.status == 402} == set(simulated._DECLINES)


def test_the_table_of_test_cards_is_not_shown_for_a_real_processor() -> None:
    described = document(ROUTES, "stripe")["info"]["description"]
    assert "# Test cards" not in described
    assert [card.number for card in TEST_CARDS if card.number in described] == []
