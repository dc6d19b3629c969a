"""Every topology keeps every policy, in every environment; and every policy can be broken."""

import pytest

from remit_infra.topologies.lambda_dynamodb.stack import synthesise
from tests.infra.graphs import SUFFIXES, TOPOLOGIES, graph_of, graph_with, template_graph
from tests.infra.mutations.suite import MUTATIONS
from tests.infra.policies.suite import POLICIES, broken

pytestmark = pytest.mark.xdist_group("graphs")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_every_policy_is_kept(topology: str, suffix: str) -> None:
    assert broken(graph_of(topology, suffix)) == {}


@pytest.mark.parametrize(
    ("topology", "configuration"),
    [
        ("lambda-postgres", {}),
        ("fargate-aurora", {}),
        ("fargate-aurora", {"natGateways": "1"}),
        (
            "fargate-aurora",
            {"image": "123456789012.dkr-ecr.us-east-1.on.aws/payment-service-dev@sha256:00"},
        ),
        ("fargate-aurora", {"domainName": "pay.example.com", "hostedZoneId": "Z0000000000000"}),
        ("fargate-aurora", {"thresholds": '{"payment-dlq-not-empty": 5}'}),
    ],
)
def test_every_policy_is_kept_however_a_program_is_configured(
    topology: str, configuration: dict[str, str]
) -> None:
    assert broken(graph_with(topology, "dev", **configuration)) == {}


def test_every_policy_is_kept_however_the_stack_is_configured() -> None:
    _, template = synthesise(
        suffix="dev-2",
        migration_date="2027-01-31",
        alarm_email="ops@example.com",
        settings={"default_currency": "EUR"},
        architecture="x86_64",
    )
    assert broken(template_graph("dev-2", template)) == {}


@pytest.mark.parametrize(
    ("fault", "topology"),
    [(fault, topology) for fault, one in MUTATIONS.items() for topology in one.topologies],
)
def test_a_mutation_breaks_its_policy(fault: str, topology: str) -> None:
    mutation = MUTATIONS[fault]
    graph = mutation.mutate(graph_of(topology, "staging-001"))
    assert list(broken(graph, [mutation.policy])) == [mutation.policy.name]


def test_every_policy_is_broken_by_a_mutation() -> None:
    broken_by = {mutation.policy.name for mutation in MUTATIONS.values()}
    assert {policy.name for policy in POLICIES} == broken_by
