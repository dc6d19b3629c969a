"""The networks: their tiers and zones, who reaches whom in them, and how they are left."""

from collections.abc import Iterator

from remit_infra.graph.graph import Graph, Resource, references
from tests.infra.graphs import needs, of, one
from tests.infra.policies.policy import FARGATE, POSTGRES, PULUMI, policy

ANYWHERE, ANYWHERE_IPV6 = "0.0.0.0/0", "::/0"
TIERS = {POSTGRES: ("public", "private"), FARGATE: ("public", "task", "data")}
PRIVATE_PORTS = (5432, 6379)


def is_multi_az(graph: Graph) -> bool:
    return len(of(graph, "ec2/subnet:Subnet")) == 9


def zones_of(graph: Graph) -> int:
    return 3 if graph.topology == POSTGRES or is_multi_az(graph) else 2


@policy(*PULUMI)
def the_network_has_its_tiers_in_every_zone(graph: Graph) -> Iterator[str]:
    vpc = one(graph, "ec2/vpc:Vpc", "payment-vpc")
    if not (vpc["enableDnsSupport"] and vpc["enableDnsHostnames"]):
        yield "the network has no names"
    if not vpc["cidrBlock"].endswith("/16"):
        yield "the network is not a /16"
    number = {"dev": 0, "staging": 1, "prod": 2}[graph.suffix.partition("-")[0]]
    if graph.topology == FARGATE and (
        vpc["cidrBlock"] != f"10.{number}.0.0/16" or not vpc.get("assignGeneratedIpv6CidrBlock")
    ):
        yield "the network has other addresses than its environment's, or none of IPv6"
    subnets = of(graph, "ec2/subnet:Subnet")
    for tier in TIERS[graph.topology]:
        zones = {s.properties["availabilityZone"] for s in subnets if f"-{tier}-" in s.name}
        if len(zones) != zones_of(graph):
            yield f"the {tier} subnets are in {len(zones)} zones"
    if len(subnets) != zones_of(graph) * len(TIERS[graph.topology]):
        yield "there are other subnets"
    for kind in ("cidrBlock", "ipv6CidrBlock"):
        blocks = [s.properties[kind] for s in subnets if kind in s.properties]
        if len(set(blocks)) != len(blocks):
            yield "subnets overlap"
    for subnet in subnets:
        if subnet.properties.get("mapPublicIpOnLaunch", False):
            yield f"{subnet.name} gives public addresses"
        if not {"cidrBlock", "ipv6CidrBlock"} & subnet.properties.keys():
            yield f"{subnet.name} has no addresses"


@policy(*PULUMI)
def flows_are_logged(graph: Graph) -> Iterator[str]:
    log = one(graph, "ec2/flowLog:FlowLog", "payment-flow-log")
    if log.get("trafficType") != "ALL" or "payment-flow-logs" not in references(log):
        yield "flows are not logged"


@policy(POSTGRES)
def each_private_subnet_leaves_through_its_own_zone(graph: Graph) -> Iterator[str]:
    gateways = {r.name for r in of(graph, "ec2/internetGateway:InternetGateway")}
    addresses = set()
    for number in (1, 2, 3):
        nat = one(graph, "ec2/natGateway:NatGateway", f"payment-nat-{number}")
        if f"payment-public-subnet-{number}" not in references(nat.get("subnetId", "")):
            yield f"NAT gateway {number} is not in its zone's public subnet"
        addresses |= references(nat.get("allocationId", ""))
        route = one(graph, "ec2/route:Route", f"payment-private-route-{number}")
        if references(route.get("natGatewayId", "")) != {f"payment-nat-{number}"}:
            yield f"private subnet {number} does not leave through its own NAT gateway"
        name = f"payment-private-{number}-routes-1"
        joined = one(graph, "ec2/routeTableAssociation:RouteTableAssociation", name)
        if f"payment-private-subnet-{number}" not in references(joined.get("subnetId", "")):
            yield f"private subnet {number} does not have its own routes"
        if not gateways & needs(graph, f"payment-nat-{number}"):
            yield f"NAT gateway {number} does not wait for the internet gateway"
    if len(addresses) != 3:
        yield "the NAT gateways share addresses"


