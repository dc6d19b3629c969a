"""The architecture of a topology as a picture: boxes in boundaries, and arrows that say what flows.

All of it is read from the topology's graph: where a box stands by `placement.py`, what flows by
`flows.py`. `d2.py` lays it out and draws it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from remit_infra.graph.graph import Graph, Resource
from remit_infra.graph.terraform_names import DYNAMIC_RESOURCE
from remit_infra.plan.flows import (
    ALARMS,
    APIS,
    BALANCER,
    BUCKETS,
    CALLERS,
    DASHBOARDS,
    EGRESS_ONLY,
    FIREWALLS,
    FUNCTIONS,
    INTERNET,
    NAT,
    OPERATORS,
    QUEUES,
    RULES,
    SERVICE,
    SUBSCRIBERS,
    TOPICS,
    Flow,
    flows_of,
    value,
)
from remit_infra.plan.placement import GROUPS, Boundary, DiagramPlacement, Place


class ServiceKind(NamedTuple):
    """AWS's name of a service, and the class that draws it in `diagram_style.d2`."""

    service: str
    look: str


NAT_GATEWAY = ServiceKind("NAT gateway", "network")
SCHEDULES = ServiceKind("Amazon EventBridge", "integration")
KEYS = ServiceKind("AWS KMS", "security")
MONITORING = ServiceKind("Amazon CloudWatch", "integration")
TOGETHER = (NAT_GATEWAY, SCHEDULES, KEYS, MONITORING)
"""Of these, all that a topology has is one box."""

LOG_GROUPS = ("AWS::Logs::LogGroup", "aws:cloudwatch/logGroup:LogGroup")
CODE = ServiceKind("", "code")
KINDS: Mapping[str, ServiceKind] = MappingProxyType(
    {
        **dict.fromkeys(FIREWALLS, ServiceKind("AWS WAF", "security")),
        **dict.fromkeys(APIS, ServiceKind("Amazon API Gateway", "network")),
        BALANCER: ServiceKind("Application Load Balancer", "network"),
        NAT: NAT_GATEWAY,
        EGRESS_ONLY: ServiceKind("Egress-only internet gateway", "network"),
        **dict.fromkeys(RULES, SCHEDULES),
        **dict.fromkeys((*FUNCTIONS, SERVICE, DYNAMIC_RESOURCE), CODE),
        "AWS::DynamoDB::Table": ServiceKind("Amazon DynamoDB", "database"),
        "aws:rds/instance:Instance": ServiceKind("Amazon RDS for PostgreSQL", "database"),
        "aws:rds/cluster:Cluster": ServiceKind("Amazon Aurora PostgreSQL", "database"),
        "aws:elasticache/replicationGroup:ReplicationGroup": ServiceKind(
            "Amazon ElastiCache for Redis", "database"
        ),
        "aws:ecr/repository:Repository": ServiceKind("Amazon ECR", "registry"),
        **dict.fromkeys(QUEUES, ServiceKind("Amazon SQS", "queue")),
        **dict.fromkeys(TOPICS, ServiceKind("Amazon SNS", "integration")),
        **dict.fromkeys(BUCKETS, ServiceKind("Amazon S3", "bucket")),
        **dict.fromkeys(("AWS::KMS::Key", "aws:kms/key:Key"), KEYS),
        **dict.fromkeys((*ALARMS, *DASHBOARDS, *LOG_GROUPS), MONITORING),
    }
)
"""The types that are drawn. What of a topology is not is listed in tests/infra/test_diagram.py."""

OUTSIDE: Mapping[str, str] = MappingProxyType(
    {CALLERS: "person", OPERATORS: "person", SUBSCRIBERS: "person", INTERNET: "internet"}
)


class Box(NamedTuple):
    """Something that is drawn, and the resources of the graph that it stands for."""

    place: Place
    heading: str
    lines: tuple[str, ...]
    look: str
    resources: tuple[str, ...]


class Arrow(NamedTuple):
    """From a box or boundary to another, with what flows."""

    source: Place
    target: Place
    label: str


class Diagram(NamedTuple):
    title: str
    boundaries: list[Boundary]
    boxes: list[Box]
    arrows: list[Arrow]


