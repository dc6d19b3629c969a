"""What each role of lambda-postgres is there for, tried by driving its function."""

import json
from collections.abc import Mapping
from typing import Any

from remit.domain.health_state import HealthState
from remit.ports.app import App
from tests.emulated.harness import CARD, checkpoints, forget_checkpoints
from tests.emulated.lambda_postgres.stack import SUFFIX, LambdaPostgres
from tests.emulated.permissions import Check, Refused, Steps, step

OF_LAMBDA = frozenset({"JoinNetwork", "Log", "Trace"})
"""Statements for what Lambda does with the role, which the emulator does not enforce."""

LEFT = "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM audit_unarchived)"


def check_validator(stack: LambdaPostgres, refused: Refused) -> Steps:
    def status() -> int:
        return stack.balancer.send("POST", "/validate", {"amount": 1, "card": CARD}).status_code

    yield from step("a payment is validated", status, 200, refused)


def check_processing(stack: LambdaPostgres, refused: Refused) -> Steps:
    transaction_id = stack.balancer.validate()

    def status() -> int:
        return stack.balancer.process(transaction_id).status_code

    yield from step("a payment is processed", status, 200, refused)


def check_delivery(stack: LambdaPostgres, refused: Refused) -> Steps:
    """What the clock leaves nothing of: a payment in the queue, messages, entries to archive, a
    trail to sign.
    """
    forget_checkpoints(stack.client("s3"))
    renew(stack, "payment-delivery")
    transaction_id = stack.balancer.validate()

    def status() -> int:
        return stack.balancer.process(transaction_id, prefer="respond-async").status_code

    def work() -> tuple[bool, list[Any], list[Any]]:
        """The clock runs the same function, and while it does that run has the leases."""
        is_done = "worked" in stack.run("payment-delivery", "work")
        state = stack.rows("SELECT state FROM payments WHERE id = $1::uuid", transaction_id)
        return is_done, stack.rows(LEFT), state

    def is_signed() -> bool:
        """A new container signs the trail before it archives anything."""
        stack.run("payment-delivery", "tick")
        return checkpoints(stack.client("s3")) != []

    def is_reconciled() -> bool:
        return "AuditBreaks" in stack.run("payment-delivery", "reconcile")

    try:
        yield from step("a payment is queued", status, 202, refused)
        yield from step("all work is done", work, (True, [(0,)], [("captured",)]), refused)
        yield from step("the audit trail is signed", is_signed, True, refused)
        yield from step("the books are reconciled", is_reconciled, True, refused)
    finally:
        stack.rows("UPDATE queue_messages SET visible_at = now(), receives = 0")


def check_health(stack: LambdaPostgres, refused: Refused) -> Steps:
    """The monitor tells that a check has recovered, which this made up to be failing."""

    async def make_up(app: App) -> None:
        failing = {"made up": "by a test"}
        before = await app.database.health_states.latest()
        while not await app.database.health_states.record(
            HealthState(version=before.version + 1, at=before.at, failing=failing)
        ):
            before = await app.database.health_states.latest()

    async def is_told(app: App) -> bool:
        found = await app.database.health_states.latest()
        return "made up" not in found.failing and not found.unsent_alerts

    def watch() -> tuple[bool, bool]:
        has_looked = "checks" in stack.run("health-monitor", "watch")
        return has_looked, stack.use(is_told)

    stack.use(make_up)
    yield from step("the monitor looks and tells", watch, (True, True), refused)


def check_migration(stack: LambdaPostgres, refused: Refused) -> Steps:
    def migrate() -> Any:
        called = stack.client("lambda").invoke(
            FunctionName=f"payment-operator-{SUFFIX}", Payload=b'{"job": "migrate"}'
        )
        return json.loads(called["Payload"].read())

    yield from step("the database is migrated", migrate, {"applied": []}, refused)


CHECKS: Mapping[str, Check] = {
    "payment-validator": check_validator,
    "payment-processing": check_processing,
    "payment-delivery": check_delivery,
    "health-monitor": check_health,
    "payment-operator": check_migration,
}


def renew(stack: LambdaPostgres, role: str) -> None:
    """Lets another version take the calls, which begins in a container of its own."""
    client, name = stack.client("lambda"), f"{role}-{SUFFIX}"
    before = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    levels = {"info": "debug", "debug": "info"}
    level = levels[before.get("REMIT_LOG_LEVEL", "info")]
    client.update_function_configuration(
        FunctionName=name, Environment={"Variables": before | {"REMIT_LOG_LEVEL": level}}
    )
    if role != "payment-operator":
        version = client.publish_version(FunctionName=name)["Version"]
        client.update_alias(FunctionName=name, Name="live", FunctionVersion=version)
