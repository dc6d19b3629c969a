"""A network of public and private subnets. Each private subnet reaches the internet through a NAT
gateway in its own zone.

Only load balancers and NAT gateways are in the public subnets.
"""

import ipaddress
from collections.abc import Sequence

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Context
from remit_infra.components.network.network import (
    ANYWHERE,
    HTTP,
    HTTPS,
    POSTGRES,
    AclRule,
    Network,
    allow_traffic,
    egress,
    egress_of_replies,
    ingress,
    ingress_of_replies,
)

PUBLIC_BLOCKS, PRIVATE_BLOCKS = 0, 8
"""The first block of each tier. A subnet's block is a sixteenth of the network's."""


class NatNetwork(Network):
    """A public subnet, a private subnet and a NAT gateway in each zone."""

    def __init__(self, context: Context, *, cidr: str) -> None:
        super().__init__(context, cidr=cidr)
        self.public = self._subnets("public", PUBLIC_BLOCKS)
        self.private = self._subnets("private", PRIVATE_BLOCKS)
        self._route()
        self._network_acl("public", self.public, self._public_rules())
        self._network_acl("private", self.private, self._private_rules())
        self.register_outputs({"vpc_id": self.vpc.id})

    def _subnets(self, tier: str, first: int) -> list[aws.ec2.Subnet]:
        blocks = list(ipaddress.ip_network(self.cidr).subnets(prefixlen_diff=4))
        return [
            aws.ec2.Subnet(
                f"payment-{tier}-subnet-{number}",
                vpc_id=self.vpc.id,
                cidr_block=str(blocks[first + number - 1]),
                availability_zone=zone,
                map_public_ip_on_launch=False,
                opts=self._child,
            )
            for number, zone in enumerate(self._context.aws_environment.zones, 1)
        ]

    def _route(self) -> None:
        """Makes the gateways, the routes to them, and the gateway endpoint for S3."""
        gateway = aws.ec2.InternetGateway("payment-igw", vpc_id=self.vpc.id, opts=self._child)
        public_table = self._route_table("public", self.public)
        aws.ec2.Route(
            "payment-public-route",
            route_table_id=public_table.id,
            destination_cidr_block=ANYWHERE,
            gateway_id=gateway.id,
            opts=self._child,
        )
        self.nat_gateways = []
        private_tables = []
        for number, public_subnet in enumerate(self.public, 1):
            # A NAT gateway works only once the internet gateway is attached.
            after_gateway = pulumi.ResourceOptions(parent=self, depends_on=[gateway])
            address = aws.ec2.Eip(f"payment-nat-ip-{number}", domain="vpc", opts=after_gateway)
            nat_gateway = aws.ec2.NatGateway(
                f"payment-nat-{number}",
                allocation_id=address.id,
                subnet_id=public_subnet.id,
                opts=after_gateway,
            )
            self.nat_gateways.append(nat_gateway)
            table = self._route_table(f"private-{number}", [self.private[number - 1]])
            private_tables.append(table)
            aws.ec2.Route(
                f"payment-private-route-{number}",
                route_table_id=table.id,
                destination_cidr_block=ANYWHERE,
                nat_gateway_id=nat_gateway.id,
                opts=self._child,
            )
        aws.ec2.VpcEndpoint(
            "payment-s3-endpoint",
            vpc_id=self.vpc.id,
            service_name=self._service_name("s3"),
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in private_tables],
            opts=self._child,
        )

    def _service_name(self, service: str) -> str:
        return f"com.amazonaws.{self._context.aws_environment.region}.{service}"

    def _public_rules(self) -> list[AclRule]:
        """Requests to the load balancer, and the traffic of the NAT gateways."""
        return [
            ingress(HTTPS, ANYWHERE),
            ingress(HTTP, ANYWHERE),
            ingress_of_replies(ANYWHERE),
            egress(HTTPS, ANYWHERE),
            egress_of_replies(ANYWHERE),
        ]

    def _private_rules(self) -> list[AclRule]:
        """Functions to the database, to interface endpoints and to AWS."""
        return [
            ingress(POSTGRES, self.cidr),
            ingress(HTTPS, self.cidr),
            ingress_of_replies(ANYWHERE),
            egress(POSTGRES, self.cidr),
            egress(HTTPS, ANYWHERE),
            egress_of_replies(self.cidr),
        ]

    def interface_endpoints(self, services: Sequence[str], clients: aws.ec2.SecurityGroup) -> None:
        """Private addresses of AWS's services, for `clients`. AWS charges each by hour and zone."""
        if not services:
            return
        group = self.security_group(
            "payment-endpoints-sg", "Interface endpoints: HTTPS from the functions"
        )
        allow_traffic("payment-endpoints-https", source=clients, target=group, port=HTTPS)
        for service in services:
            aws.ec2.VpcEndpoint(
                f"payment-{service}-endpoint",
                vpc_id=self.vpc.id,
                service_name=self._service_name(service),
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=[subnet.id for subnet in self.private],
                security_group_ids=[group.id],
                opts=self._child,
            )
