"""What each role of fargate-aurora is there for, tried by driving its task."""

import json
from collections.abc import Mapping
from typing import Any

from remit.domain.caller import Caller
from remit.domain.health_state import HealthState
from remit.payments.process import ProcessRequest, enqueue
from remit.payments.validate import validate
from remit.ports.app import App
from tests.builders import order
from tests.emulated.fargate_aurora.stack import Api, FargateAurora
from tests.emulated.harness import CARD, checkpoints, forget_checkpoints
from tests.emulated.permissions import Check, Refused, Steps, step

NOT_EMULATED = frozenset({"ConnectCache", "SendTraces"})
"""Statements for what the emulator has not: the cache's own door, and X-Ray."""

WAKING = {"REMIT_IDLE_AFTER_SECONDS": "2"}
"""So that the API wakes an idle worker after a commit, at most once in half of that time."""

MYSTERY = {
    "id": "0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e",
    "topic": "work",
    "kind": "mystery",
    "created_at": "2026-11-21T10:00:00Z",
}
OTHER = Caller("acme", "test", "test", "test")


def check_api(stack: FargateAurora, refused: Refused) -> Steps:
    api = Api(stack, stack.keep("payment-task", **WAKING))

    def validated() -> int:
        return api.send("POST", "/validate", {"amount": 1, "card": CARD}).status_code

    def processed() -> int:
        """Its card was encrypted by another process, under a data key that this one lacks."""
        return api.process(stack.use(a_validated)).status_code

    def has_woken() -> bool:
        """A commit wakes a worker, and this task may just have woken one."""
        validated()
        return stack.waiting("payment-queue") > 0

    def health() -> dict[str, bool | None]:
        """Whatever else may be wrong: without a worker nothing is delivered meanwhile."""
        checks = api.send("GET", "/health").json().get("checks", {})
        return {name: checks.get(name, {}).get("ok") for name in ("database", "dead_letters")}

    try:
        yield from step("a payment is validated", validated, 200, refused)
        yield from step("a payment is processed", processed, 200, refused)
        yield from step("a worker is woken", has_woken, True, refused)
        is_well = {"database": True, "dead_letters": True}
        yield from step("health is shown", health, is_well, refused)
        if refused():
            yield "every step was taken, and AWS refused an action"
    finally:
        empty(stack)


def check_worker(stack: FargateAurora, refused: Refused) -> Steps:
    """A payment that waits, messages, entries to archive, a trail to sign, books to reconcile, a
    step that fails, an alert to tell.
    """
    stack.end_kept()
    forget_checkpoints(stack.client("s3"))
    stack.keep("payment-worker-task")
    begun = len(stack.log("payment-worker-task"))
    payment_id = stack.use(an_enqueued)
    stack.use(made_up)
    for message in (MYSTERY, MYSTERY | {"kind": "reconcile"}):
        stack.client("sqs").send_message(
            QueueUrl=stack.queue_url("payment-queue"), MessageBody=json.dumps(message)
        )

    def trail() -> tuple[bool, bool]:
        log = stack.log("payment-worker-task")[begun:]
        return checkpoints(stack.client("s3")) != [], "reconciled" in log

    def state() -> tuple[int, str, bool, bool]:
        [(left, found, health)] = stack.rows(
            "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM audit_unarchived), "
            "(SELECT state FROM payments WHERE id = $1::uuid), (SELECT state FROM health_states)",
            payment_id,
        )
        told = json.loads(health)
        is_told = "made up" not in told.get("failing", {}) and not told.get("unsent_alerts")
        is_tried = "work_retried" in stack.log("payment-worker-task")[begun:]
        return left, found, is_told, is_tried

    try:
        done = (0, "captured", True, True)
        yield from step("what is left, its state, told, tried", state, done, refused)
        yield from step("the trail is signed, the books reconciled", trail, (True, True), refused)
        if refused():
            yield "every step was taken, and AWS refused an action"
    finally:
        empty(stack)


def check_migration(stack: FargateAurora, refused: Refused) -> Steps:
    log = stack.folder / "migration.log"

    def status() -> int:
        return stack.start("payment-migration-task", log).process.wait(60)

    yield from step("the database is migrated", status, 0, refused)


CHECKS: Mapping[str, Check] = {
    "payment-api": check_api,
    "payment-worker": check_worker,
    "payment-migration": check_migration,
}


def renew(stack: FargateAurora, role: str) -> None:
    """Lets its task begin anew, the next time that it is needed."""
    stack.end_kept()


def empty(stack: FargateAurora) -> None:
    for name in ("payment-queue", "payment-dlq"):
        stack.client("sqs").purge_queue(QueueUrl=stack.queue_url(name))


async def a_validated(app: App) -> str:
    accepted: Any = await validate(app, OTHER, order(), None)
    return str(accepted.payment.id)


async def an_enqueued(app: App) -> str:
    payment_id = await a_validated(app)
    await enqueue(app, OTHER, ProcessRequest(payment_id))
    return payment_id


async def made_up(app: App) -> None:
    """A check that is failing, which the monitor will see recover and must tell."""
    before = await app.database.health_states.latest()
    failing = {"made up": "by a test"}
    while not await app.database.health_states.record(
        HealthState(version=before.version + 1, at=before.at, failing=failing)
    ):
        before = await app.database.health_states.latest()
