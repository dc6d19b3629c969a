"""What is drawn of a topology is what is in its graph, in the place and with the arrows it has."""

import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from remit_infra.graph.graph import Graph, Resource
from remit_infra.graph.terraform_names import DYNAMIC_RESOURCE
from remit_infra.plan.diagram import KINDS, OUTSIDE, Diagram, diagram_of
from remit_infra.plan.flows import ACTIONS, FUNCTIONS, POLICIES, value
from remit_infra.plan.plan import TOPOLOGIES, plan_stack
from tests.infra.mutations.mutation import altered, gone, unordered
from tests.infra.not_drawn import MOVES_LITTLE, NOT_DRAWN

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("recorded")]

ZONES = "Availability Zones us-east-1a, us-east-1b, us-east-1c"
BOUNDARIES = {
    "fargate-aurora": {
        "region": "AWS Region us-east-1",
        "region/vpc": "Amazon VPC 10.2.0.0/16",
        "region/vpc/zones": ZONES,
        "region/vpc/zones/data": "Data subnets",
        "region/vpc/zones/public": "Public subnets",
        "region/vpc/zones/task": "Task subnets (IPv6 only)",
        "region/vpc/zones/task/ecs": "Amazon ECS on AWS Fargate",
        "region/vpc/zones/task/ecs/services": "services",
    },
    "lambda-dynamodb": {
        "region": "AWS Region",
        "region/lambda": "AWS Lambda",
        "region/lambda/answering": "answer requests",
    },
    "lambda-postgres": {
        "region": "AWS Region us-east-1",
        "region/vpc": "Amazon VPC 10.0.0.0/16",
        "region/vpc/zones": ZONES,
        "region/vpc/zones/private": "Private subnets",
        "region/vpc/zones/private/lambda": "AWS Lambda",
        "region/vpc/zones/private/lambda/answering": "answer requests",
        "region/vpc/zones/public": "Public subnets",
    },
}


def reviewed(reasons: dict[str, set[str]]) -> set[str]:
    return {one for some in reasons.values() for one in some}


def arrows(graph: Graph) -> set[tuple[str, str, str]]:
    """The arrows by the names of their ends, without the boundaries around them."""
    return {(one.source[-1], one.target[-1], one.label) for one in diagram_of(graph).arrows}


def test_every_type_of_a_topology_is_drawn_or_has_a_reason_not_to_be(
    prod_graphs: dict[str, Graph],
) -> None:
    types = {resource.type for graph in prod_graphs.values() for resource in graph.resources}
    assert types - KINDS.keys() == reviewed(NOT_DRAWN)
    assert KINDS.keys() - types == set()


def test_every_action_of_a_policy_is_drawn_or_has_a_reason_not_to_be(
    prod_graphs: dict[str, Graph],
) -> None:
    used = {action for graph in prod_graphs.values() for action in actions_of(graph)}
    assert used - ACTIONS.keys() == reviewed(MOVES_LITTLE)
    assert ACTIONS.keys() - used == set()


def actions_of(graph: Graph) -> set[str]:
    found: set[str] = set()
    for policy in graph.of(*POLICIES):
        document = value(policy, "policy") or value(policy, "policyDocument")
        document = json.loads(document) if isinstance(document, str) else document
        for statement in document["Statement"]:
            actions = statement["Action"]
            found |= {actions} if isinstance(actions, str) else set(actions)
    return found


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_each_resource_of_a_drawn_type_is_in_one_box_and_each_box_is_a_resource(
    prod_graphs: dict[str, Graph], topology: str
) -> None:
    graph = prod_graphs[topology]
    boxes = diagram_of(graph).boxes
    drawn = Counter(name for box in boxes for name in box.resources)
    assert drawn == Counter(one.name for one in graph.resources if one.type in KINDS)
    assert {box.heading for box in boxes if not box.resources} <= OUTSIDE.keys()
    assert len({box.place for box in boxes}) == len(boxes)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_boundaries_are_region_network_zones_subnets_and_what_runs_code(
    prod_graphs: dict[str, Graph], topology: str
) -> None:
    drawn = {"/".join(one.place): one.label for one in diagram_of(prod_graphs[topology]).boundaries}
    assert drawn == BOUNDARIES[topology]


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_every_arrow_has_a_label_and_ends_at_what_is_drawn(
    prod_graphs: dict[str, Graph], topology: str
) -> None:
    diagram = diagram_of(prod_graphs[topology])
    places = {box.place for box in diagram.boxes} | {one.place for one in diagram.boundaries}
    assert [one for one in diagram.arrows if not one.label] == []
    assert {end for one in diagram.arrows for end in (one.source, one.target)} <= places
    assert no_arrow(diagram) <= {("region", "AWS KMS")}


