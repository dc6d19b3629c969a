"""A private network in three zones, its firewalls, and a log of what flows.

Only load balancers and NAT gateways are in public subnets. Who may reach whom is in the security
groups; the network ACLs say the same once more, by port, for whole subnets.
"""

import ipaddress
from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.parts.ground import Ground
from remit_infra.parts.policies import service_role
from remit_infra.permissions import WRITE_FLOW_LOGS

PUBLIC_BLOCKS, PRIVATE_BLOCKS = 0, 8
"""A subnet is a sixteenth of the network; where each tier begins."""

ANYWHERE = "0.0.0.0/0"
EPHEMERAL = (1_024, 65_535)
HTTPS, HTTP, POSTGRES = 443, 80, 5_432

Rule = tuple[bool, int, int, str]
"""Whether it is outgoing, the first and the last port, and the other side."""


class Network(pulumi.ComponentResource):
    """The VPC with a public and a private subnet in each zone, and a NAT gateway for each."""

    def __init__(self, ground: Ground, *, cidr: str) -> None:
        super().__init__("remit:network:Network", "network")
        self._ground = ground
        place = ground.place
        self.cidr = cidr
        self._under = pulumi.ResourceOptions(parent=self)
        self.vpc = aws.ec2.Vpc(
            "payment-vpc",
            cidr_block=cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            opts=self._under,
        )
        # Whoever is put into the default group by mistake reaches nothing and is reached by nobody.
        aws.ec2.DefaultSecurityGroup("payment-closed-sg", vpc_id=self.vpc.id, opts=self._under)
        self.public = self._subnets("public", PUBLIC_BLOCKS, place.zones)
        self.private = self._subnets("private", PRIVATE_BLOCKS, place.zones)
        self._route()
        self._acl("public", self.public, self._public_rules())
        self._acl("private", self.private, self._private_rules())
        self._log_flows()
        self.register_outputs({"vpc_id": self.vpc.id})

    def _subnets(self, tier: str, first: int, zones: Sequence[str]) -> list[aws.ec2.Subnet]:
        blocks = list(ipaddress.ip_network(self.cidr).subnets(prefixlen_diff=4))
        return [
            aws.ec2.Subnet(
                f"payment-{tier}-subnet-{number}",
                vpc_id=self.vpc.id,
                cidr_block=str(blocks[first + number - 1]),
                availability_zone=zone,
                map_public_ip_on_launch=False,
                opts=self._under,
            )
            for number, zone in enumerate(zones, 1)
        ]

    def _route(self) -> None:
        """Public subnets to the internet; each private one through its own zone's NAT gateway."""
        gateway = aws.ec2.InternetGateway("payment-igw", vpc_id=self.vpc.id, opts=self._under)
        public = self._table("public", self.public)
        aws.ec2.Route(
            "payment-public-route",
            route_table_id=public.id,
            destination_cidr_block=ANYWHERE,
            gateway_id=gateway.id,
            opts=self._under,
        )
        self.nats = []
        private = []
        for number, outside in enumerate(self.public, 1):
            after = pulumi.ResourceOptions(parent=self, depends_on=[gateway])
            address = aws.ec2.Eip(f"payment-nat-ip-{number}", domain="vpc", opts=after)
            nat = aws.ec2.NatGateway(
                f"payment-nat-{number}",
                allocation_id=address.id,
                subnet_id=outside.id,
                opts=after,
            )
            self.nats.append(nat)
            table = self._table(f"private-{number}", [self.private[number - 1]])
            private.append(table)
            aws.ec2.Route(
                f"payment-private-route-{number}",
                route_table_id=table.id,
                destination_cidr_block=ANYWHERE,
                nat_gateway_id=nat.id,
                opts=self._under,
            )
        aws.ec2.VpcEndpoint(
            "payment-s3-endpoint",
            vpc_id=self.vpc.id,
            service_name=f"com.amazonaws.{self._ground.place.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in private],
            opts=self._under,
        )

    def _table(self, name: str, subnets: Sequence[aws.ec2.Subnet]) -> aws.ec2.RouteTable:
        table = aws.ec2.RouteTable(f"payment-{name}-routes", vpc_id=self.vpc.id, opts=self._under)
        for number, subnet in enumerate(subnets, 1):
            aws.ec2.RouteTableAssociation(
                f"payment-{name}-routes-{number}",
                route_table_id=table.id,
                subnet_id=subnet.id,
                opts=self._under,
            )
        return table

    def _public_rules(self) -> list[Rule]:
        """Callers in, answers out; and what the NAT gateways carry, both ways."""
        return [
            (False, HTTPS, HTTPS, ANYWHERE),
            (False, HTTP, HTTP, ANYWHERE),
            (False, *EPHEMERAL, ANYWHERE),
            (True, HTTPS, HTTPS, ANYWHERE),
            (True, *EPHEMERAL, ANYWHERE),
        ]

    def _private_rules(self) -> list[Rule]:
        """To the database and to AWS, and the answers."""
        return [
            (False, POSTGRES, POSTGRES, self.cidr),
            (False, HTTPS, HTTPS, self.cidr),
            (False, *EPHEMERAL, ANYWHERE),
            (True, POSTGRES, POSTGRES, self.cidr),
            (True, HTTPS, HTTPS, ANYWHERE),
            (True, *EPHEMERAL, self.cidr),
        ]

    def _acl(self, tier: str, subnets: Sequence[aws.ec2.Subnet], rules: Sequence[Rule]) -> None:
        acl = aws.ec2.NetworkAcl(
            f"payment-{tier}-acl",
            vpc_id=self.vpc.id,
            subnet_ids=[subnet.id for subnet in subnets],
            opts=self._under,
        )
        for number, (is_egress, first, last, cidr) in enumerate(rules):
            aws.ec2.NetworkAclRule(
                f"payment-{tier}-acl-rule-{number}",
                network_acl_id=acl.id,
                rule_number=100 + 10 * number,
                egress=is_egress,
                protocol="tcp",
                rule_action="allow",
                cidr_block=cidr,
                from_port=first,
                to_port=last,
                opts=self._under,
            )

    def _log_flows(self) -> None:
        names = self._ground.names
        group = self._ground.log_group(
            "payment-flow-logs",
            f"/aws/vpc/{names('log group', 'payment-flows')}",
            self._under,
        )
        role, policy = service_role(
            names,
            "payment-flow-logs",
            service="vpc-flow-logs.amazonaws.com",
            account=self._ground.place.account,
            statements=[WRITE_FLOW_LOGS],
            resources={"log group": pulumi.Output.concat(group.arn, ":*")},
            opts=self._under,
        )
        aws.ec2.FlowLog(
            "payment-flow-log",
            vpc_id=self.vpc.id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
        )

    def group(self, name: str, description: str) -> aws.ec2.SecurityGroup:
        """A security group that lets nothing in and nothing out."""
        return aws.ec2.SecurityGroup(
            name,
            name=self._ground.names("security group", name),
            description=description,
            vpc_id=self.vpc.id,
            revoke_rules_on_delete=True,
            opts=self._under,
        )

    def interface_endpoints(self, services: Sequence[str], clients: aws.ec2.SecurityGroup) -> None:
        """AWS's services by private addresses, for `clients`: each costs by the hour and zone."""
        if not services:
            return
        group = self.group("payment-endpoints-sg", "Interface endpoints: HTTPS from the functions")
        allow("payment-endpoints-https", to=group, source=clients, port=HTTPS)
        for service in services:
            aws.ec2.VpcEndpoint(
                f"payment-{service}-endpoint",
                vpc_id=self.vpc.id,
                service_name=f"com.amazonaws.{self._ground.place.region}.{service}",
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=[subnet.id for subnet in self.private],
                security_group_ids=[group.id],
                opts=self._under,
            )


Side = aws.ec2.SecurityGroup | str
"""A security group, or a block of addresses."""


def allow(name: str, *, source: Side, to: Side, port: int) -> None:
    """Lets `source` reach `to` on one port: each that is a group is told."""
    if not isinstance(to, str):
        aws.vpc.SecurityGroupIngressRule(
            f"{name}-in", security_group_id=to.id, **_rule(name, source, port, of=to)
        )
    if not isinstance(source, str):
        aws.vpc.SecurityGroupEgressRule(
            f"{name}-out", security_group_id=source.id, **_rule(name, to, port, of=source)
        )


def _rule(name: str, other: Side, port: int, *, of: aws.ec2.SecurityGroup) -> dict[str, Any]:
    return {
        "ip_protocol": "tcp",
        "from_port": port,
        "to_port": port,
        "cidr_ipv4": other if isinstance(other, str) else None,
        "referenced_security_group_id": None if isinstance(other, str) else other.id,
        "description": name,
        "opts": pulumi.ResourceOptions(parent=of),
    }
