"""What flows between the resources of a topology, read from its graph.

Each flow is in the graph as a route, a permission or a setting: nothing is added by hand. Which of
them are drawn, and where, is in `diagram.py`.
"""

import re
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from remit_infra.graph.graph import Graph, Resource, references
from remit_infra.graph.terraform_names import DYNAMIC_RESOURCE

CALLERS, OPERATORS, SUBSCRIBERS, INTERNET = "Callers", "Operators", "Subscribers", "Internet"
"""The ends of a flow that are no resources."""

FUNCTIONS = ("AWS::Lambda::Function", "aws:lambda/function:Function")
SERVICE, TASK = "aws:ecs/service:Service", "aws:ecs/taskDefinition:TaskDefinition"
APIS = ("AWS::ApiGateway::RestApi", "aws:apigateway/restApi:RestApi")
BALANCER, LISTENER = "aws:lb/loadBalancer:LoadBalancer", "aws:lb/listener:Listener"
FIREWALLS = ("AWS::WAFv2::WebACL", "aws:wafv2/webAcl:WebAcl")
TOPICS = ("AWS::SNS::Topic", "aws:sns/topic:Topic")
QUEUES = ("AWS::SQS::Queue", "aws:sqs/queue:Queue")
BUCKETS = ("AWS::S3::Bucket", "aws:s3/bucket:Bucket")
RULES = ("AWS::Events::Rule", "aws:cloudwatch/eventRule:EventRule")
ALARMS = ("AWS::CloudWatch::Alarm", "aws:cloudwatch/metricAlarm:MetricAlarm")
DASHBOARDS = ("AWS::CloudWatch::Dashboard", "aws:cloudwatch/dashboard:Dashboard")
POLICIES = ("AWS::IAM::ManagedPolicy", "aws:iam/rolePolicy:RolePolicy")
NAT = "aws:ec2/natGateway:NatGateway"
EGRESS_ONLY = "aws:ec2/egressOnlyInternetGateway:EgressOnlyInternetGateway"

ROUTING = frozenset(
    {
        "AWS::ApiGateway::Method",
        "aws:apigateway/integration:Integration",
        "aws:lambda/alias:Alias",
        LISTENER,
        "aws:lb/listenerRule:ListenerRule",
        "aws:lb/targetGroup:TargetGroup",
        "aws:lb/targetGroupAttachment:TargetGroupAttachment",
    }
)
"""What a request passes between the gateway or balancer and the code that answers it."""


class Flow(NamedTuple):
    """What flows from one resource to another. Both are named as in the graph."""

    source: str
    target: str
    what: str


class Moved(NamedTuple):
    """What an action of a policy moves: to the resource, or from it to who has the permission."""

    what: str
    is_read: bool = False


ACTIONS: Mapping[str, Moved] = MappingProxyType(
    {
        "cloudwatch:PutMetricData": Moved("metrics"),
        "dynamodb:GetItem": Moved("items"),
        "dynamodb:PutItem": Moved("items"),
        "ecr:BatchGetImage": Moved("images", is_read=True),
        "elasticache:Connect": Moved("Redis commands"),
        "kms:Decrypt": Moved("card keys"),
        "kms:GenerateDataKey": Moved("card keys"),
        "kms:GenerateMac": Moved("fingerprints"),
        "kms:Sign": Moved("signatures"),
        "logs:PutLogEvents": Moved("logs"),
        "s3:PutObject": Moved("audit segments"),
        # The secret is the database's login, which nothing is read for but to connect.
        "secretsmanager:GetSecretValue": Moved("SQL"),
        "sns:Publish": Moved("payment events"),
        "sqs:ReceiveMessage": Moved("work messages", is_read=True),
        "sqs:SendMessage": Moved("work messages"),
    }
)
"""The actions that move what the service is about. Each other action goes with one of these."""


def flows_of(graph: Graph) -> list[Flow]:
    """Every flow, each once, sorted."""
    parts = (
        _requests,
        _answered,
        _permitted,
        _outbound,
        _event_sources,
        _schedules,
        _dead_letters,
        _alarms,
        _access_logs,
    )
    found = {flow for part in parts for flow in part(graph)}
    called = {flow.target for flow in found}
    # A function that nothing in the graph calls is called by operators.
    found |= {
        Flow(OPERATORS, function.name, "commands")
        for function in graph.of(*FUNCTIONS)
        if function.name not in called
    }
    return sorted(found)