def no_arrow(diagram: Diagram) -> set[tuple[str, ...]]:
    """Boxes that no arrow leads to or from, not even by a boundary around them."""
    ends = {end for one in diagram.arrows for end in (one.source, one.target)}
    return {box.place for box in diagram.boxes if not any(box.place[: len(e)] == e for e in ends)}


def test_the_arrows_of_a_whole_topology(prod_graphs: dict[str, Graph]) -> None:
    assert arrows(prod_graphs["fargate-aurora"]) == {
        ("Callers", "payment-waf", "HTTPS"),
        ("payment-waf", "payment-alb", "allowed requests"),
        ("payment-alb", "payment-service", "requests"),
        ("payment-alb", "payment-access-logs", "access logs"),
        ("payment-audit-logs", "payment-access-logs", "access logs"),
        ("payment-service-repository", "ecs", "images"),
        ("ecs", "payment-db", "SQL"),
        ("services", "payment-cache", "Redis commands"),
        ("services", "payment-queue", "work messages"),
        ("payment-queue", "payment-worker", "work messages"),
        ("payment-queue", "payment-dlq", "after 3 receives"),
        ("Amazon EventBridge", "payment-queue", "every day"),
        ("payment-worker", "payment-notifications", "payment events"),
        ("payment-worker", "payment-alarms", "alerts"),
        ("payment-worker", "payment-audit-logs", "audit segments"),
        ("ecs", "AWS KMS", "card keys, fingerprints, signatures"),
        ("ecs", "Amazon CloudWatch", "logs, metrics"),
        ("Amazon CloudWatch", "payment-alarms", "alarms"),
        ("payment-alarms", "Operators", "alarms"),
        ("payment-notifications", "Subscribers", "payment events"),
        ("task", "payment-egress", "HTTPS"),
        ("payment-egress", "Internet", "HTTPS"),
    }


def test_a_function_that_nothing_calls_is_called_by_operators(
    prod_graphs: dict[str, Graph],
) -> None:
    called = {
        (source, target)
        for source, target, what in arrows(prod_graphs["lambda-postgres"])
        if what == "commands"
    }
    assert called == {("Operators", "payment-operator")}
    functions = {one.name for one in prod_graphs["lambda-dynamodb"].of(*FUNCTIONS)}
    assert len(functions) == 4
    assert "commands" not in {what for *_, what in arrows(prod_graphs["lambda-dynamodb"])}


GONE = [
    (
        ("fargate-aurora", "iam/rolePolicy:RolePolicy", "payment-api-policy"),
        {
            ("ecs", "payment-db", "SQL"),
            ("services", "payment-cache", "Redis commands"),
            ("services", "payment-queue", "work messages"),
            ("ecs", "AWS KMS", "card keys, fingerprints, signatures"),
        },
    ),
    (
        ("fargate-aurora", "lb/listener:Listener", "payment-alb-https"),
        {
            ("Callers", "payment-waf", "HTTPS"),
            ("payment-alb", "payment-service", "requests"),
        },
    ),
    (
        ("fargate-aurora", "s3/bucketLogging:BucketLogging", "payment-audit-logs"),
        {("payment-audit-logs", "payment-access-logs", "access logs")},
    ),
    (
        ("lambda-postgres", "iam/rolePolicy:RolePolicy", "payment-delivery-policy"),
        {
            ("lambda", "payment-db", "SQL"),
            ("lambda", "AWS KMS", "card keys, fingerprints, signatures"),
            ("payment-delivery", "payment-audit-logs", "audit segments"),
            ("payment-delivery", "payment-notifications", "payment events"),
        },
    ),
    (
        ("lambda-postgres", "cloudwatch/eventTarget:EventTarget", "payment-health-monitor"),
        {("Amazon EventBridge", "health-monitor", "every minute")},
    ),
    (
        ("lambda-postgres", "ec2/route:Route", "payment-private-route"),
        {("private", "NAT gateway", "HTTPS"), ("NAT gateway", "Internet", "HTTPS")},
    ),
]


