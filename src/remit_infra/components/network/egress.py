"""A network of public, task and data subnets. Tasks reach AWS over IPv6, without a NAT gateway.

Load balancers are in the public subnets. Tasks have IPv6 addresses only: they leave through an
egress-only internet gateway, which is free, serves every zone and allows no connection in.
Databases and caches are in the data subnets, which have no route out. Hosts without IPv6 are
reached through NAT gateways, as many as the configuration says: DNS64 and NAT64 (RFC 6147, RFC
6146) translate the addresses.
"""

import ipaddress
from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Context
from remit_infra.components.network.network import (
    ANYWHERE,
    ANYWHERE_IPV6,
    HTTP,
    HTTPS,
    POSTGRES,
    REDIS,
    AclRule,
    Network,
    egress,
    egress_of_replies,
    ingress,
    ingress_of_replies,
)

PUBLIC_BLOCKS, TASK_BLOCKS, DATA_BLOCKS = 0, 4, 8
"""The first block of each tier: of IPv4 a sixteenth of the network, of IPv6 a /64."""

NAT64_PREFIX = "64:ff9b::/96"
"""The IPv6 addresses that DNS64 gives to IPv4 hosts (RFC 6052, section 2.1)."""


class EgressOnlyNetwork(Network):
    """A subnet of each tier in each zone. Tasks accept connections on `task_port`."""

    def __init__(self, context: Context, *, cidr: str, task_port: int, nat_gateways: int) -> None:
        super().__init__(context, cidr=cidr, has_ipv6=True)
        self._nat_gateways = nat_gateways
        self._task_port = task_port
        self.public = self._subnets("public", PUBLIC_BLOCKS)
        self.tasks = self._subnets("task", TASK_BLOCKS)
        self.data = self._subnets("data", DATA_BLOCKS)
        self._route_public()
        self._route_tasks()
        self._route_table("data", self.data)
        self._network_acl("public", self.public, self._public_rules())
        self._network_acl("task", self.tasks, self._task_rules())
        self._network_acl("data", self.data, self._data_rules())
        self.register_outputs({"vpc_id": self.vpc.id})

    def _subnets(self, tier: str, first: int) -> list[aws.ec2.Subnet]:
        blocks = list(ipaddress.ip_network(self.cidr).subnets(prefixlen_diff=4))
        return [
            aws.ec2.Subnet(
                f"payment-{tier}-subnet-{number}",
                vpc_id=self.vpc.id,
                availability_zone=zone,
                ipv6_cidr_block=self.vpc.ipv6_cidr_block.apply(_ipv6_block(first + number - 1)),
                assign_ipv6_address_on_creation=True,
                map_public_ip_on_launch=False,
                **self._addresses(tier, str(blocks[first + number - 1])),
                opts=self._child,
            )
            for number, zone in enumerate(self._context.aws_environment.zones, 1)
        ]

    def _addresses(self, tier: str, block: str) -> dict[str, Any]:
        """Task subnets have no IPv4 block: with one, Fargate would pull images over IPv4 only."""
        if tier != "task":
            return {"cidr_block": block}
        return {
            "ipv6_native": True,
            "enable_resource_name_dns_aaaa_record_on_launch": True,
            "enable_dns64": self._nat_gateways > 0,
        }

    def _route_public(self) -> None:
        self._gateway = aws.ec2.InternetGateway("payment-igw", vpc_id=self.vpc.id, opts=self._child)
        table = self._route_table("public", self.public)
        for name, destination in (
            ("public", {"destination_cidr_block": ANYWHERE}),
            ("public-ipv6", {"destination_ipv6_cidr_block": ANYWHERE_IPV6}),
        ):
            aws.ec2.Route(
                f"payment-{name}-route",
                route_table_id=table.id,
                gateway_id=self._gateway.id,
                **destination,
                opts=self._child,
            )

    def _route_tasks(self) -> None:
        """IPv6 through the egress-only gateway; IPv4 through a NAT gateway, if there is one."""
        gateway = aws.ec2.EgressOnlyInternetGateway(
            "payment-egress", vpc_id=self.vpc.id, opts=self._child
        )
        nat_gateways = [self._nat_gateway(number) for number in range(1, self._nat_gateways + 1)]
        for number, subnet in enumerate(self.tasks, 1):
            table = self._route_table(f"task-{number}", [subnet])
            aws.ec2.Route(
                f"payment-task-route-{number}",
                route_table_id=table.id,
                destination_ipv6_cidr_block=ANYWHERE_IPV6,
                egress_only_gateway_id=gateway.id,
                opts=self._child,
            )
            if nat_gateways:
                aws.ec2.Route(
                    f"payment-task-nat-route-{number}",
                    route_table_id=table.id,
                    destination_ipv6_cidr_block=NAT64_PREFIX,
                    nat_gateway_id=nat_gateways[(number - 1) % len(nat_gateways)].id,
                    opts=self._child,
                )

    def _nat_gateway(self, number: int) -> aws.ec2.NatGateway:
        # A NAT gateway works only once the internet gateway is attached.
        after_gateway = pulumi.ResourceOptions(parent=self, depends_on=[self._gateway])
        address = aws.ec2.Eip(f"payment-nat-ip-{number}", domain="vpc", opts=after_gateway)
        return aws.ec2.NatGateway(
            f"payment-nat-{number}",
            allocation_id=address.id,
            subnet_id=self.public[number - 1].id,
            opts=after_gateway,
        )

    def _public_rules(self) -> list[AclRule]:
        """Callers to the load balancer, the load balancer to tasks, and the NAT gateways."""
        ipv6_block, everywhere = self.vpc.ipv6_cidr_block, (ANYWHERE, ANYWHERE_IPV6)
        rules = [
            *(ingress(port, cidr) for port in (HTTPS, HTTP) for cidr in everywhere),
            ingress_of_replies(ipv6_block),
            egress(self._task_port, ipv6_block),
            *(egress_of_replies(cidr) for cidr in everywhere),
        ]
        if self._nat_gateways:
            rules += [egress(HTTPS, ANYWHERE), ingress_of_replies(ANYWHERE)]
        return rules

    def _task_rules(self) -> list[AclRule]:
        """The load balancer to tasks; tasks to AWS, the database and the cache."""
        ipv6_block = self.vpc.ipv6_cidr_block
        return [
            ingress(self._task_port, ipv6_block),
            ingress_of_replies(ANYWHERE_IPV6),
            egress(HTTPS, ANYWHERE_IPV6),
            egress(POSTGRES, ipv6_block),
            egress(REDIS, ipv6_block),
            egress_of_replies(ipv6_block),
        ]

    def _data_rules(self) -> list[AclRule]:
        """Tasks to the database and the cache; the cache's nodes to each other, over IPv4."""
        ipv6_block = self.vpc.ipv6_cidr_block
        return [
            ingress(POSTGRES, ipv6_block),
            ingress(REDIS, ipv6_block),
            ingress(REDIS, self.cidr),
            ingress_of_replies(self.cidr),
            egress(REDIS, self.cidr),
            egress_of_replies(ipv6_block),
            egress_of_replies(self.cidr),
        ]


def _ipv6_block(number: int) -> Callable[[str], str]:
    """Computes the /64 of that number from the network's IPv6 block."""

    def compute(cidr: str) -> str:
        if cidr.startswith("${"):
            # In a recorded program the block is a reference, and Terraform computes the same.
            return f"${{cidrsubnet({cidr[2:-1]}, 8, {number})}}"
        network = ipaddress.IPv6Network(cidr)
        return str(ipaddress.IPv6Network((int(network.network_address) + (number << 64), 64)))

    return compute
