"""The journey through lambda-postgres, by both ways in, over real HTTP."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from remit.adapters.aws.operator_client import OperatorFunction
from remit.delivery.work_messages import handle_batch
from remit.domain.errors import Unavailable
from remit.oversight.audit.verification import VerifiedTrail, verify
from remit.oversight.reconcile import reconcile
from remit.ports.app import App
from remit_infra.deploy.operator_settings import operator_settings
from remit_infra.emulated.terraform_gaps import LEFT_OUT, drift
from tests.emulated.harness import (
    BAD_BODIES,
    DOWN,
    Caller,
    a_key,
    assert_refused,
    eventually,
    of_topology,
    run_remit,
)
from tests.emulated.lambda_postgres.stack import SUFFIX, LambdaPostgres

pytestmark = of_topology("lambda-postgres")


@pytest.fixture(params=["api", "balancer"])
def caller(stack: LambdaPostgres, request: pytest.FixtureRequest) -> Caller:
    """The same merchant, by each of the two ways in."""
    return stack.api if request.param == "api" else stack.balancer


def test_a_payment_is_validated_stored_and_processed(stack: LambdaPostgres, caller: Caller) -> None:
    transaction_id = caller.validate()
    state = "SELECT state FROM payments WHERE id = $1::uuid"
    assert stack.rows(state, transaction_id) == [("validated",)]
    answer = caller.process(transaction_id)
    assert (answer.status_code, answer.json()["status"]) == (200, "processed")
    assert stack.rows(state, transaction_id) == [("captured",)]
    again = caller.process(transaction_id)
    assert (again.status_code, again.json()) == (200, answer.json())
    assert again.headers["idempotent-replayed"] == "true"
    shown = caller.send("GET", f"/payments/{transaction_id}")
    assert (shown.status_code, shown.json()) == (200, answer.json())
    postings = "SELECT sum(amount_minor)::int, count(*)::int FROM postings WHERE payment_id = $1"
    assert stack.rows(postings, transaction_id) == [(0, 2)]
    actions = "SELECT action FROM audit_entries WHERE payment_id = $1 ORDER BY id"
    assert ("process",) in stack.rows(actions, transaction_id)


@pytest.mark.parametrize("body", BAD_BODIES)
def test_a_bad_body_is_refused_by_both_ways_in(caller: Caller, body: bytes) -> None:
    answer = caller.send("POST", "/validate", body)
    assert_refused(answer, 400, "invalid_request_error")


def test_what_is_unknown_and_who_is_unknown(caller: Caller) -> None:
    unknown = "01890000-0000-7000-8000-000000000000"
    assert caller.process(unknown).status_code == 404
    assert caller.send("GET", f"/payments/{unknown}").status_code == 404
    assert caller.send("POST", "/nowhere", {}).status_code == 404
    for key in ("", f"{caller.key}x"):
        refused = caller.send("POST", "/validate", {"amount": 1}, x_api_key=key)
        assert_refused(refused, 401, "authentication_error")


def test_health_asks_for_no_key(caller: Caller) -> None:
    answer = caller.send("GET", "/health", x_api_key="")
    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")


def test_a_key_that_is_revoked_is_forgotten_by_both(stack: LambdaPostgres) -> None:
    operator = stack.operator()

    async def make_and_revoke() -> str:
        made = await a_key(operator)
        assert await operator.database.api_keys.revoke(made.key.id, operator.clock())
        assert not await operator.database.api_keys.revoke("nobody's", operator.clock())
        [found] = [key for key in await operator.database.api_keys.all() if key.id == made.key.id]
        assert (found.merchant_id, found.revoked_at is None) == ("acme", False)
        return made.secret

    secret = asyncio.run(make_and_revoke())
    for caller in (stack.api, stack.balancer):
        assert caller.send("POST", "/validate", {"amount": 1}, x_api_key=secret).status_code == 401


def test_the_api_is_throttled(stack: LambdaPostgres) -> None:
    """With bodies that the gateway's model refuses, so that no function slows the callers down."""
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: stack.api.send("POST", "/validate", b"[]"), range(500)))
    assert {answer.status_code for answer in answers} == {400, 429}
    throttled = next(answer for answer in answers if answer.status_code == 429)
    assert throttled.json()["error"]["type"] == "rate_limit_error"
    eventually(lambda: stack.api.send("GET", "/payments?limit=1").status_code == 200, 30)


def test_what_was_committed_is_delivered_sealed_and_proven(stack: LambdaPostgres) -> None:
    for _ in range(2):
        stack.api.process(stack.api.validate())
    stack.run("payment-delivery", "work")
    for waiting in ("outbox", "audit_unarchived"):
        assert stack.rows(f"SELECT count(*)::int FROM {waiting}") == [(0,)]
    assert set(stack.run("payment-delivery", "reconcile").values()) == {0}

    async def look(app: App) -> None:
        assert isinstance(await verify(app.audit.bucket), VerifiedTrail)
        assert [one async for one in reconcile(app)] == []

    stack.use(look)