def diagram_of(graph: Graph) -> Diagram:
    """The picture of a topology; the same for the same graph, in whatever order it was made."""
    flows = flows_of(graph)
    placement = DiagramPlacement(graph, (flow.target for flow in flows if flow.what == "requests"))
    ends = {end for flow in flows for end in (flow.source, flow.target)}
    boxes = [
        *(Box((who,), who, (), look, ()) for who, look in OUTSIDE.items() if who in ends),
        *_boxes(graph, placement),
    ]
    return Diagram(
        title=f"Remit on AWS: {graph.topology} ({graph.suffix})",
        boundaries=placement.boundaries(box.place for box in boxes),
        boxes=boxes,
        arrows=_arrows(flows, boxes, placement),
    )


def _boxes(graph: Graph, placement: DiagramPlacement) -> Iterator[Box]:
    together: dict[ServiceKind, list[Resource]] = defaultdict(list)
    for resource in sorted(graph.resources, key=lambda one: one.name):
        if (kind := KINDS.get(resource.type)) in TOGETHER:
            together[kind].append(resource)
        elif kind is not None:
            name = _name(resource, graph.suffix)
            heading, *lines = [kind.service, name] if kind.service else [name]
            lines += _tasks(graph, resource)
            place = (*placement.boundaries_around(resource), name)
            yield Box(place, heading, tuple(lines), kind.look, (resource.name,))
    for kind, resources in together.items():
        yield Box(
            (*placement.boundaries_around(resources[0]), kind.service),
            kind.service,
            tuple(_summary(kind, resources, graph.suffix)),
            kind.look,
            tuple(resource.name for resource in resources),
        )


def _summary(kind: ServiceKind, resources: list[Resource], suffix: str) -> list[str]:
    """What a box that stands for several says of them: their names, or how many there are."""
    counted = {"alarms": ALARMS, "log groups": LOG_GROUPS} if kind == MONITORING else {}
    counts = {what: [one for one in resources if one.type in counted[what]] for what in counted}
    named = [one for one in resources if not any(one in some for some in counts.values())]
    return [
        *(f"{len(some)} {what}" for what, some in counts.items()),
        *(_name(one, suffix) for one in named),
    ]


def _name(resource: Resource, suffix: str) -> str:
    """What people call it. CloudFormation's own names end in a hash, so there it is the tag."""
    tags = resource.properties.get("Tags")
    named = next((tag["Value"] for tag in tags or () if tag["Key"] == "Name"), resource.name)
    return str(named).removesuffix(f"-{suffix}")


def _tasks(graph: Graph, resource: Resource) -> list[str]:
    """How many of a service there are, or when a task runs."""
    if resource.type == DYNAMIC_RESOURCE:
        return ["before each release"]
    ends = f"/{value(resource, 'name')}"
    return [
        f"{value(one, 'minCapacity')} to {value(one, 'maxCapacity')} tasks"
        for one in graph.of("aws:appautoscaling/target:Target")
        if resource.type == SERVICE and value(one, "resourceId").endswith(ends)
    ]


Flowing = defaultdict[tuple[Place, Place], set[str]]


def _arrows(flows: Iterable[Flow], boxes: list[Box], placement: DiagramPlacement) -> list[Arrow]:
    """One arrow from each end to each other, with all that flows there; and one for a whole group
    of code where the same flows from, or to, each of its members.
    """
    places_of = {end: box.place for box in boxes for end in box.resources or box.place}
    flowing: Flowing = defaultdict(set)
    for flow in flows:
        source, target = (
            places_of.get(end) or placement.of_subnet(end) for end in (flow.source, flow.target)
        )
        if source and target:
            flowing[source, target].add(flow.what)
    # Which code uses which key, and who writes logs, would be a tangle that says little.
    shared = {box.place for box in boxes if box.heading in (KEYS.service, MONITORING.service)}
    for group in sorted({box.place[:depth] for box in boxes for depth in range(len(box.place))}):
        if group and group[-1] in GROUPS:
            members = {box.place for box in boxes if box.place[: len(group)] == group}
            _join(flowing, group, members, shared)
    return [Arrow(*ends, ", ".join(sorted(what))) for ends, what in sorted(flowing.items()) if what]


def _join(flowing: Flowing, group: Place, members: set[Place], shared: set[Place]) -> None:
    """Moves to the group what flows between each member and another box. To and from `shared`
    boxes it is what flows between any member and the box.
    """
    if len(members) < 2:
        return
    others = {end for ends in flowing for end in ends if end[: len(group)] != group}
    for other in others:
        for is_out in (True, False):
            each = [flowing[(member, other) if is_out else (other, member)] for member in members]
            joined = set.union(*each) if other in shared else set.intersection(*each)
            for flowing_alone in each:
                flowing_alone.difference_update(joined)
            flowing[(group, other) if is_out else (other, group)] |= joined