def value(resource: Resource, name: str) -> Any:
    """A property of either tool's spelling, `redrivePolicy` or `RedrivePolicy`; None if absent."""
    given = resource.properties
    return given.get(name, given.get(name[0].upper() + name[1:]))


def _decoded(document: Any) -> Any:
    """A policy is text in one tool and data in the other."""
    return msgspec.json.decode(document) if isinstance(document, str) else document


def _requests(graph: Graph) -> Iterator[Flow]:
    """From callers to each gateway and balancer, through its firewall where there is one."""
    stages = {one.name: references(one.properties) for one in graph.of(*STAGES)}
    protected: dict[str, set[str]] = defaultdict(set)
    for association in graph.of(*ASSOCIATIONS):
        ends = references(association.properties)
        for firewall in graph.of(*FIREWALLS):
            if firewall.name in ends:
                protected[firewall.name] |= ends.union(*(stages.get(end, set()) for end in ends))
    for entry in graph.of(*APIS, BALANCER):
        walls = [wall for wall, behind in protected.items() if entry.name in behind]
        for wall in walls:
            yield Flow(CALLERS, wall, _protocol(graph, entry))
            yield Flow(wall, entry.name, "allowed requests")
        if not walls:
            yield Flow(CALLERS, entry.name, _protocol(graph, entry))


STAGES = ("AWS::ApiGateway::Stage", "aws:apigateway/stage:Stage")
ASSOCIATIONS = (
    "AWS::WAFv2::WebACLAssociation",
    "aws:wafv2/webAclAssociation:WebAclAssociation",
)


def _protocol(graph: Graph, entry: Resource) -> str:
    """API Gateway speaks HTTPS alone; a balancer without a certificate has no such listener."""
    listeners = [one for one in graph.of(LISTENER) if entry.name in references(one.properties)]
    is_plain = entry.type == BALANCER and "HTTPS" not in {
        value(one, "protocol") for one in listeners
    }
    return "HTTP" if is_plain else "HTTPS"


def _answered(graph: Graph) -> Iterator[Flow]:
    """From each gateway and balancer to the code behind it, through routing alone."""
    types = {resource.name: resource.type for resource in graph.resources}
    near: dict[str, set[str]] = defaultdict(set)
    for resource in graph.resources:
        for other in references(resource.properties) & types.keys():
            near[resource.name].add(other)
            near[other].add(resource.name)
    for entry in graph.of(*APIS, BALANCER):
        seen, waiting = {entry.name}, deque([entry.name])
        while waiting:
            for other in near[waiting.popleft()] - seen:
                seen.add(other)
                if types[other] in (*FUNCTIONS, SERVICE):
                    yield Flow(entry.name, other, "requests")
                elif types[other] in ROUTING:
                    waiting.append(other)


def _permitted(graph: Graph) -> Iterator[Flow]:
    """What the roles of functions and tasks may move."""
    alarm_topics = _alarm_topics(graph)
    users = _users_of_roles(graph)
    for policy in graph.of(*POLICIES):
        document = _decoded(value(policy, "policy") or value(policy, "policyDocument"))
        for action, resource in _allowed(document):
            if (moved := ACTIONS.get(action)) is None:
                continue
            for other in _targets(graph, action, resource):
                what = "alerts" if other in alarm_topics else moved.what
                for role in _roles_of(graph, policy):
                    for user in users[role]:
                        ends = (other, user) if moved.is_read else (user, other)
                        yield Flow(*ends, what)


def _allowed(document: Any) -> Iterator[tuple[str, Any]]:
    """Each action with each resource; either may be one by itself."""
    for statement in document["Statement"]:
        actions, resources = statement["Action"], statement["Resource"]
        for action in [actions] if isinstance(actions, str) else actions:
            for resource in resources if isinstance(resources, list) else [resources]:
                yield action, resource


def _targets(graph: Graph, action: str, resource: Any) -> set[str]:
    """The resources that a statement is about. Metrics have no ARNs: dashboards stand for them."""
    if action.startswith("cloudwatch:"):
        return {one.name for one in graph.of(*DASHBOARDS)}
    buckets = {
        bucket.name
        for bucket in graph.of(*BUCKETS)
        if str(resource).startswith(f"arn:aws:s3:::{value(bucket, 'bucket')}")
    }
    return references(resource) & {one.name for one in graph.resources} | buckets


