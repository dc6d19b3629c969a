"""The architecture of a topology as a picture, drawn from its graph: what is there is shown.

From left to right as a request goes: who asks, what runs, what is kept. A line is a permission or
a route that is in the graph. What lives in the private network is in the frame.
"""

from collections import Counter, defaultdict, deque
from html import escape
from typing import NamedTuple

from remit_infra.graph.graph import Graph, Resource, references
from remit_infra.graph.terraform_names import DYNAMIC_RESOURCE


class Kind(NamedTuple):
    """How a type is drawn: in which column, inside the network or not, and what it is called."""

    column: int
    inside: bool
    what: str


KINDS: dict[str, Kind] = {
    "AWS::WAFv2::WebACL": Kind(0, False, "web firewall"),
    "aws:wafv2/webAcl:WebAcl": Kind(0, False, "web firewall"),
    "AWS::ApiGateway::RestApi": Kind(1, False, "API Gateway"),
    "aws:apigateway/restApi:RestApi": Kind(1, False, "API Gateway"),
    "aws:lb/loadBalancer:LoadBalancer": Kind(1, True, "load balancer, public subnets"),
    "AWS::Events::Rule": Kind(1, False, "clock"),
    "aws:cloudwatch/eventRule:EventRule": Kind(1, False, "clock"),
    "AWS::Lambda::Function": Kind(2, False, "function"),
    "aws:lambda/function:Function": Kind(2, True, "function, private subnets"),
    "aws:ec2/natGateway:NatGateway": Kind(1, True, "NAT gateway, public subnet"),
    "aws:ec2/egressOnlyInternetGateway:EgressOnlyInternetGateway": Kind(
        1, True, "way out, IPv6 alone"
    ),
    "aws:ecs/service:Service": Kind(2, True, "service, IPv6 alone"),
    DYNAMIC_RESOURCE: Kind(2, True, "task, before new code"),
    "AWS::DynamoDB::Table": Kind(3, False, "DynamoDB table"),
    "aws:rds/instance:Instance": Kind(3, True, "PostgreSQL, private subnets"),
    "aws:rds/cluster:Cluster": Kind(3, True, "Aurora PostgreSQL, private subnets"),
    "aws:elasticache/replicationGroup:ReplicationGroup": Kind(3, True, "Redis, private subnets"),
    "aws:ecr/repository:Repository": Kind(3, False, "images"),
    "AWS::SQS::Queue": Kind(3, False, "queue"),
    "aws:sqs/queue:Queue": Kind(3, False, "queue"),
    "AWS::SNS::Topic": Kind(3, False, "topic"),
    "aws:sns/topic:Topic": Kind(3, False, "topic"),
    "AWS::S3::Bucket": Kind(3, False, "bucket"),
    "aws:s3/bucket:Bucket": Kind(3, False, "bucket"),
    "AWS::KMS::Key": Kind(3, False, "key"),
    "aws:kms/key:Key": Kind(3, False, "key"),
}

ALIAS = "aws:lambda/alias:Alias"
TASK = "aws:ecs/taskDefinition:TaskDefinition"
CONNECTORS = frozenset(
    {
        "AWS::ApiGateway::Method",
        "AWS::IAM::ManagedPolicy",
        "AWS::IAM::Role",
        "AWS::Lambda::EventSourceMapping",
        "AWS::WAFv2::WebACLAssociation",
        "aws:apigateway/integration:Integration",
        "aws:apigateway/stage:Stage",
        "aws:cloudwatch/eventTarget:EventTarget",
        "aws:iam/role:Role",
        "aws:iam/rolePolicy:RolePolicy",
        ALIAS,
        TASK,
        "aws:lb/listener:Listener",
        "aws:lb/listenerRule:ListenerRule",
        "aws:lb/targetGroup:TargetGroup",
        "aws:lb/targetGroupAttachment:TargetGroupAttachment",
        "aws:wafv2/webAclAssociation:WebAclAssociation",
    }
)
"""What a line goes through: routes, policies and attachments. They are not drawn themselves."""