def test_work_that_fails_five_times_is_a_dead_letter_and_redriving_completes_it(
    stack: LambdaPostgres,
) -> None:
    transaction_id = stack.balancer.validate(DOWN)
    assert_refused(stack.balancer.process(transaction_id), 503, "api_error")
    assert stack.balancer.process(transaction_id, prefer="respond-async").status_code == 202
    dead = "SELECT id::text FROM queue_messages WHERE dead_at IS NOT NULL"
    # Each round comes before its time: what waits for its next attempt is made due.
    for _ in range(6):
        stack.run("payment-delivery", "work")
        stack.rows("UPDATE queue_messages SET visible_at = now() WHERE dead_at IS NULL")
    [(message_id,)] = stack.rows(dead)
    assert stack.run("health-monitor", "watch")["checks"]["dead_letters"]["ok"] is False

    async def redrive(app: App) -> None:
        operator = stack.operator().delivery.failed
        assert [dead.message.id for dead in await operator.dead_letters(10)] == [message_id]
        assert await operator.redrive(message_id) == await handle_batch(app) == 1
        assert (await operator.failed(10), await operator.count_dead_letters()) == ([], 0)

    stack.use(redrive, REMIT_SIMULATOR_DOWN_AT="667")
    state = "SELECT state FROM payments WHERE id = $1::uuid"
    assert stack.rows(state, transaction_id) == [("captured",)]
    assert stack.rows(dead) == []


def test_a_rotation_goes_unnoticed_by_callers(stack: LambdaPostgres, caller: Caller) -> None:
    transaction_id = caller.validate()
    for _ in range(2):
        stack.rotate()
        assert caller.process(transaction_id).status_code == 200
        assert caller.send("GET", "/health").status_code == 200
        transaction_id = caller.validate()


def test_an_operators_commands_go_through_a_function_in_the_network(stack: LambdaPostgres) -> None:
    settings = operator_settings(stack.emulator.client, SUFFIX)
    assert not any(name.startswith("REMIT_DATABASE") for name in settings)

    def run(*arguments: str) -> Any:
        ended = run_remit(stack.emulator, settings, *arguments, "--json")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    made = run("keys", "create", "--merchant", "operated")
    assert made["id"] in {key["id"] for key in run("keys", "list")}
    Caller(stack.emulator, stack.balancer.url, made["key"]).validate()
    caller = Caller(stack.emulator, stack.api.url, made["key"])
    transaction_id = caller.validate()
    assert caller.process(transaction_id).status_code == 200
    assert run("failed", "list") == []
    [charge] = run("operations", "list", "--payment", transaction_id)
    assert (charge["kind"], charge["state"]) == ("charge", "succeeded")
    assert run("operations", "show", charge["operation_id"]) == charge
    assert run("operations", "list") == []
    decision = ("operations", "decide", charge["operation_id"], "not-done")
    ended = run_remit(stack.emulator, settings, *decision)
    assert "An operation that is succeeded cannot change." in " ".join(ended.stderr.split())
    assert run("audit", "verify")["ok"] is True
    beyond = run_remit(stack.emulator, settings, "payments", "list")
    assert "reached from within its network alone" in " ".join(beyond.stderr.split())
    assert run_remit(stack.emulator, settings, "keys", "revoke", made["id"]).returncode == 0


def test_what_needs_the_database_itself_says_that_it_is_out_of_reach(stack: LambdaPostgres) -> None:
    async def call_both() -> None:
        with pytest.raises(Unavailable, match="from within its network alone"):
            await stack.operator().database.reader.refunds("01890000-0000-7000-8000-000000000000")
        with pytest.raises(Unavailable, match="payment-operator-staging-001 failed: There is no"):
            await OperatorFunction(
                stack.emulator.client("lambda"), f"payment-operator-{SUFFIX}"
            ).run("x")

    asyncio.run(call_both())


def test_the_migration_has_run_and_runs_again(stack: LambdaPostgres) -> None:
    assert stack.rows("SELECT count(*) >= 4 FROM migrations") == [(True,)]
    answer = stack.emulator.client("lambda").invoke(
        FunctionName=f"payment-operator-{SUFFIX}", Payload=b'{"job": "migrate"}'
    )
    assert json.loads(answer["Payload"].read()) == {"applied": []}


def test_a_second_plan_changes_nothing(stack: LambdaPostgres) -> None:
    plan = stack.terraform.plan()
    assert drift(plan) == []
    applied = {change["type"] for change in plan["resource_changes"]}
    assert not applied & LEFT_OUT.keys()