@pytest.mark.parametrize(("taken", "lost"), GONE, ids=[taken[-1] for taken, _ in GONE])
def test_an_arrow_is_gone_with_what_it_stood_for(
    prod_graphs: dict[str, Graph],
    taken: tuple[str, str, str],
    lost: set[tuple[str, str, str]],
) -> None:
    topology, kind, name = taken
    before = prod_graphs[topology]
    assert arrows(before) - arrows(altered(kind, name, gone)(before)) == lost


def test_without_a_firewall_callers_reach_the_balancer_and_without_a_certificate_by_http(
    prod_graphs: dict[str, Graph],
) -> None:
    graph = prod_graphs["fargate-aurora"]
    open_to_all = altered("wafv2/webAclAssociation:WebAclAssociation", "payment-waf", gone)(graph)
    assert ("Callers", "payment-alb", "HTTPS") in arrows(open_to_all)
    plain = plan_stack("fargate-aurora", "dev", {}).graph
    assert ("Callers", "payment-waf", "HTTP") in arrows(plain)


def test_what_waits_for_another_without_using_it_has_no_arrow_to_it(
    prod_graphs: dict[str, Graph],
) -> None:
    graph = prod_graphs["fargate-aurora"]
    assert arrows(unordered("ecs/service:Service", "payment")(graph)) == arrows(graph)


def test_a_permission_of_one_function_is_its_own_and_of_all_is_the_groups() -> None:
    def graph(*users: str) -> Graph:
        names = ("payment-validator", "payment-processing")
        return Graph(
            topology="lambda-postgres",
            suffix="dev",
            resources=(
                Resource(type="aws:s3/bucket:Bucket", name="payment-audit-logs", properties={}),
                *(part for name in names for part in function(name, may_write=name in users)),
            ),
        )

    written = {arrow for arrow in arrows(graph("payment-validator")) if arrow[2] != "commands"}
    assert written == {("payment-validator", "payment-audit-logs", "audit segments")}
    written = arrows(graph("payment-validator", "payment-processing"))
    assert ("lambda", "payment-audit-logs", "audit segments") in written
    assert len([what for *_, what in written if what == "audit segments"]) == 1


def function(name: str, *, may_write: bool) -> tuple[Resource, ...]:
    statement: dict[str, Any] = {
        "Action": ["s3:PutObject"],
        "Resource": ["${aws_s3_bucket.payment-audit-logs.arn}"],
    }
    policy = {"Statement": [statement] if may_write else []}
    return (
        Resource(type="aws:iam/role:Role", name=f"{name}-role", properties={"name": f"{name}-dev"}),
        Resource(
            type="aws:lambda/function:Function",
            name=name,
            properties={"role": f"${{aws_iam_role.{name}-role.arn}}"},
        ),
        Resource(
            type="aws:iam/rolePolicy:RolePolicy",
            name=f"{name}-policy",
            properties={"role": f"{name}-dev", "policy": json.dumps(policy)},
        ),
    )


def test_the_order_of_a_graph_changes_nothing(prod_graphs: dict[str, Graph]) -> None:
    for graph in prod_graphs.values():
        turned = msgspec.structs.replace(graph, resources=tuple(reversed(graph.resources)))
        assert diagram_of(turned) == diagram_of(graph)


def test_a_task_that_migrates_says_when_it_runs(prod_graphs: dict[str, Graph]) -> None:
    graph = prod_graphs["fargate-aurora"]
    [migration] = graph.of(DYNAMIC_RESOURCE)
    lines = {box.resources[0]: box.lines for box in diagram_of(graph).boxes if box.resources}
    assert lines[migration.name] == ("before each release",)
    assert lines["payment-worker"] == ("2 to 10 tasks",)
