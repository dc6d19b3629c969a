"""The functions on AWS Lambda: the same responses as the server's, through every gateway."""

import asyncio
import base64
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import msgspec
import pytest
from moto import mock_aws

from remit.clock_and_ids import new_secret
from remit.domain.operation import ProcessorResult, Received
from remit.domain.payment import State
from remit.entrypoints.lambdas import delivery, health, processing, validation
from remit.entrypoints.lambdas.delivery import DeliveryFunction
from remit.entrypoints.lambdas.processing import ProcessingFunction
from remit.entrypoints.lambdas.proxy import ProxyApi
from remit.oversight.api_keys import create_key
from remit.oversight.audit.verification import VerifiedTrail, verify
from remit.payments.process import ProcessRequest, enqueue
from remit.ports.app import App
from remit.ports.processor import Instruction
from tests.builders import (
    GOOD_CARD,
    ScriptedProcessor,
    caller,
    clock_of,
    processor_of,
    replace_parts,
)
from tests.contracts.test_aws import settings_of_a_deployment
from tests.integration.test_http_bad_input import FINE, PROCESS_REJECTED, REJECTED, rejection_of
from tests.unit.steps import a_processed_payment, a_validated_payment, current, published, store_of

CONTEXT: Any = SimpleNamespace(
    function_name="payment-validation-test",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:payment-validation-test",
    aws_request_id="request-1",
)
CARRIERS = ("API Gateway", "load balancer", "load balancer with many values")


@pytest.fixture
async def key(in_memory: App) -> str:
    made = await create_key(
        in_memory, merchant_id="acme", mode="test", label="", random=new_secret()
    )
    return made.secret


def proxied(
    carrier: str, method: str, path: str, body: str | bytes | None, headers: dict[str, str]
) -> dict[str, Any]:
    """A request as the carrier hands it to a function."""
    path, _, query = path.partition("?")
    pairs = [pair.split("=") for pair in query.split("&")] if query else []
    event: dict[str, Any] = {
        "httpMethod": method,
        "path": path,
        "headers": {name.title(): value for name, value in headers.items()},
        "queryStringParameters": dict(pairs) or None,
        "body": body,
        "isBase64Encoded": False,
        "requestContext": {},
    }
    if isinstance(body, bytes):
        event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    if carrier != "API Gateway":
        event["requestContext"] = {"elb": {"targetGroupArn": "arn"}}
    if carrier == "load balancer with many values":
        event["multiValueHeaders"] = {n: [v] for n, v in event.pop("headers").items()}
        event["multiValueQueryStringParameters"] = {
            name: [value] for name, value in (event.pop("queryStringParameters") or {}).items()
        }
    return event


async def request(
    app: App, carrier: str, path: str, body: str | bytes | None, **headers: str
) -> tuple[int, Any, dict[str, str]]:
    """Status, body and headers of one response."""
    method = "GET" if body is None else "POST"
    sent = {"content-type": "application/json"} | headers
    response = await ProxyApi(app)(proxied(carrier, method, path, body, sent))
    many = response.get("multiValueHeaders")
    found = {name: values[0] for name, values in many.items()} if many else response["headers"]
    assert (many is not None) == carrier.endswith("many values")
    return response["statusCode"], json.loads(response["body"]), found


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_payment_is_processed_through_every_gateway(
    in_memory: App, key: str, carrier: str
) -> None:
    sent = {"x-api-key": key, "idempotency-key": "k1"}
    status, validated, headers = await request(
        in_memory, carrier, "/validate", json.dumps(FINE), **sent
    )
    assert (status, validated["status"]) == (200, "validated")
    assert len(headers["x-request-id"]) == 36
    step = json.dumps({"transaction_id": validated["transaction_id"]})
    status, processed, _ = await request(in_memory, carrier, "/process", step, **sent)
    assert (status, processed["status"]) == (200, "processed")
    status, again, headers = await request(in_memory, carrier, "/process", step, **sent)
    assert (status, again, headers["idempotent-replayed"]) == (200, processed, "true")
    path = "/payments?status=processed&limit=5"
    status, page, _ = await request(in_memory, carrier, path, None, **sent)
    assert (status, page["data"]) == (200, [processed])
    assert (await request(in_memory, carrier, "/health", None))[1]["status"] == "healthy"


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("name", REJECTED)
async def test_a_wrong_body_gets_the_same_error_as_from_the_server(
    in_memory: App, key: str, carrier: str, name: str
) -> None:
    body, error = REJECTED[name]
    status, response, _ = await request(in_memory, carrier, "/validate", body, **{"x-api-key": key})
    assert (status, response["error"]) == (400, error)
    assert rejection_of(in_memory) == ("validate", error["code"])


