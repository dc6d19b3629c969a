"""The private network, the database in it and the buckets: what is promised of them."""

from collections.abc import Iterator

from remit_infra.graph.graph import Graph, Resource, references
from tests.infra.recorded import needs, of, one

ANYWHERE = "0.0.0.0/0"
TIERS = ("public", "private")


def the_network_has_two_tiers_in_three_zones(graph: Graph) -> Iterator[str]:
    vpc = one(graph, "ec2/vpc:Vpc", "payment-vpc")
    if not (vpc["cidrBlock"].endswith("/16") and vpc["enableDnsSupport"]):
        yield "the network is not a /16 with DNS"
    if not vpc["enableDnsHostnames"]:
        yield "the network gives no host names"
    subnets = of(graph, "ec2/subnet:Subnet")
    for tier in TIERS:
        zones = {s.properties["availabilityZone"] for s in subnets if f"-{tier}-" in s.name}
        if len(zones) != 3:
            yield f"the {tier} subnets are in {len(zones)} zones"
    blocks = [subnet.properties["cidrBlock"] for subnet in subnets]
    if len(set(blocks)) != 6:
        yield "subnets overlap"
    yield from (f"{s.name} gives public addresses" for s in subnets if _is_public(s))


def _is_public(subnet: Resource) -> bool:
    return bool(subnet.properties.get("mapPublicIpOnLaunch", False))


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


def only_the_load_balancer_is_in_public_subnets(graph: Graph) -> Iterator[str]:
    for resource in graph.resources:
        public = {n for n in references(resource.properties) if n.startswith("payment-public-sub")}
        module = resource.type.split(":")[1]
        if public and not module.startswith(("ec2/natG", "ec2/routeT", "ec2/networkA", "lb/loadB")):
            yield f"{resource.name} is in a public subnet"


def who_reaches_whom_is_as_drawn(graph: Graph) -> Iterator[str]:
    def rules(way: str) -> set[tuple[str, str, int]]:
        found = of(graph, f"vpc/securityGroup{way}Rule:SecurityGroup{way}Rule")
        for rule in found:
            if rule.properties["fromPort"] != rule.properties["toPort"]:
                raise AssertionError(f"{rule.name} opens a range")
        return {
            (
                "".join(references(rule.properties["securityGroupId"])),
                "".join(references(rule.properties.get("referencedSecurityGroupId", "")))
                or rule.properties["cidrIpv4"],
                rule.properties["fromPort"],
            )
            for rule in found
        }

    alb, functions, database = "payment-alb-sg", "payment-functions-sg", "payment-db-sg"
    if rules("Ingress") != {
        (alb, ANYWHERE, 443),
        (alb, ANYWHERE, 80),
        (database, functions, 5432),
    }:
        yield f"what comes in: {sorted(rules('Ingress'))}"
    if rules("Egress") != {(functions, ANYWHERE, 443), (functions, database, 5432)}:
        yield f"what goes out: {sorted(rules('Egress'))}"
    closed = one(graph, "ec2/defaultSecurityGroup:DefaultSecurityGroup", "payment-closed-sg")
    if not closed or "ingress" in closed or "egress" in closed:
        yield "the default group is open"
    for group in of(graph, "ec2/securityGroup:SecurityGroup"):
        if "ingress" in group.properties or "egress" in group.properties:
            yield f"{group.name} has rules of its own"


def network_acls_stand_before_both_tiers(graph: Graph) -> Iterator[str]:
    for tier in TIERS:
        acl = one(graph, "ec2/networkAcl:NetworkAcl", f"payment-{tier}-acl")
        joined = references(acl.get("subnetIds", []))
        if joined != {f"payment-{tier}-subnet-{number}" for number in (1, 2, 3)}:
            yield f"the {tier} subnets have no network ACL"
    for rule in of(graph, "ec2/networkAclRule:NetworkAclRule"):
        given = rule.properties
        if given["protocol"] != "tcp" or given["ruleAction"] != "allow":
            yield f"{rule.name} is not one of what is allowed"
        if given["cidrBlock"] == ANYWHERE and given["fromPort"] == 5432:
            yield f"{rule.name} opens the database to the internet"


def the_database_is_private_encrypted_and_in_two_zones(graph: Graph) -> Iterator[str]:
    given = one(graph, "rds/instance:Instance", "payment-db")
    for name, value in {
        "engine": "postgres",
        "dbName": "payments",
        "multiAz": True,
        "publiclyAccessible": False,
        "storageEncrypted": True,
        "autoMinorVersionUpgrade": True,
        "backupRetentionPeriod": 7,
        "manageMasterUserPassword": True,
        "skipFinalSnapshot": True,
        "deleteAutomatedBackups": True,
        "performanceInsightsEnabled": True,
        "monitoringInterval": 60,
        "deletionProtection": graph.suffix == "prod",
    }.items():
        if given.get(name) != value:
            yield f"{name} is {given.get(name)}"
    if "password" in given:
        yield "the password is in the program"
    if not str(given["engineVersion"]).startswith("14"):
        yield "it is not PostgreSQL 14"
    for name in ("kmsKeyId", "masterUserSecretKmsKeyId", "performanceInsightsKmsKeyId"):
        if references(given.get(name, "")) != {"payment-data-key"}:
            yield f"{name} is not the customer's key"
    subnets = one(graph, "rds/subnetGroup:SubnetGroup", "payment-db-subnets")
    if references(subnets) != {f"payment-private-subnet-{number}" for number in (1, 2, 3)}:
        yield "it is not in the private subnets"
    parameters = one(graph, "rds/parameterGroup:ParameterGroup", "payment-db-parameters")
    if {"name": "rds.force_ssl", "value": "1"} not in parameters["parameters"]:
        yield "TLS is not forced"
    if not {"backupWindow", "maintenanceWindow", "monitoringRoleArn"} <= given.keys():
        yield "it has no windows or nobody monitors it"


PROMISES = (
    the_network_has_two_tiers_in_three_zones,
    each_private_subnet_leaves_through_its_own_zone,
    only_the_load_balancer_is_in_public_subnets,
    who_reaches_whom_is_as_drawn,
    network_acls_stand_before_both_tiers,
    the_database_is_private_encrypted_and_in_two_zones,
)