def _users_of_roles(graph: Graph) -> dict[str, set[str]]:
    """The names of functions and tasks by the name of a role that they have."""
    definitions = {one.name: one for one in graph.of(TASK)}
    users: dict[str, set[str]] = defaultdict(set)
    for code in graph.of(*FUNCTIONS, SERVICE, DYNAMIC_RESOURCE):
        roles = [value(code, "role")]
        for name in references(code.properties) & definitions.keys():
            roles += [
                value(definitions[name], kind) for kind in ("taskRoleArn", "executionRoleArn")
            ]
        for role in references(roles):
            users[role].add(code.name)
    return users


def _roles_of(graph: Graph, policy: Resource) -> set[str]:
    """The roles that have a policy: by reference in one tool, by their own name in the other."""
    own_name = value(policy, "role")
    named = {one.name for one in graph.of("aws:iam/role:Role") if value(one, "name") == own_name}
    return named | references([own_name, value(policy, "roles")])


def _outbound(graph: Graph) -> Iterator[Flow]:
    """From subnets to the gateway that their routes lead to, and on to the internet."""
    tables = [
        (references(value(one, "routeTableId")), references(value(one, "subnetId")))
        for one in graph.of("aws:ec2/routeTableAssociation:RouteTableAssociation")
    ]
    gateways = {one.name for one in graph.of(NAT, EGRESS_ONLY)}
    for route in graph.of("aws:ec2/route:Route"):
        for gateway in references(route.properties) & gateways:
            yield Flow(gateway, INTERNET, "HTTPS")
            for table, subnets in tables:
                if table & references(value(route, "routeTableId")):
                    yield from (Flow(subnet, gateway, "HTTPS") for subnet in subnets)


def _event_sources(graph: Graph) -> Iterator[Flow]:
    queues = {queue.name for queue in graph.of(*QUEUES)}
    for mapping in graph.of("AWS::Lambda::EventSourceMapping"):
        for source in references(value(mapping, "eventSourceArn")):
            for function in references(value(mapping, "functionName")):
                yield Flow(
                    source, function, "work messages" if source in queues else "change stream"
                )


def _schedules(graph: Graph) -> Iterator[Flow]:
    """From each rule to what it starts, directly or by an alias."""
    aliases = {
        one.name: references(value(one, "functionVersion"))
        for one in graph.of("aws:lambda/alias:Alias")
    }
    for rule in graph.of(*RULES):
        started = references(value(rule, "targets"))
        for target in graph.of("aws:cloudwatch/eventTarget:EventTarget"):
            if value(target, "rule") == value(rule, "name"):
                started |= references(value(target, "arn"))
        for name in started:
            for code in aliases.get(name, {name}):
                yield Flow(rule.name, code, _rate(value(rule, "scheduleExpression")))


def _rate(expression: str) -> str:
    """`rate(1 minute)` and `rate(5 minutes)` in words; any other expression as it is."""
    rate = re.fullmatch(r"rate\((?:1 )?(.+)\)", expression)
    return expression if rate is None else f"every {rate[1]}"


def _dead_letters(graph: Graph) -> Iterator[Flow]:
    for queue in graph.of(*QUEUES):
        policy = _decoded(value(queue, "redrivePolicy"))
        for other in references(policy):
            yield Flow(queue.name, other, f"after {policy['maxReceiveCount']} receives")


def _alarm_topics(graph: Graph) -> set[str]:
    return references([value(alarm, "alarmActions") for alarm in graph.of(*ALARMS)])


def _alarms(graph: Graph) -> Iterator[Flow]:
    """From alarms to their topic, and from each topic to who listens."""
    alarm_topics = _alarm_topics(graph)
    for alarm in graph.of(*ALARMS):
        for topic in references(value(alarm, "alarmActions")):
            yield Flow(alarm.name, topic, "alarms")
    for one in graph.of(*TOPICS):
        is_alarm = one.name in alarm_topics
        listener = (OPERATORS, "alarms") if is_alarm else (SUBSCRIBERS, "payment events")
        yield Flow(one.name, *listener)


def _access_logs(graph: Graph) -> Iterator[Flow]:
    buckets = {value(one, "bucket"): one.name for one in graph.of(*BUCKETS) if value(one, "bucket")}
    for balancer in graph.of(BALANCER):
        if (logs := value(balancer, "accessLogs")) is not None:
            yield Flow(balancer.name, buckets[logs["bucket"]], "access logs")
    for logging in graph.of("aws:s3/bucketLogging:BucketLogging"):
        source, target = (buckets[value(logging, end)] for end in ("bucket", "targetBucket"))
        yield Flow(source, target, "access logs")
