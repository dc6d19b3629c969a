"""A network of two tiers whose private one leaves through a NAT gateway of its own zone.

Only load balancers and the NAT gateways are in public subnets.
"""

import ipaddress
from collections.abc import Sequence

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Ground
from remit_infra.components.network.network import (
    ANYWHERE,
    EPHEMERAL,
    HTTP,
    HTTPS,
    POSTGRES,
    Network,
    Rule,
    allow,
)

PUBLIC_BLOCKS, PRIVATE_BLOCKS = 0, 8
"""A subnet is a sixteenth of the network; where each tier begins."""


class NatNetwork(Network):
    """A public and a private subnet in each zone, and a NAT gateway for each."""

    def __init__(self, ground: Ground, *, cidr: str) -> None:
        super().__init__(ground, cidr=cidr)
        zones = ground.place.zones
        self.public = self._subnets("public", PUBLIC_BLOCKS, zones)
        self.private = self._subnets("private", PRIVATE_BLOCKS, zones)
        self._route()
        self._acl("public", self.public, self._public_rules())
        self._acl("private", self.private, self._private_rules())
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