@pytest.mark.parametrize("name", PROCESS_REJECTED)
async def test_a_wrong_body_of_process_gets_the_same_error_as_from_the_server(
    in_memory: App, key: str, name: str
) -> None:
    body, error = PROCESS_REJECTED[name]
    status, response, _ = await request(
        in_memory, CARRIERS[0], "/process", body, **{"x-api-key": key}
    )
    assert (status, response["error"]) == (400, error)


async def test_a_request_without_a_key_or_with_a_wrong_body_is_rejected(
    in_memory: App, key: str
) -> None:
    async def status(body: str | bytes | None, **headers: str) -> int:
        return (await request(in_memory, CARRIERS[0], "/validate", body, **headers))[0]

    assert await status(json.dumps(FINE)) == 401
    assert await status(json.dumps(FINE).ljust(65_537), **{"x-api-key": key}) == 413
    assert await status("a=b", **{"x-api-key": key, "content-type": "text/plain"}) == 415
    event = proxied(CARRIERS[0], "POST", "/validate", None, {"x-api-key": key})
    event |= {"headers": None, "queryStringParameters": None}
    assert (await ProxyApi(in_memory)(event))["statusCode"] == 401


def inserted(app: App) -> dict[str, Any]:
    """The stream's event for every message that waits."""
    return {
        "Records": [
            {"eventName": "REMOVE", "dynamodb": {"SequenceNumber": "0"}},
            *(
                {
                    "eventName": "INSERT",
                    "dynamodb": {
                        "SequenceNumber": message.id,
                        "NewImage": {
                            "kind": {"S": "message"},
                            "data": {"S": json.dumps(_plain(message))},
                        },
                    },
                }
                for message in store_of(app).messages.values()
            ),
        ]
    }


def _plain(message: Any) -> Any:
    return msgspec.to_builtins(message)


async def test_each_message_of_the_stream_is_sent_once(in_memory: App) -> None:
    await a_processed_payment(in_memory)
    event = inserted(in_memory)
    function = DeliveryFunction(in_memory)
    assert await function(event) == {"batchItemFailures": []}
    kinds = [kind for kind, _ in published(in_memory.delivery.notifications)]
    assert kinds == ["payment_intent.created", "payment_intent.succeeded"]
    assert store_of(in_memory).messages == {}


async def test_the_stream_is_delivered_again_from_the_first_message_that_failed(
    in_memory: App,
) -> None:
    await a_processed_payment(in_memory)
    event = inserted(in_memory)
    event["Records"][2]["dynamodb"]["NewImage"]["data"] = {
        "S": event["Records"][2]["dynamodb"]["NewImage"]["data"]["S"].replace(
            "notifications", "alerts"
        )
    }

    class Down:
        async def publish(self, messages: object) -> None:
            raise OSError("down")

    function = DeliveryFunction(replace_parts(in_memory, alerts=Down()))
    failed = event["Records"][2]["dynamodb"]["SequenceNumber"]
    assert await function(event) == {"batchItemFailures": [{"itemIdentifier": failed}]}
    assert len(store_of(in_memory).messages) == 1


async def test_a_failed_message_stays_in_its_queue_and_is_handled_later(in_memory: App) -> None:
    good, bad = await a_validated_payment(in_memory), await a_validated_payment(in_memory)
    for payment in (good, bad):
        await enqueue(in_memory, caller(), ProcessRequest(payment.id))
    work = [m for m in store_of(in_memory).messages.values() if m.topic == "work"]
    records = [
        {"messageId": f"m{n}", "body": json.dumps(_plain(message))}
        for n, message in enumerate(work)
    ]
    function = ProcessingFunction(in_memory)
    processor_of(in_memory).faults.extend([None, "down"])
    assert await function({"Records": records}) == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert (await current(in_memory, good)).state is State.CAPTURED
    assert (await current(in_memory, bad)).state is State.UNKNOWN
    assert await function({"Records": records[1:]}) == {"batchItemFailures": []}
    assert (await current(in_memory, bad)).state is State.CAPTURED


async def test_messages_of_a_batch_do_not_wait_for_each_other(in_memory: App) -> None:
    """A slow processor is asked for all ten at once, within the time of one."""

    class SlowProcessor(ScriptedProcessor):
        def __init__(self) -> None:
            super().__init__()
            self._all_called = asyncio.Barrier(10)

        async def execute(self, instruction: Instruction) -> ProcessorResult | Received:
            await self._all_called.wait()
            return await super().execute(instruction)

    app = replace_parts(in_memory, processor=SlowProcessor())
    payments = [await a_validated_payment(app) for _ in range(10)]
    for payment in payments:
        await enqueue(app, caller(), ProcessRequest(payment.id))
    records = [
        {"messageId": message.id, "body": json.dumps(_plain(message))}
        for message in store_of(app).messages.values()
        if message.topic == "work"
    ]
    assert await ProcessingFunction(app)({"Records": records}) == {"batchItemFailures": []}
    assert {(await current(app, payment)).state for payment in payments} == {State.CAPTURED}


