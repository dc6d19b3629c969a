"""The journey through lambda-dynamodb, over real HTTP, with permissions enforced."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from remit.domain.change import Message
from remit.oversight.audit.verification import VerifiedTrail, verify
from remit.oversight.reconcile import reconcile
from tests.emulated.harness import BAD_BODIES, DOWN, assert_refused, eventually, of_topology
from tests.emulated.lambda_dynamodb.stack import LambdaDynamodb

pytestmark = of_topology("lambda-dynamodb")


@pytest.fixture
def quick_retries(stack: LambdaDynamodb) -> Iterator[None]:
    """The failure queue hands a message out again after a second, not after three minutes."""
    sqs = stack.client("sqs")
    url = sqs.get_queue_url(QueueName=stack.names("queue", "failed-transactions"))["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})
    yield
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "180"})


def test_the_clock_runs_the_monitor(stack: LambdaDynamodb) -> None:
    """Once a minute since the stack was deployed. It comes first: as long as no test has run the
    monitor, what the monitor has recorded is from the clock's own runs.
    """
    before = stack.item("health").get("version") if "health-monitor" in stack.ran else None
    eventually(lambda: stack.item("health").get("version") != before, 100)


def test_a_payment_is_validated_stored_and_processed(stack: LambdaDynamodb) -> None:
    transaction_id = stack.validate()
    assert stack.item(transaction_id)["status"] == {"S": "validated"}
    answer = stack.process(transaction_id)
    assert (answer.status_code, answer.json()["status"]) == (200, "processed")
    item = stack.item(transaction_id)
    assert item["status"] == {"S": "processed"}
    assert item["processed_at"]["S"] >= item["created_at"]["S"]
    assert {item["amount"]["S"], item["currency"]["S"]} == {"99.99", "USD"}
    again = stack.process(transaction_id)
    assert (again.status_code, again.json()) == (200, answer.json())
    assert again.headers["idempotent-replayed"] == "true"
    shown = stack.send("GET", f"/payments/{transaction_id}")
    assert (shown.status_code, shown.json()) == (200, answer.json())
    listed = stack.send("GET", "/payments?limit=100")
    assert answer.json() in listed.json()["data"]


@pytest.mark.parametrize("body", BAD_BODIES)
def test_a_bad_body_is_refused(stack: LambdaDynamodb, body: bytes) -> None:
    answer = stack.send("POST", "/validate", body)
    assert_refused(answer, 400, "invalid_request_error")


def test_what_is_unknown_and_who_is_unknown(stack: LambdaDynamodb) -> None:
    unknown = "01890000-0000-7000-8000-000000000000"
    assert stack.process(unknown).status_code == 404
    assert stack.send("GET", f"/payments/{unknown}").status_code == 404
    assert stack.send("GET", "/nowhere").status_code == 404
    assert stack.send("POST", "/validate", {"amount": 1}, x_api_key="").status_code == 401
    assert (
        stack.send("POST", "/validate", {"amount": 1}, x_api_key=f"{stack.key}x").status_code == 401
    )


def test_fifty_processes_of_one_payment_charge_once(stack: LambdaDynamodb) -> None:
    transaction_id = stack.validate()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: stack.process(transaction_id), range(50)))
    # 202: where fifty functions start at once, the processor's second can pass unanswered.
    assert {answer.status_code for answer in answers} <= {200, 202, 409, 429, 502, 503}
    final = eventually(
        lambda: (again := stack.process(transaction_id)).status_code == 200 and again, 180
    )
    assert final.json()["status"] == "processed"
    charged = stack.client("dynamodb").query(
        TableName=stack.names("table", "transactions"),
        IndexName="by_payment",
        KeyConditionExpression="payment_id = :id AND begins_with(transaction_id, :ledger)",
        ExpressionAttributeValues={":id": {"S": transaction_id}, ":ledger": {"S": "ledger#"}},
    )
    assert charged["Count"] == 1


def test_work_that_fails_five_times_is_a_dead_letter_and_redriving_completes_it(
    stack: LambdaDynamodb, quick_retries: None
) -> None:
    app = stack.app()
    transaction_id = stack.validate(DOWN)
    assert_refused(stack.process(transaction_id), 503, "api_error")
    assert stack.process(transaction_id, prefer="respond-async").status_code == 202

    def dead_letters() -> list[Message]:
        found = asyncio.run(app.delivery.failed.dead_letters(100))
        return [one.message for one in found if one.message.payment_id == transaction_id]

    [dead] = eventually(dead_letters, 180)
    assert dead.kind == "operation"
    assert stack.item(transaction_id)["status"] == {"S": "processing"}
    with stack.with_settings("payment-processing", REMIT_SIMULATOR_DOWN_AT="667"):
        assert asyncio.run(app.delivery.failed.redrive(dead.id)) == 1
        eventually(lambda: stack.item(transaction_id)["status"] == {"S": "processed"}, 180)
    assert dead_letters() == []

    def is_as_before() -> bool:
        """The emulator may have given a call that was under way a container with the variables of
        then, and keeps that for later calls.
        """
        if stack.process(stack.validate("6.67")).status_code == 200:
            return True
        stack.configure("payment-processing", stack.deployment.settings("payment-processing"))
        return False

    eventually(is_as_before, 60)


def test_every_change_of_status_is_notified(stack: LambdaDynamodb) -> None:
    told = stack.subscribe("payment-notifications")
    transaction_id = stack.validate()
    stack.process(transaction_id)

    def kinds() -> list[str]:
        return [one["kind"] for one in told() if one["payment_id"] == transaction_id]

    eventually(lambda: kinds() == ["payment_intent.created", "payment_intent.succeeded"])


def test_the_audit_trail_is_sealed_and_the_books_agree(stack: LambdaDynamodb) -> None:
    transaction_id = stack.validate()
    stack.process(transaction_id)
    app = stack.app()

    def is_sealed() -> bool:
        """By this run, or by the clock's own that came just before."""
        stack.run("payment-delivery", "tick")
        return asyncio.run(app.audit.log.unarchived(1)) == []

    eventually(is_sealed)
    verified = asyncio.run(verify(app.audit.bucket))
    assert isinstance(verified, VerifiedTrail)
    assert verified.entries >= 3

    async def discrepancies() -> list[Any]:
        return [found async for found in reconcile(app)]

    assert asyncio.run(discrepancies()) == []
    assert set(stack.run("payment-delivery", "reconcile").values()) == {0}


