"""Every permission is needed: with any one action removed from a role, its task is refused.

The emulator enforces what tasks ask of it. What it has not, the cache's own door and X-Ray, is held
by the promises over the program.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from remit.domain.change import Caller
from remit.domain.health_state import HealthState
from remit.payments.process import ProcessRequest, enqueue
from remit.payments.validate import validate
from remit.ports.app import App
from remit_infra.graph.graph import Graph
from remit_infra.model.permissions import FARGATE_AURORA, Statement
from remit_infra.topologies.fargate_aurora import record_graph
from tests.builders import order
from tests.emulated.conftest import eventually
from tests.emulated.fargate_aurora.conftest import SUFFIX, Stack
from tests.emulated.roles import lacking, with_less
from tests.infra.promises_of_fargate import PROMISES
from tests.infra.recorded import broken

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("fargate"),
]

NOT_EMULATED = {"ConnectCache", "SendTraces"}

EVERY = [
    (role, one, action)
    for role, statements in FARGATE_AURORA.items()
    for one in statements
    for action in one.actions
]
QUIET = {"REMIT_IDLE_AFTER_SECONDS": "60"}
"""So that the API tells a worker that rests of what it wrote."""


def api_works(stack: Stack) -> bool:
    begun = len(log(stack, "payment-task"))
    with stack.api(**QUIET) as api:
        card = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030}
        accepted = api.ask("POST", "/validate", {"amount": 1, "card": card})
        # Its card was sealed by another process, under a data key that this one does not know.
        taken = accepted.status == 200 and api.process(stack.use(a_validated_payment)).status
        health = api.ask("GET", "/health")
        woken = eventually(
            lambda: stack.waiting("payment-queue") or refused(stack, "payment-task", begun)
        )
    empty(stack)
    # Whatever else may be wrong: without a worker nothing is delivered meanwhile.
    checks = health.body.get("checks", {})
    well = all(name in checks and checks[name]["ok"] for name in ("database", "dead_letters"))
    return bool(taken == 200 and well and woken and not refused(stack, "payment-task", begun))


def worker_works(stack: Stack) -> bool:
    """A payment that waits, messages, entries to seal, a step that fails, an alert to tell."""
    begun = len(log(stack, "payment-worker-task"))
    payment_id = stack.use(an_enqueued)
    stack.use(made_up)
    mystery = {"id": "0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0e", "topic": "work", "kind": "mystery"}
    body = json.dumps({**mystery, "created_at": "2026-11-21T10:00:00Z"})
    stack.client("sqs").send_message(QueueUrl=stack.queue_url("payment-queue"), MessageBody=body)

    def is_done() -> bool:
        left = stack.rows(
            "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM audit_unarchived)"
        )
        state = stack.rows("SELECT state FROM payments WHERE id = $1::uuid", payment_id)
        is_tried = "work_retried" in log(stack, "payment-worker-task")[begun:]
        return is_tried and left == [(0,)] and state == [("captured",)] and stack.use(is_told)

    with stack.worker() as worker:
        eventually(lambda: is_done() or refused(stack, "payment-worker-task", begun), 60)
        worker.end()
    empty(stack)
    return not refused(stack, "payment-worker-task", begun)


def migration_works(stack: Stack) -> bool:
    log_ = stack.folder / "migration.log"
    return stack.start("payment-migration-task", log_).process.wait(60) == 0


WORKS: dict[str, Callable[[Stack], bool]] = {
    "payment-api": api_works,
    "payment-worker": worker_works,
    "payment-migration": migration_works,
}


def log(stack: Stack, family: str) -> str:
    path = stack.folder / f"{family}.log"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def refused(stack: Stack, family: str, begun: int) -> bool:
    """Whether AWS has refused something to the task since then."""
    return "is not authorized to perform" in log(stack, family)[begun:]


def empty(stack: Stack) -> None:
    for name in ("payment-queue", "payment-dlq"):
        stack.client("sqs").purge_queue(QueueUrl=stack.queue_url(name))


OTHER = Caller("acme", "test", "test", "test")


async def a_validated_payment(app: App) -> str:
    accepted: Any = await validate(app, OTHER, order(), None)
    return str(accepted.payment.id)


async def an_enqueued(app: App) -> str:
    payment_id = await a_validated_payment(app)
    await enqueue(app, OTHER, ProcessRequest(payment_id))
    return payment_id


async def made_up(app: App) -> None:
    """A check that is failing, which the monitor will see recover and must tell."""
    before = await app.database.health_states.latest()
    verdict = HealthState(
        version=before.version + 1, at=before.at, failing={"made up": "by a test"}
    )
    await app.database.health_states.record(verdict)


async def is_told(app: App) -> bool:
    found = await app.database.health_states.latest()
    return "made up" not in found.failing and not found.unsent_alerts


@pytest.fixture(scope="module")
def graph() -> Graph:
    return record_graph(SUFFIX)


@pytest.mark.parametrize("role", WORKS)
def test_a_task_works_with_its_role(stack: Stack, role: str) -> None:
    assert WORKS[role](stack)


@pytest.mark.parametrize(
    ("role", "statement", "action"), EVERY, ids=[f"{r}-{one.sid}-{a}" for r, one, a in EVERY]
)
def test_a_task_is_refused_without_any_one_action(
    stack: Stack, graph: Graph, role: str, statement: Statement, action: str
) -> None:
    if statement.sid in NOT_EMULATED:
        assert broken(with_less(graph, role, statement, action), PROMISES) != {}
        return
    with lacking(stack.client("iam"), stack.names("role", role), statement, action):
        assert not WORKS[role](stack)


@pytest.mark.parametrize("role", WORKS)
def test_a_task_works_again_afterwards(stack: Stack, role: str) -> None:
    """It was the roles that failed, and nothing that the tests left behind."""
    assert WORKS[role](stack)
