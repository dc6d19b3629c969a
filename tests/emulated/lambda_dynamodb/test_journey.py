"""The journey through the deployed topology, over real HTTP, with permissions enforced."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from remit.domain.change import Message
from remit.oversight.audit import VerifiedTrail, verify
from remit.oversight.reconcile import reconcile
from tests.emulated.conftest import DOWN, Deployed, eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(480),
    pytest.mark.xdist_group("emulator"),
]


def test_a_payment_is_validated_stored_and_processed(deployed: Deployed) -> None:
    transaction_id = deployed.validate()
    assert deployed.item(transaction_id)["status"] == {"S": "validated"}
    answer = deployed.process(transaction_id)
    assert (answer.status, answer.body["status"]) == (200, "processed")
    item = deployed.item(transaction_id)
    assert item["status"] == {"S": "processed"}
    assert item["processed_at"]["S"] >= item["created_at"]["S"]
    assert {item["amount"]["S"], item["currency"]["S"]} == {"99.99", "USD"}
    again = deployed.process(transaction_id)
    assert (again.status, again.body) == (200, answer.body)
    assert again.headers["idempotent-replayed"] == "true"
    shown = deployed.ask("GET", f"/payments/{transaction_id}")
    assert (shown.status, shown.body) == (200, answer.body)
    listed = deployed.ask("GET", "/payments?limit=100")
    assert answer.body in listed.body["data"]


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b'{"amount": -5}', b'{"amount": NaN}'])
def test_a_bad_body_is_refused(deployed: Deployed, body: bytes) -> None:
    answer = deployed.ask("POST", "/validate", body)
    assert (answer.status, answer.body["error"]["type"]) == (400, "invalid_request_error")


def test_what_is_unknown_and_who_is_unknown(deployed: Deployed) -> None:
    unknown = "01890000-0000-7000-8000-000000000000"
    assert deployed.process(unknown).status == 404
    assert deployed.ask("GET", f"/payments/{unknown}").status == 404
    assert deployed.ask("GET", "/nowhere").status == 404
    assert deployed.ask("POST", "/validate", {"amount": 1}, x_api_key="").status == 401
    assert (
        deployed.ask("POST", "/validate", {"amount": 1}, x_api_key=f"{deployed.key}x").status == 401
    )


def test_fifty_processes_of_one_payment_charge_once(deployed: Deployed) -> None:
    transaction_id = deployed.validate()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: deployed.process(transaction_id), range(50)))
    # 202: where fifty functions start at once, the processor's second can pass unanswered.
    assert {answer.status for answer in answers} <= {200, 202, 409, 429, 502, 503}
    final = eventually(
        lambda: (again := deployed.process(transaction_id)).status == 200 and again, 180
    )
    assert final.body["status"] == "processed"
    charged = deployed.client("dynamodb").query(
        TableName=deployed.names("table", "transactions"),
        IndexName="by_payment",
        KeyConditionExpression="payment_id = :id AND begins_with(transaction_id, :ledger)",
        ExpressionAttributeValues={":id": {"S": transaction_id}, ":ledger": {"S": "ledger#"}},
    )
    assert charged["Count"] == 1


def test_work_that_fails_five_times_is_a_dead_letter_and_redriving_completes_it(
    deployed: Deployed, quick_retries: None
) -> None:
    app = deployed.app()
    transaction_id = deployed.validate(DOWN)
    answer = deployed.process(transaction_id)
    assert (answer.status, answer.body["error"]["type"]) == (503, "api_error")

    def dead_letters() -> list[Message]:
        found = asyncio.run(app.delivery.failed.dead_letters(100))
        return [one.message for one in found if one.message.payment_id == transaction_id]

    [dead] = eventually(dead_letters, 180)
    assert dead.kind == "process"
    assert deployed.item(transaction_id)["status"] == {"S": "validated"}
    with deployed.configured("payment-processing", REMIT_SIMULATOR_DOWN_AT="667"):
        assert asyncio.run(app.delivery.failed.redrive(dead.id)) == 1
        eventually(lambda: deployed.item(transaction_id)["status"] == {"S": "processed"}, 180)
    assert dead_letters() == []


def test_every_change_of_status_is_notified(deployed: Deployed) -> None:
    told = deployed.subscribe("payment-notifications")
    transaction_id = deployed.validate()
    deployed.process(transaction_id)

    def kinds() -> list[str]:
        return [one["kind"] for one in told() if one["payment_id"] == transaction_id]

    eventually(lambda: kinds() == ["payment_intent.created", "payment_intent.succeeded"])


def test_the_audit_trail_is_sealed_and_the_books_agree(deployed: Deployed) -> None:
    transaction_id = deployed.validate()
    deployed.process(transaction_id)
    app = deployed.app()

    def is_sealed() -> bool:
        """By this run, or by the clock's own that came just before."""
        deployed.run("payment-delivery", "tick")
        return asyncio.run(app.audit.log.unarchived(1)) == []

    eventually(is_sealed)
    verified = asyncio.run(verify(app.audit.bucket))
    assert isinstance(verified, VerifiedTrail)
    assert verified.entries >= 3

    async def discrepancies() -> list[Any]:
        return [found async for found in reconcile(app)]

    assert asyncio.run(discrepancies()) == []
    assert set(deployed.run("payment-delivery", "reconcile").values()) == {0}


def test_an_alarm_reaches_the_topic(deployed: Deployed) -> None:
    told = deployed.subscribe("payment-alarms")
    deployed.client("cloudwatch").put_metric_data(
        Namespace="Remit",
        MetricData=[
            {
                "MetricName": "AuditBreaks",
                "Dimensions": [{"Name": "service", "Value": deployed.names("function", "payment")}],
                "Value": 1,
            }
        ],
    )
    name = deployed.names("alarm", "payment-audit-break")

    def fired() -> list[dict[str, Any]]:
        return [one for one in told() if one.get("AlarmName") == name]

    assert eventually(fired)[0]["NewStateValue"] == "ALARM"


def test_health_turns_unhealthy_and_back_with_one_alert_each_way(deployed: Deployed) -> None:
    assert deployed.run("health-monitor", "watch")["status"] == "healthy"
    assert deployed.ask("GET", "/health").body["status"] == "healthy"
    told = deployed.subscribe("payment-alarms")

    def alerts() -> list[str]:
        return [one["kind"] for one in told() if str(one.get("kind")).startswith("health.")]

    for _ in range(3):
        deployed.latency(30_000)
        deployed.run("health-monitor", "watch")
    answer = deployed.ask("GET", "/health")
    assert (answer.status, answer.body["checks"]["monitor"]["ok"]) == (503, False)
    eventually(lambda: alerts() == ["health.failing"])
    deployed.latency(0)
    for _ in range(2):
        assert deployed.run("health-monitor", "watch")["status"] == "healthy"
    assert deployed.ask("GET", "/health").status == 200
    eventually(lambda: alerts() == ["health.failing", "health.recovered"])


def test_the_clock_runs_the_monitor(deployed: Deployed) -> None:
    before = deployed.item("health").get("version")
    eventually(lambda: deployed.item("health").get("version") != before, 100)
