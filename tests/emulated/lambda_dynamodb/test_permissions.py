"""Every permission is needed: with any one action removed from a role, its function fails.

The emulator enforces what functions call themselves. What Lambda does for them with their role, to
log, to trace, to read a queue or a stream, is held by the promises over the template.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import pytest

from remit.domain.health_state import HealthState
from remit_infra.model.permissions import LAMBDA_DYNAMODB, Statement
from remit_infra.topologies.lambda_dynamodb.stack import synthesise
from tests.emulated.conftest import DOWN, LATE, Deployed, eventually
from tests.emulated.roles import less
from tests.infra.promises import broken

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("emulator"),
]

OF_LAMBDA = {"Log", "Trace", "ReadStream", "TakeFailedWork"}

EVERY = [
    (role, one, action)
    # Delivery last: its failures are errors of the kind that the health monitor watches.
    for role in ("payment-validation", "payment-processing", "health-monitor", "payment-delivery")
    for one in LAMBDA_DYNAMODB[role]
    for action in one.actions
    if len(one.resources) == 1
]


def validation_works(deployed: Deployed, seconds: float) -> bool:
    card = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030}
    answer = deployed.ask("POST", "/validate", {"amount": 1, "card": card})
    return answer.status == 200


def processing_works(deployed: Deployed, seconds: float) -> bool:
    transaction_id, down = deployed.validate(), deployed.validate(DOWN)
    is_paid = deployed.process(transaction_id).status == 200
    is_listed = deployed.ask("GET", "/payments").status == 200
    # The key of a step that was not taken is released, so that the step can be repeated.
    tries = [deployed.process(down, idempotency_key=down).status for _ in range(2)]
    return is_paid and is_listed and tries == [503, 503]


def delivery_works(deployed: Deployed, seconds: float) -> bool:
    app = deployed.app()
    deployed.run("payment-delivery", "tick")  # what the stream gave up, if anything
    deployed.process(deployed.validate())
    deployed.process(deployed.validate(DOWN))
    late = deployed.validate(LATE)
    deployed.process(late)
    end = time.monotonic() + seconds
    while asyncio.run(app.delivery.outbox.pending(1)):
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    time.sleep(2.1)  # the claim of the late one lapses
    if "archived" not in deployed.run("payment-delivery", "tick"):
        return False
    while deployed.item(late)["status"] != {"S": "validated"}:
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    ticked, proven = (deployed.run("payment-delivery", job) for job in ("tick", "reconcile"))
    is_sealed = "archived" in ticked and asyncio.run(app.audit.log.unarchived(1)) == []
    return is_sealed and set(proven.values()) == {0}


def health_works(deployed: Deployed, seconds: float) -> bool:
    """The monitor tells that a check has recovered, which this made up to be failing."""
    verdicts = deployed.app().database.health_states
    before = asyncio.run(verdicts.latest())
    failing = {"made up": "by a test"}
    asyncio.run(
        verdicts.record(HealthState(version=before.version + 1, at=before.at, failing=failing))
    )
    seen = deployed.run("health-monitor", "watch")
    is_told = "made up" not in asyncio.run(verdicts.latest()).failing
    return "checks" in seen and is_told and deployed.ask("GET", "/health").status in (200, 503)


WORKS: dict[str, Callable[[Deployed, float], bool]] = {
    "payment-validation": validation_works,
    "payment-processing": processing_works,
    "payment-delivery": delivery_works,
    "health-monitor": health_works,
}


@contextmanager
def without(deployed: Deployed, role: str, statement: Statement, action: str) -> Iterator[None]:
    """The role without the action, and the function in a new container."""
    iam, name = deployed.client("iam"), deployed.names("role", role)
    arn = f"arn:aws:iam::{deployed.deployment.account}:policy/{name}"
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    fewer = json.dumps(less(document, statement, action))
    iam.put_role_policy(RoleName=name, PolicyName="less", PolicyDocument=fewer)
    iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    try:
        with deployed.configured(role, REMIT_LOG_LEVEL="info"):
            yield
    finally:
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
        iam.delete_role_policy(RoleName=name, PolicyName="less")


@pytest.mark.parametrize("role", WORKS)
def test_a_function_works_with_its_role(deployed: Deployed, role: str) -> None:
    assert WORKS[role](deployed, 60.0)


def test_no_statement_is_left_out_of_these_tests() -> None:
    assert {(role, one.sid) for role, one, _ in EVERY} == {
        (role, one.sid) for role, statements in LAMBDA_DYNAMODB.items() for one in statements
    }


@pytest.mark.parametrize(
    ("role", "statement", "action"), EVERY, ids=[f"{r}-{one.sid}-{a}" for r, one, a in EVERY]
)
def test_a_function_fails_without_any_one_action(
    deployed: Deployed, template: dict[str, Any], role: str, statement: Statement, action: str
) -> None:
    if statement.sid in OF_LAMBDA:
        made = deepcopy(template)
        [policy] = [
            resource["Properties"]
            for resource in made["Resources"].values()
            if resource["Type"] == "AWS::IAM::ManagedPolicy"
            and resource["Properties"]["ManagedPolicyName"] == deployed.names("role", role)
        ]
        policy["PolicyDocument"] = less(policy["PolicyDocument"], statement, action)
        assert broken(made) != {}
        return
    with without(deployed, role, statement, action):
        assert not WORKS[role](deployed, 6.0)
    # It was the role that failed, and nothing that an earlier test left behind.
    eventually(lambda: WORKS[role](deployed, 60.0), 90.0)


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    return synthesise(suffix="dev-test-001")[1]