@policy(POSTGRES)
def only_the_load_balancer_is_in_public_subnets(graph: Graph) -> Iterator[str]:
    for resource in graph.resources:
        public = {n for n in references(resource.properties) if n.startswith("payment-public-sub")}
        module = resource.type.split(":")[1]
        if public and not module.startswith(("ec2/natG", "ec2/routeT", "ec2/networkA", "lb/loadB")):
            yield f"{resource.name} is in a public subnet"


Rule = tuple[str, str, int]
"""The group that a rule is of, the other side, and the port."""


def rules_of(graph: Graph, way: str) -> set[Rule]:
    return {
        (
            "".join(references(rule.properties["securityGroupId"])),
            "".join(references(rule.properties.get("referencedSecurityGroupId", "")))
            or rule.properties.get("cidrIpv4", "")
            or rule.properties["cidrIpv6"],
            _port(rule),
        )
        for rule in of(graph, f"vpc/securityGroup{way}Rule:SecurityGroup{way}Rule")
    }


def _port(rule: Resource) -> int:
    given = rule.properties
    if given["fromPort"] != given["toPort"]:
        raise AssertionError(f"{rule.name} opens a range")
    return int(given["fromPort"])


def drawn(graph: Graph) -> tuple[set[Rule], set[Rule]]:
    """What may come in, and what may go out."""
    alb, database = "payment-alb-sg", "payment-db-sg"
    if graph.topology == POSTGRES:
        functions = "payment-functions-sg"
        anyone = {(alb, ANYWHERE, 443), (alb, ANYWHERE, 80)}
        out = {(functions, ANYWHERE, 443), (functions, database, 5432)}
        return anyone | {(database, functions, 5432)}, out
    app, cache = "payment-app-sg", "payment-cache-sg"
    among = {(cache, cache, 6379)} if is_multi_az(graph) else set()
    anyone = {(alb, who, port) for who in (ANYWHERE, ANYWHERE_IPV6) for port in (80, 443)}
    inside = {(app, alb, 8000), (database, app, 5432), (cache, app, 6379)}
    outwards = {(to, source, port) for source, to, port in inside}
    return anyone | inside | among, outwards | {(app, ANYWHERE_IPV6, 443)} | among


@policy(*PULUMI)
def who_reaches_whom_is_as_drawn(graph: Graph) -> Iterator[str]:
    comes_in, goes_out = drawn(graph)
    if rules_of(graph, "Ingress") != comes_in:
        yield f"what comes in: {sorted(rules_of(graph, 'Ingress'))}"
    if rules_of(graph, "Egress") != goes_out:
        yield f"what goes out: {sorted(rules_of(graph, 'Egress'))}"
    closed = one(graph, "ec2/defaultSecurityGroup:DefaultSecurityGroup", "payment-closed-sg")
    if not closed or "ingress" in closed or "egress" in closed:
        yield "the default group is open"
    for group in of(graph, "ec2/securityGroup:SecurityGroup"):
        if "ingress" in group.properties or "egress" in group.properties:
            yield f"{group.name} has rules of its own"


@policy(*PULUMI)
def network_acls_stand_before_every_tier(graph: Graph) -> Iterator[str]:
    for tier in TIERS[graph.topology]:
        acl = one(graph, "ec2/networkAcl:NetworkAcl", f"payment-{tier}-acl")
        subnets = {s.name for s in of(graph, "ec2/subnet:Subnet") if f"-{tier}-" in s.name}
        if references(acl.get("subnetIds", [])) != subnets:
            yield f"the {tier} subnets have no network ACL"
    for rule in of(graph, "ec2/networkAclRule:NetworkAclRule"):
        given = rule.properties
        if given["protocol"] != "tcp" or given["ruleAction"] != "allow":
            yield f"{rule.name} is not one of what is allowed"
        block = given.get("cidrBlock") or given["ipv6CidrBlock"]
        is_private = "-data-" in rule.name or given["fromPort"] in PRIVATE_PORTS
        if is_private and block in (ANYWHERE, ANYWHERE_IPV6):
            yield f"{rule.name} opens what is private to the internet"
