"""The network of tasks that leave over IPv6 alone, and who reaches whom in it: what is promised."""

import json
from collections.abc import Iterator
from typing import Any

from remit_infra.graph.graph import Graph, references
from tests.infra.recorded import of, one

ANYWHERE, ANYWHERE_IPV6 = "0.0.0.0/0", "::/0"
TIERS = ("public", "task", "data")


def is_multi_az(graph: Graph) -> bool:
    return len(of(graph, "ec2/subnet:Subnet")) == 9


def container_of(definition: dict[str, Any]) -> dict[str, Any]:
    [container] = json.loads(definition["containerDefinitions"])
    return dict(container)


def environment_in(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container["environment"]}


def the_network_has_three_tiers_in_each_zone(graph: Graph) -> Iterator[str]:
    vpc = one(graph, "ec2/vpc:Vpc", "payment-vpc")
    number = {"dev": 0, "staging": 1, "prod": 2}[graph.suffix.partition("-")[0]]
    if vpc["cidrBlock"] != f"10.{number}.0.0/16" or not vpc.get("assignGeneratedIpv6CidrBlock"):
        yield "the network has other addresses than its environment's, or none of IPv6"
    if not (vpc["enableDnsSupport"] and vpc["enableDnsHostnames"]):
        yield "the network has no names"
    subnets = of(graph, "ec2/subnet:Subnet")
    for tier in TIERS:
        zones = {s.properties["availabilityZone"] for s in subnets if f"-{tier}-" in s.name}
        if len(zones) != (3 if is_multi_az(graph) else 2):
            yield f"the {tier} subnets are in {len(zones)} zones"
    for kind in ("cidrBlock", "ipv6CidrBlock"):
        blocks = [s.properties[kind] for s in subnets if kind in s.properties]
        if len(set(blocks)) != len(blocks):
            yield "subnets overlap"
    yield from (
        f"{s.name} gives public addresses" for s in subnets if s.properties["mapPublicIpOnLaunch"]
    )


def tasks_reach_aws_and_nobody_reaches_tasks(graph: Graph) -> Iterator[str]:
    """Image, log and secret are fetched over IPv6: tasks have no other address, because with one
    of IPv4 Fargate would use that, and it leads nowhere.
    """
    kind = "ec2/egressOnlyInternetGateway:EgressOnlyInternetGateway"
    ways_out = {r.name for r in of(graph, kind)}
    ways_in = {r.name for r in of(graph, "ec2/internetGateway:InternetGateway")}
    for subnet in of(graph, "ec2/subnet:Subnet"):
        tier = next(tier for tier in TIERS if f"-{tier}-" in subnet.name)
        if subnet.properties.get("ipv6Native", False) is not (tier == "task"):
            yield f"{subnet.name} has the wrong kinds of addresses"
        routes = _routes_of(graph, subnet.name)
        if tier == "task":
            open_ways = {r.get("destinationIpv6CidrBlock"): references(r) for r in routes}
            if not ways_out & open_ways.get(ANYWHERE_IPV6, set()):
                yield f"{subnet.name} reaches nothing"
        if tier != "public" and any(ways_in & references(route) for route in routes):
            yield f"{subnet.name} is reached from the internet"
        if tier == "data" and routes:
            yield f"{subnet.name} leads out"
    for definition in of(graph, "ecs/taskDefinition:TaskDefinition"):
        container = container_of(definition.properties)
        if ".dkr-ecr." not in container["image"] or ".on.aws/" not in container["image"]:
            yield f"{definition.name} has an image that only IPv4 reaches"
        if environment_in(container).get("AWS_USE_DUALSTACK_ENDPOINT") != "true":
            yield f"{definition.name} asks AWS over IPv4"
    for service in of(graph, "ecs/service:Service"):
        where = service.properties["networkConfiguration"]
        if {n.rpartition("-")[0] for n in references(where["subnets"])} != {"payment-task-subnet"}:
            yield f"{service.name} is not in the tasks' subnets"
        if where.get("assignPublicIp"):
            yield f"{service.name} has public addresses"
    target = one(graph, "lb/targetGroup:TargetGroup", "payment-tg")
    balancer = one(graph, "lb/loadBalancer:LoadBalancer", "payment-alb")
    if (target["ipAddressType"], balancer["ipAddressType"]) != ("ipv6", "dualstack"):
        yield "the load balancer does not reach tasks by their addresses"


def _routes_of(graph: Graph, subnet: str) -> list[dict[str, Any]]:
    tables = {
        table
        for joined in of(graph, "ec2/routeTableAssociation:RouteTableAssociation")
        if subnet in references(joined.properties["subnetId"])
        for table in references(joined.properties["routeTableId"])
    }
    return [
        route.properties
        for route in of(graph, "ec2/route:Route")
        if references(route.properties["routeTableId"]) & tables
    ]


def who_reaches_whom_is_as_drawn(graph: Graph) -> Iterator[str]:
    def rules(way: str) -> set[tuple[str, str, int]]:
        return {
            (
                "".join(references(rule.properties["securityGroupId"])),
                "".join(references(rule.properties.get("referencedSecurityGroupId", "")))
                or rule.properties.get("cidrIpv4", "")
                or rule.properties["cidrIpv6"],
                _port(rule.properties),
            )
            for rule in of(graph, f"vpc/securityGroup{way}Rule:SecurityGroup{way}Rule")
        }

    alb, app = "payment-alb-sg", "payment-app-sg"
    database, cache = "payment-db-sg", "payment-cache-sg"
    among = {(cache, cache, 6379)} if is_multi_az(graph) else set()
    anyone = {(alb, who, port) for who in (ANYWHERE, ANYWHERE_IPV6) for port in (80, 443)}
    inside = {(app, alb, 8000), (database, app, 5432), (cache, app, 6379)}
    if rules("Ingress") != anyone | inside | among:
        yield f"what comes in: {sorted(rules('Ingress'))}"
    outwards = {(to, source, port) for source, to, port in inside}
    if rules("Egress") != outwards | {(app, ANYWHERE_IPV6, 443)} | among:
        yield f"what goes out: {sorted(rules('Egress'))}"
    closed = one(graph, "ec2/defaultSecurityGroup:DefaultSecurityGroup", "payment-closed-sg")
    if not closed or "ingress" in closed or "egress" in closed:
        yield "the default group is open"


def _port(rule: dict[str, Any]) -> int:
    if rule["fromPort"] != rule["toPort"]:
        raise AssertionError("a rule opens a range")
    return int(rule["fromPort"])


def network_acls_stand_before_every_tier(graph: Graph) -> Iterator[str]:
    for tier in TIERS:
        acl = one(graph, "ec2/networkAcl:NetworkAcl", f"payment-{tier}-acl")
        subnets = {s.name for s in of(graph, "ec2/subnet:Subnet") if f"-{tier}-" in s.name}
        if references(acl.get("subnetIds", [])) != subnets:
            yield f"the {tier} subnets have no network ACL"
    for rule in of(graph, "ec2/networkAclRule:NetworkAclRule"):
        block = rule.properties.get("cidrBlock") or rule.properties["ipv6CidrBlock"]
        private = "-data-" in rule.name or rule.properties["fromPort"] in (5432, 6379)
        if private and block in (ANYWHERE, ANYWHERE_IPV6):
            yield f"{rule.name} opens what is private to the internet"


PROMISES = (
    the_network_has_three_tiers_in_each_zone,
    tasks_reach_aws_and_nobody_reaches_tasks,
    who_reaches_whom_is_as_drawn,
    network_acls_stand_before_every_tier,
)