WIDTH, HEIGHT = 210, 40
COLUMN, ROW, MARGIN, TOP = 300, 52, 40, 110
WAITING = ("aws:ecs/service:Service", DYNAMIC_RESOURCE)
RUNS = 2
HEADS = ("callers", "ways in and out", "what runs", "what is kept")
CLOCKS, QUEUES = ("AWS::Events::Rule", "aws:cloudwatch/eventRule:EventRule"), "aws:sqs/queue:Queue"
STYLE = (
    "text{font-family:system-ui,sans-serif;font-size:12px;fill:#1d2733}"
    ".name{font-weight:600}.what{fill:#5b6b7c;font-size:10.5px}.head{font-size:13px;fill:#5b6b7c}"
    ".title{font-size:18px;font-weight:600}"
    "rect.box{fill:#fff;stroke:#8496a9;rx:7}rect.frame{fill:#eef4fa;stroke:#9db7d1;rx:12}"
    "path{fill:none;stroke:#7f93a8;stroke-width:1.2;opacity:.55}"
)


class Box(NamedTuple):
    resource: Resource
    kind: Kind
    x: int
    y: int


def svg(graph: Graph) -> str:
    """The picture, complete in itself: no script, no font, no link."""
    boxes, frame = _placed(graph)
    bottom = max((box.y for box in boxes.values()), default=TOP) + ROW + MARGIN
    width = MARGIN * 2 + COLUMN * (len(HEADS) - 1) + WIDTH
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 30}" '
        f'role="img" aria-label="Architecture of {escape(graph.topology)}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{width}" height="{bottom + 30}" fill="#f8fafc"/>',
        f'<text class="title" x="{MARGIN}" y="42">{escape(graph.topology)}, '
        f"{escape(graph.suffix)}</text>",
    ]
    for column, head in enumerate(HEADS):
        drawn.append(f'<text class="head" x="{MARGIN + COLUMN * column}" y="82">{head}</text>')
    if frame is not None:
        top, network = frame
        drawn.append(
            f'<rect class="frame" x="{MARGIN + COLUMN - 22}" y="{top - 34}" '
            f'width="{COLUMN * 2 + WIDTH + 44}" height="{bottom - top + 10}"/>'
            f'<text class="head" x="{MARGIN + COLUMN - 8}" y="{top - 14}">{escape(network)}</text>'
        )
    for one, other in sorted(lines(graph)):
        drawn.append(_line(boxes[one], boxes[other]))
    drawn.extend(_box(box, graph.suffix) for box in boxes.values())
    drawn.append(f'<text class="what" x="{MARGIN}" y="{bottom + 14}">{_rest(graph)}</text></svg>')
    return "\n".join(drawn) + "\n"


def _placed(graph: Graph) -> tuple[dict[str, Box], tuple[int, str] | None]:
    """Where each is drawn: outside the network above, inside below; and where the frame begins."""
    outside: dict[int, list[Resource]] = defaultdict(list)
    inside: dict[int, list[Resource]] = defaultdict(list)
    for resource in graph.resources:
        if (kind := KINDS.get(resource.type)) is not None:
            (inside if kind.inside else outside)[kind.column].append(resource)
    above = max((len(column) for column in outside.values()), default=0)
    boxes: dict[str, Box] = {}
    below = TOP + above * ROW + 50
    for top, columns in ((TOP, outside), (below, inside)):
        for column, resources in columns.items():
            for row, resource in enumerate(sorted(resources, key=lambda one: one.name)):
                x, y = MARGIN + COLUMN * column, top + ROW * row
                boxes[resource.name] = Box(resource, KINDS[resource.type], x, y)
    networks = graph.of("aws:ec2/vpc:Vpc")
    if not networks:
        return boxes, None
    zones = {s.properties["availabilityZone"] for s in graph.of("aws:ec2/subnet:Subnet")}
    label = f"network {networks[0].properties['cidrBlock']} in {len(zones)} zones"
    return boxes, (below, label)