async def test_an_unreadable_body_stays_in_its_queue_and_stops_no_other(in_memory: App) -> None:
    payment = await a_validated_payment(in_memory)
    await enqueue(in_memory, caller(), ProcessRequest(payment.id))
    [work] = [m for m in store_of(in_memory).messages.values() if m.topic == "work"]
    records = [
        {"messageId": "m0", "body": "{"},
        {"messageId": "m1", "body": json.dumps(_plain(work))},
    ]
    response = await ProcessingFunction(in_memory)({"Records": records})
    assert response == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert (await current(in_memory, payment)).state is State.CAPTURED


async def test_a_tick_sweeps_relays_and_archives(in_memory: App) -> None:
    processor_of(in_memory).faults.append("lost")
    await a_processed_payment(in_memory)
    clock_of(in_memory).advance(60)
    found = await DeliveryFunction(in_memory)({"job": "tick"})
    assert found == {"swept": 1, "relayed": 3, "archived": 3, "expired": 0}
    assert isinstance(await verify(in_memory.audit.bucket), VerifiedTrail)


def metrics(capsys: pytest.CaptureFixture[str]) -> dict[str, list[float]]:
    """What was counted, as CloudWatch reads it out of the log."""
    counted: dict[str, list[float]] = {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith('{"_aws"'):
            written = json.loads(line)
            [described] = written["_aws"]["CloudWatchMetrics"]
            assert described["Namespace"] == "Remit"
            counted |= {metric["Name"]: written[metric["Name"]] for metric in described["Metrics"]}
    return counted


async def test_a_failed_message_is_counted_in_a_metric(
    in_memory: App, capsys: pytest.CaptureFixture[str]
) -> None:
    payment = await a_validated_payment(in_memory)
    await enqueue(in_memory, caller(), ProcessRequest(payment.id))
    [work] = [m for m in store_of(in_memory).messages.values() if m.topic == "work"]
    event = {"Records": [{"messageId": "m0", "body": json.dumps(_plain(work))}]}
    processor_of(in_memory).faults.append("down")
    await ProcessingFunction(in_memory)(event)
    assert metrics(capsys) == {"MessagesFailed": [1.0]}


async def test_notifications_are_counted_as_they_are_sent(
    in_memory: App, capsys: pytest.CaptureFixture[str]
) -> None:
    await a_processed_payment(in_memory)
    function = DeliveryFunction(in_memory)
    await function(inserted(in_memory))
    assert metrics(capsys) == {"payment_intent.created": [1.0], "payment_intent.succeeded": [1.0]}
    await a_validated_payment(in_memory)
    clock_of(in_memory).advance(90)
    await function({"job": "tick"})
    assert metrics(capsys) == {"OutboxAge": [90.0], "payment_intent.created": [1.0]}
    store_of(in_memory).postings.pop()
    await function({"job": "reconcile"})
    found = metrics(capsys)
    assert found["LedgerImbalances"] != [0.0]
    assert found["AuditBreaks"] == [0.0]


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of a function, with everything in it made."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        settings = settings_of_a_deployment()
        for name in (f for f in settings.__struct_fields__ if getattr(settings, f) is not None):
            if name in ("data_dir", "host", "port"):
                continue
            monkeypatch.setenv(f"REMIT_{name.upper()}", str(getattr(settings, name)))
        yield


def test_every_function_is_assembled_from_its_environment(deployed: None) -> None:
    event = proxied(CARRIERS[0], "GET", "/health", None, {})
    response = health.handler(event, CONTEXT)
    assert (response["statusCode"], json.loads(response["body"])["status"]) == (200, "healthy")
    assert health.handler({"source": "aws.events"}, CONTEXT)["status"] == "healthy"
    body = json.dumps({"amount": 1, "card": GOOD_CARD})
    event = proxied(CARRIERS[0], "POST", "/validate", body, {"content-type": "application/json"})
    assert validation.handler(event, CONTEXT)["statusCode"] == 401
    assert processing.handler({"Records": []}, CONTEXT) == {"batchItemFailures": []}
    assert delivery.handler({"Records": []}, CONTEXT) == {"batchItemFailures": []}
    assert delivery.handler({"job": "tick"}, CONTEXT)["archived"] == 0
    assert set(delivery.handler({"job": "reconcile"}, CONTEXT).values()) == {0}
    [kept] = boto3.client("dynamodb").scan(TableName="transactions-test")["Items"]
    assert kept["kind"] == {"S": "health_state"}
