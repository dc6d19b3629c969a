"""What each role of lambda-dynamodb is there for, tried by driving its function."""

import asyncio
import time
from collections.abc import Mapping

from remit.domain.health_state import HealthState
from tests.emulated.harness import CARD, DOWN, LATE, checkpoints, forget_checkpoints
from tests.emulated.lambda_dynamodb.stack import LambdaDynamodb
from tests.emulated.permissions import Check, Refused, Steps, step

OF_LAMBDA = frozenset({"Log", "Trace", "ReadStream", "TakeFailedWork"})
"""Statements for what Lambda does with the role, which the emulator does not enforce."""

CLAIM_SECONDS = 2.1
"""After so long the claim of a payment that the processor did not answer in time has lapsed."""

EVERYTHING = 10_000
"""More than is ever in the outbox, or not archived, in a run."""


def check_validation(stack: LambdaDynamodb, refused: Refused) -> Steps:
    def status() -> int:
        return stack.send("POST", "/validate", {"amount": 1, "card": CARD}).status_code

    yield from step("a payment is validated", status, 200, refused)


def check_processing(stack: LambdaDynamodb, refused: Refused) -> Steps:
    paid = stack.validate()

    def list_status() -> int:
        return stack.send("GET", "/payments").status_code

    def tries() -> list[int]:
        down = stack.validate(DOWN)
        return [stack.process(down, idempotency_key=down).status_code for _ in range(2)]

    yield from step("a payment is processed", lambda: stack.process(paid).status_code, 200, refused)
    yield from step("payments are listed", list_status, 200, refused)
    # The key of a step that was not taken is released, so that the step can be repeated.
    yield from step("a step is repeated under its key", tries, [503, 503], refused)


def check_delivery(stack: LambdaDynamodb, refused: Refused) -> Steps:
    """Looks at the payments that it makes, and not at what other tests or the clock's own runs
    have under way: the stream, the queue and the clock run this function at any time.
    """
    app = stack.app()
    forget_checkpoints(stack.client("s3"))
    renew(stack, "payment-delivery")
    late, paid, down = stack.validate(LATE), stack.validate(), stack.validate(DOWN)
    stack.process(late)
    lapses = time.monotonic() + CLAIM_SECONDS
    stack.process(paid)
    stack.process(down)
    ours = {late, paid, down}

    def tick() -> list[str]:
        return sorted(stack.run("payment-delivery", "tick"))

    def unsent() -> list[str]:
        found = asyncio.run(app.delivery.outbox.pending(EVERYTHING))
        return [message.kind for message in found if message.payment_id in ours]

    def status_of_late() -> str:
        tick()
        return str(stack.item(late)["status"]["S"])

    def unarchived() -> list[str]:
        """The function has two containers. One that the other has overtaken archives nothing in
        that run: the number of its next segment is taken.
        """
        tick()
        found = asyncio.run(app.audit.log.unarchived(EVERYTHING))
        return [entry.action for entry in found if entry.payment_id in ours]

    def is_signed() -> bool:
        """A new container signs the trail before it archives anything."""
        tick()
        return checkpoints(stack.client("s3")) != []

    def discrepancies() -> list[object]:
        """Of a table that changes while it is read: what is found once may be gone."""
        return sorted(set(stack.run("payment-delivery", "reconcile").values()), key=str)

    yield from step("a tick", tick, ["archived", "expired", "relayed", "swept"], refused)
    yield from step("the audit trail is signed", is_signed, True, refused)
    yield from step("books agree", discrepancies, [0], refused)
    yield from step("messages are sent", unsent, [], refused)
    time.sleep(max(0.0, lapses - time.monotonic()))
    yield from step("what had no answer is resolved", status_of_late, "processed", refused)
    yield from step("the audit trail is archived", unarchived, [], refused)


def check_health(stack: LambdaDynamodb, refused: Refused) -> Steps:
    """The monitor tells that a check has recovered, which this made up to be failing."""
    states = stack.app().database.health_states
    failing = {"made up": "by a test"}

    async def make_up() -> bool:
        before = await states.latest()
        return await states.record(
            HealthState(version=before.version + 1, at=before.at, failing=failing)
        )

    # The clock's own run may record a state in between.
    while not asyncio.run(make_up()):
        pass

    def watch() -> bool:
        return "checks" in stack.run("health-monitor", "watch")

    def still_failing() -> bool:
        return "made up" in asyncio.run(states.latest()).failing

    def is_shown() -> bool:
        return stack.send("GET", "/health").status_code in (200, 503)

    yield from step("the monitor looks", watch, True, refused)
    yield from step("a recovery is told", still_failing, False, refused)
    yield from step("health is shown", is_shown, True, refused)


CHECKS: Mapping[str, Check] = {
    "payment-validation": check_validation,
    "payment-processing": check_processing,
    # Delivery last: its failures are errors of the kind that the health monitor watches.
    "health-monitor": check_health,
    "payment-delivery": check_delivery,
}


def renew(stack: LambdaDynamodb, role: str) -> None:
    """Lets the function begin in a new container."""
    settings = stack.deployment.settings(role)
    levels = {"info": "debug", "debug": "info"}
    level = levels[settings.get("REMIT_LOG_LEVEL", "debug")]
    stack.configure(role, settings | {"REMIT_LOG_LEVEL": level})