def lines(graph: Graph) -> set[tuple[str, str]]:
    """Pairs of neighbouring columns that are joined by connectors alone, from left to right."""
    kinds = {resource.name: resource for resource in graph.resources}
    near: dict[str, set[str]] = defaultdict(set)
    for one, other in graph.edges():
        # A service that only waits for another's way in is not joined to it.
        if kinds[one].type in WAITING and other not in references(kinds[one].properties):
            continue
        near[one].add(other)
        near[other].add(one)
    found = set()
    for start, resource in kinds.items():
        if resource.type not in KINDS:
            continue
        seen, waiting = {start}, deque(_onward(start, near, kinds))
        while waiting:
            name = waiting.popleft()
            if name in seen:
                continue
            seen.add(name)
            if kinds[name].type in KINDS:
                found.add((start, name))
            elif kinds[name].type in CONNECTORS:
                waiting.extend(_onward(name, near, kinds))
    return {pair for pair in found if _is_next(*(kinds[name] for name in pair))}


def _onward(name: str, near: dict[str, set[str]], kinds: dict[str, Resource]) -> set[str]:
    """Where a line goes on to from what it has come to, or begins at."""
    drawn = {other for other in near[name] if kinds[other].type in KINDS}
    tasks = {other for other in near[name] if kinds[other].type == TASK}
    kind = kinds[name].type
    if kind == ALIAS:
        # To its function, and not back to whoever else calls it.
        return drawn
    if kind == TASK or (kind in KINDS and KINDS[kind].column == RUNS):
        # What code is told of is not what it may use: that goes by its role's policy.
        return near[name] - drawn
    # Tasks share the role that starts them, and no more.
    return near[name] - tasks


def _is_next(one: Resource, other: Resource) -> bool:
    if one.type in CLOCKS and other.type == QUEUES:
        return True
    return KINDS[other.type].column - KINDS[one.type].column == 1


def _line(one: Box, other: Box) -> str:
    (x1, y1), (x2, y2) = (one.x + WIDTH, one.y + HEIGHT / 2), (other.x, other.y + HEIGHT / 2)
    middle = (x1 + x2) / 2
    return f'<path d="M{x1} {y1:g} C{middle:g} {y1:g} {middle:g} {y2:g} {x2} {y2:g}"/>'


def _label(resource: Resource, suffix: str) -> str:
    """What people call it: CloudFormation's own names end in a hash, so there it is the tag."""
    tags = resource.properties.get("Tags")
    named = next((tag["Value"] for tag in tags or () if tag["Key"] == "Name"), resource.name)
    return str(named).removesuffix(f"-{suffix}")


def _box(box: Box, suffix: str) -> str:
    label = escape(_label(box.resource, suffix))
    return (
        f'<g><title>{escape(box.resource.type)}</title><rect class="box" x="{box.x}" y="{box.y}" '
        f'width="{WIDTH}" height="{HEIGHT}"/>'
        f'<text class="name" x="{box.x + 10}" y="{box.y + 17}">{label}</text>'
        f'<text class="what" x="{box.x + 10}" y="{box.y + 31}">{escape(box.kind.what)}</text></g>'
    )


def _rest(graph: Graph) -> str:
    """How much is there that is not drawn."""
    words = {"Alarm": "alarms", "LogGroup": "log groups", "Role": "roles", "Rule": "rules"}
    counts = Counter(
        words[word] for resource in graph.resources for word in words if _ends(resource, word)
    )
    listed = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
    return f"{len(graph.resources)} resources, among them {listed}"


def _ends(resource: Resource, word: str) -> bool:
    return resource.type.replace("::", ":").rpartition(":")[2] in (word, f"Metric{word}")