def test_an_alarm_reaches_the_topic(stack: LambdaDynamodb) -> None:
    told = stack.subscribe("payment-alarms")
    stack.client("cloudwatch").put_metric_data(
        Namespace="Remit",
        MetricData=[
            {
                "MetricName": "AuditBreaks",
                "Dimensions": [{"Name": "service", "Value": stack.names("function", "payment")}],
                "Value": 1,
            }
        ],
    )
    name = stack.names("alarm", "payment-audit-break")

    def fired() -> list[dict[str, Any]]:
        return [one for one in told() if one.get("AlarmName") == name]

    assert eventually(fired)[0]["NewStateValue"] == "ALARM"


def test_health_turns_unhealthy_and_back_with_one_alert_each_way(stack: LambdaDynamodb) -> None:
    assert stack.run("health-monitor", "watch")["status"] == "healthy"
    assert stack.send("GET", "/health").json()["status"] == "healthy"
    told = stack.subscribe("payment-alarms")

    def alerts() -> list[str]:
        return [one["kind"] for one in told() if str(one.get("kind")).startswith("health.")]

    for _ in range(3):
        stack.latency(30_000)
        stack.run("health-monitor", "watch")
    answer = stack.send("GET", "/health")
    assert (answer.status_code, answer.json()["checks"]["monitor"]["ok"]) == (503, False)
    eventually(lambda: alerts() == ["health.failing"])
    stack.latency(0)
    for _ in range(2):
        assert stack.run("health-monitor", "watch")["status"] == "healthy"
    assert stack.send("GET", "/health").status_code == 200
    eventually(lambda: alerts() == ["health.failing", "health.recovered"])
