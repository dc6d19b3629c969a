"""Every permission is needed: with any one action removed from a role, AWS refuses that action and
what runs with the role fails.

The emulator enforces what functions and tasks call themselves. The rest, such as what Lambda does
with a function's role, is held by the policies over the topology's graph.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple

import pytest

from remit_infra.model.permissions import (
    FARGATE_AURORA,
    LAMBDA_DYNAMODB,
    LAMBDA_POSTGRES,
    Statement,
)
from tests.emulated.conftest import Deployments
from tests.emulated.fargate_aurora import roles as fargate_aurora
from tests.emulated.harness import of_topology
from tests.emulated.lambda_dynamodb import roles as lambda_dynamodb
from tests.emulated.lambda_postgres import roles as lambda_postgres
from tests.emulated.permissions import (
    Check,
    Refusals,
    Refused,
    graph_with_less,
    lacking,
    names_of,
)
from tests.infra.graphs import graph_of
from tests.infra.policies.suite import broken


def nothing_is_refused() -> bool:
    return False


class Roles(NamedTuple):
    """The roles of a topology: what they may do, how each is tried, how what has it begins anew,
    and which statements the emulator does not enforce.
    """

    statements: Mapping[str, tuple[Statement, ...]]
    checks: Mapping[str, Check]
    renew: Callable[[Any, str], None]
    not_enforced: frozenset[str]


ROLES = {
    "fargate-aurora": Roles(
        FARGATE_AURORA,
        fargate_aurora.CHECKS,
        fargate_aurora.renew,
        fargate_aurora.NOT_EMULATED,
    ),
    "lambda-dynamodb": Roles(
        LAMBDA_DYNAMODB, lambda_dynamodb.CHECKS, lambda_dynamodb.renew, lambda_dynamodb.OF_LAMBDA
    ),
    "lambda-postgres": Roles(
        LAMBDA_POSTGRES, lambda_postgres.CHECKS, lambda_postgres.renew, lambda_postgres.OF_LAMBDA
    ),
}

EACH_ROLE = [
    pytest.param(topology, role, marks=of_topology(topology))
    for topology, roles in ROLES.items()
    for role in roles.checks
]
EACH_ACTION = [
    pytest.param(
        topology,
        role,
        statement,
        action,
        marks=of_topology(topology),
        id=f"{topology}-{role}-{statement.sid}-{action}",
    )
    for topology, roles in ROLES.items()
    for role in roles.checks
    for statement in roles.statements[role]
    for action in statement.actions
]


@pytest.fixture(scope="module", autouse=True)
def _kept_tasks_end(deployments: Deployments) -> Iterator[None]:
    yield
    if "fargate-aurora" in deployments.made:
        deployments.of("fargate-aurora").end_kept()


def test_every_role_is_tried() -> None:
    assert {topology: set(roles.checks) for topology, roles in ROLES.items()} == {
        topology: set(roles.statements) for topology, roles in ROLES.items()
    }


def failed_step(check: Check, stack: Any, refused: Refused = nothing_is_refused) -> str | None:
    """The first step that failed, and what it came to."""
    with closing(check(stack, refused)) as steps:
        return next(steps, None)


@pytest.mark.parametrize(("topology", "role"), EACH_ROLE)
def test_a_role_may_do_all_that_it_is_there_for(
    deployed: Callable[[str], Any], topology: str, role: str
) -> None:
    stack = deployed(topology)
    refusals = Refusals(lambda: stack.refusals(role))
    assert failed_step(ROLES[topology].checks[role], stack) is None
    assert refusals.actions() == set()


@pytest.mark.parametrize(("topology", "role", "statement", "action"), EACH_ACTION)
def test_a_role_fails_without_any_one_action(
    deployed: Callable[[str], Any], topology: str, role: str, statement: Statement, action: str
) -> None:
    roles = ROLES[topology]
    if statement.sid in roles.not_enforced:
        graph = graph_of(topology, "staging-001")
        assert broken(graph_with_less(graph, role, statement, action)) != {}
        return
    stack, check = deployed(topology), roles.checks[role]
    refusals = Refusals(lambda: stack.refusals(role))

    def is_refused() -> bool:
        """This action: what an earlier test took away may still be refused to a run of then."""
        return not names_of(action).isdisjoint(refusals.actions())

    with lacking(stack.client("iam"), stack.names("role", role), statement, action):
        if failed_step(check, stack, is_refused) is None:
            # By what it remembers of the time when it was allowed to.
            roles.renew(stack, role)
            assert failed_step(check, stack, is_refused) is not None
        assert is_refused()


@pytest.mark.parametrize(("topology", "role"), EACH_ROLE)
def test_a_role_that_has_everything_again_works_again(
    deployed: Callable[[str], Any], topology: str, role: str
) -> None:
    """It was the roles that failed, and nothing that the tests left behind."""
    stack, roles = deployed(topology), ROLES[topology]
    roles.renew(stack, role)
    assert failed_step(roles.checks[role], stack) is None
