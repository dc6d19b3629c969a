"""The journey through fargate-aurora: its own tasks, asked over HTTP, on AWS as it is emulated."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from remit.clock_and_ids import new_secret
from remit.oversight.audit.verification import VerifiedTrail, verify
from remit.oversight.reconcile import reconcile
from remit.ports.app import App
from remit_infra.emulated.terraform_gaps import LEFT_OUT, drift
from tests.emulated.fargate_aurora.stack import FargateAurora
from tests.emulated.harness import BAD_BODIES, assert_refused, eventually, of_topology

pytestmark = of_topology("fargate-aurora")


def test_what_is_applied_is_what_was_asked_for(stack: FargateAurora) -> None:
    plan = stack.terraform.plan()
    assert drift(plan) == []
    assert len(plan["resource_changes"]) > 150


def test_the_database_is_migrated_by_a_task_of_its_own(stack: FargateAurora) -> None:
    log = stack.folder / "migration.log"
    assert "applied 0001_payments" in log.read_text()
    again = stack.start("payment-migration-task", log)
    assert again.process.wait(60) == 0
    assert log.read_text().splitlines()[-1] == "already up to date"


def test_a_payment_is_taken_shown_and_recorded(stack: FargateAurora) -> None:
    with stack.api() as api:
        transaction_id = api.validate()
        answer = api.process(transaction_id)
        assert (answer.status_code, answer.json()["status"]) == (200, "processed")
        again = api.process(transaction_id)
        assert again.headers["idempotent-replayed"] == "true"
        shown = api.send("GET", f"/payments/{transaction_id}")
        assert (shown.status_code, shown.json()) == (200, answer.json())
        assert api.send("GET", f"/payments/{transaction_id}").json() == answer.json()
        health = api.send("GET", "/health")
    assert health.json()["checks"].keys() == {
        *("cache", "database", "dead_letters", "delivery", "monitor")
    }
    assert [stack.cache.contents()[key] for key in stack.cache.contents()] != []
    postings = "SELECT sum(amount_minor)::int, count(*)::int FROM postings WHERE payment_id = $1"
    assert stack.rows(postings, transaction_id) == [(0, 2)]


@pytest.mark.parametrize("body", BAD_BODIES)
def test_a_bad_body_is_refused(stack: FargateAurora, body: bytes) -> None:
    with stack.api() as api:
        answer = api.send("POST", "/validate", body)
    assert_refused(answer, 400, "invalid_request_error")


def test_a_task_is_told_no_secret(stack: FargateAurora) -> None:
    for family in ("payment-task", "payment-worker-task", "payment-migration-task"):
        told = stack.environment(family)
        assert stack.database.password not in json.dumps(told)


def test_work_that_waits_is_done_told_of_and_sealed(stack: FargateAurora) -> None:
    told = stack.subscribe("payment-notifications")
    with stack.api() as api, stack.worker():
        transaction_id = api.validate()
        queued = api.process(transaction_id, prefer="respond-async")
        assert (queued.status_code, queued.json()["status"]) == (202, "processing")
        state = "SELECT state FROM payments WHERE id = $1::uuid"
        eventually(lambda: stack.rows(state, transaction_id) == [("captured",)], 60)

        def kinds() -> bool:
            found = {m["kind"] for m in told() if m.get("payment_id") == transaction_id}
            return found >= {"payment_intent.created", "payment_intent.succeeded"}

        eventually(kinds, 60)
        sealed = "SELECT count(*)::int FROM audit_unarchived"
        eventually(lambda: stack.rows(sealed) == [(0,)], 60)
    assert isinstance(stack.use(lambda app: verify(app.audit.bucket)), VerifiedTrail)


def test_the_daily_proof_is_a_message_that_one_worker_takes(stack: FargateAurora) -> None:
    """As EventBridge sends it: the id is no UUID of ours, and the time has no fraction."""
    rule = stack.names("rule", "payment-reconcile")
    [target] = stack.client("events").list_targets_by_rule(Rule=rule)["Targets"]
    event = {"id": "b8a3e1c4-5d6f-4a7b-8c9d-0e1f2a3b4c5d", "time": "2026-11-21T10:00:00Z"}
    body = target["InputTransformer"]["InputTemplate"]
    for name, path in target["InputTransformer"]["InputPathsMap"].items():
        body = body.replace(f"<{name}>", event[path.removeprefix("$.")])
    stack.client("sqs").send_message(QueueUrl=stack.queue_url("payment-queue"), MessageBody=body)
    with stack.worker() as worker:
        eventually(lambda: stack.waiting("payment-queue") == 0, 60)
        assert worker.end() == 0
    counted = stack.client("cloudwatch").list_metrics(Namespace="Remit")["Metrics"]
    assert {"LedgerImbalances", "AuditBreaks"} <= {metric["MetricName"] for metric in counted}


def test_payments_go_on_without_the_cache_and_one_alert_says_so(stack: FargateAurora) -> None:
    told = stack.subscribe("payment-alarms")
    with stack.api() as api, stack.worker(), stack.worker():
        stack.cache.stop()
        try:
            transaction_id = api.validate()
            assert api.process(transaction_id).status_code == 200
            assert api.send("GET", f"/payments/{transaction_id}").json()["status"] == "processed"
            health = api.send("GET", "/health")
            assert (health.status_code, health.json()["checks"]["cache"]["ok"]) == (200, False)
            eventually(lambda: alerts(told, "health.failing"), 180)
        finally:
            stack.cache.start()
        eventually(lambda: alerts(told, "health.recovered"), 180)
    assert len(alerts(told, "health.failing")) == 1
    assert len(alerts(told, "health.recovered")) == 1


def alerts(told: Callable[[], list[dict[str, Any]]], kind: str) -> list[dict[str, Any]]:
    return [one for one in told() if one.get("kind") == kind and "cache" in one["detail"]]


def test_poison_ends_as_a_dead_letter_is_told_of_and_goes_back(stack: FargateAurora) -> None:
    """Once a body that nobody can read, and once a step that nobody knows."""
    sqs, url = stack.client("sqs"), stack.queue_url("payment-queue")
    told = stack.subscribe("payment-alarms")
    unknown = {"id": "0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e", "topic": "work", "kind": "mystery"}
    unknown["created_at"] = "2026-11-21T10:00:00Z"
    bodies = ["{ no message", json.dumps(unknown)]
    for body in bodies:
        sqs.send_message(QueueUrl=url, MessageBody=body)
    with stack.worker():
        eventually(lambda: stack.waiting("payment-dlq") == 2, 120)
    assert stack.waiting("payment-queue") == 0
    assert sorted(receives(stack)) == [3, 3]
    # What CloudWatch sees of the queue each minute.
    stack.client("cloudwatch").put_metric_data(
        Namespace="AWS/SQS",
        MetricData=[
            {
                "MetricName": "ApproximateNumberOfMessagesVisible",
                "Dimensions": [{"Name": "QueueName", "Value": stack.names("queue", "payment-dlq")}],
                "Value": float(stack.waiting("payment-dlq")),
            }
        ],
    )
    name = stack.names("alarm", "payment-dlq-not-empty")
    eventually(lambda: any(one.get("AlarmName") == name for one in told()), 60)
    letters = stack.use(lambda app: app.delivery.failed.dead_letters(10))
    assert {letter.message.kind for letter in letters} == {"mystery", "unreadable"}
    eventually(lambda: stack.use(lambda app: app.delivery.failed.redrive(None)), 60)
    eventually(lambda: stack.waiting("payment-dlq") == 0, 60)
    back: list[str] = []
    while len(back) < 2:
        for message in sqs.receive_message(QueueUrl=url).get("Messages", []):
            back.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert sorted(back) == sorted(bodies)


def receives(stack: FargateAurora) -> list[int]:
    """How often each message was received that a worker gave up on, by its log."""
    lines = [json.loads(line) for line in stack.log("payment-worker-task").splitlines()]
    tries: dict[str, int] = {}
    for line in lines:
        if line.get("event") == "work_retried" and line.get("payment_id") is None:
            tries[line["message_id"]] = max(tries.get(line["message_id"], 0), line["receives"])
    return [tries[message_id] for message_id in tries]


def test_books_processor_and_trail_agree(stack: FargateAurora) -> None:
    async def find_discrepancies(app: App) -> list[Any]:
        return [found async for found in reconcile(app)]

    assert stack.use(find_discrepancies) == []


def test_a_rotated_password_is_taken_up(stack: FargateAurora) -> None:
    with stack.api() as api:
        assert api.process(api.validate()).status_code == 200
        stack.change_password(new_secret())
        stack.database.terminate_connections()
        eventually(lambda: api.send("GET", "/payments").status_code == 200, 30)
        assert api.process(api.validate()).status_code == 200


def test_what_is_left_out_is_known(stack: FargateAurora) -> None:
    written = json.loads((stack.folder / "terraform" / "main.tf.json").read_text())
    assert not LEFT_OUT.keys() & written["resource"].keys()
