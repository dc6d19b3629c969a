"""Every permission is needed: with any one action removed from a role, its function fails.

The emulator enforces what functions call themselves. What Lambda does for them with their role, to
log, to trace, to join the network, is held by the promises over the program.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from remit.domain.health_state import HealthState
from remit.ports.app import App
from remit_infra.graph.graph import Graph
from remit_infra.model.permissions import LAMBDA_POSTGRES, Statement
from remit_infra.topologies.lambda_postgres import record_graph
from tests.emulated.lambda_postgres.conftest import SUFFIX, Stack
from tests.emulated.roles import lacking, with_less
from tests.infra.promises_of_functions import PROMISES
from tests.infra.recorded import broken

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("terraform"),
]

CLOCKS_RUN_SECONDS = 10
"""The clock runs the same function, and while it does that run has the leases."""

OF_LAMBDA = {"JoinNetwork", "Log", "Trace"}

EVERY = [
    (role, one, action)
    for role, statements in LAMBDA_POSTGRES.items()
    for one in statements
    for action in one.actions
]


def validator_works(stack: Stack) -> bool:
    card = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030}
    return stack.balancer.ask("POST", "/validate", {"amount": 1, "card": card}).status == 200


def processing_works(stack: Stack) -> bool:
    return stack.balancer.process(stack.balancer.validate()).status == 200


def delivery_works(stack: Stack) -> bool:
    """What the clock leaves nothing of: a payment in the queue, messages, entries to seal."""
    transaction_id = stack.balancer.validate()
    queued = stack.balancer.process(transaction_id, prefer="respond-async")
    was_done, end = False, time.monotonic() + CLOCKS_RUN_SECONDS
    while "worked" in stack.run("payment-delivery", "work"):
        left = stack.rows(
            "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM audit_unarchived)"
        )
        state = stack.rows("SELECT state FROM payments WHERE id = $1::uuid", transaction_id)
        was_done = left == [(0,)] and state == [("captured",)]
        if was_done or time.monotonic() > end:
            break
        time.sleep(0.5)
    stack.rows("UPDATE queue_messages SET visible_at = now(), receives = 0")
    return queued.status == 202 and was_done


def health_works(stack: Stack) -> bool:
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

    stack.use(make_up)
    return "checks" in stack.run("health-monitor", "watch") and stack.use(is_told)


def migration_works(stack: Stack) -> bool:
    answer = stack.emulator.client("lambda").invoke(
        FunctionName=f"payment-operator-{SUFFIX}", Payload=b'{"job": "migrate"}'
    )
    return bool(json.loads(answer["Payload"].read()) == {"applied": []})


WORKS: dict[str, Callable[[Stack], bool]] = {
    "payment-validator": validator_works,
    "payment-processing": processing_works,
    "payment-delivery": delivery_works,
    "health-monitor": health_works,
    "payment-operator": migration_works,
}


@contextmanager
def without(stack: Stack, role: str, statement: Statement, action: str) -> Iterator[None]:
    """The role without the action, and the function in a new container."""
    try:
        with lacking(stack.emulator.client("iam"), f"{role}-{SUFFIX}", statement, action):
            renew(stack, role)
            yield
    finally:
        renew(stack, role)


def renew(stack: Stack, role: str) -> None:
    """Another version, which begins in a container of its own, takes the calls."""
    client, name = stack.emulator.client("lambda"), f"{role}-{SUFFIX}"
    before = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    levels = {"info": "debug", "debug": "info"}
    level = levels[before.get("REMIT_LOG_LEVEL", "info")]
    client.update_function_configuration(
        FunctionName=name, Environment={"Variables": before | {"REMIT_LOG_LEVEL": level}}
    )
    if role != "payment-operator":
        version = client.publish_version(FunctionName=name)["Version"]
        client.update_alias(FunctionName=name, Name="live", FunctionVersion=version)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return record_graph(SUFFIX)


@pytest.mark.parametrize("role", WORKS)
def test_a_function_works_with_its_role(stack: Stack, role: str) -> None:
    assert WORKS[role](stack)


@pytest.mark.parametrize(
    ("role", "statement", "action"), EVERY, ids=[f"{r}-{one.sid}-{a}" for r, one, a in EVERY]
)
def test_a_function_fails_without_any_one_action(
    stack: Stack, graph: Graph, role: str, statement: Statement, action: str
) -> None:
    if statement.sid in OF_LAMBDA:
        assert broken(with_less(graph, role, statement, action), PROMISES) != {}
        return
    with without(stack, role, statement, action):
        assert not WORKS[role](stack)
    # It was the role that failed, and nothing that an earlier test left behind.
    assert WORKS[role](stack)
