"""A network of three tiers whose tasks reach AWS over IPv6, without a NAT gateway.

Load balancers are in the public subnets. Tasks have IPv6 addresses alone: they leave through an
egress-only internet gateway, which costs nothing, is in every zone at once, and lets nobody in.
Databases and caches are in subnets that lead nowhere. A partner who has no IPv6 is reached through
NAT gateways, as many as configuration says; the addresses of such a partner are translated (DNS64
and NAT64, RFC 6147 and RFC 6146).
"""

import ipaddress
from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Ground
from remit_infra.components.network.network import (
    ANYWHERE,
    ANYWHERE_IPV6,
    EPHEMERAL,
    HTTP,
    HTTPS,
    POSTGRES,
    REDIS,
    Network,
    Rule,
)

PUBLIC, TASKS, DATA = 0, 4, 8
"""Where each tier's blocks begin: of IPv4 sixteenths of the network, of IPv6 /64s."""

TRANSLATED = "64:ff9b::/96"
"""What DNS64 makes of an IPv4 address (RFC 6052, section 2.1)."""


class EgressOnlyNetwork(Network):
    """A subnet of each tier in each zone. `port` is what the load balancer asks tasks on."""

    def __init__(self, ground: Ground, *, cidr: str, port: int, nat_gateways: int) -> None:
        super().__init__(ground, cidr=cidr, has_ipv6=True)
        self._nat_gateways = nat_gateways
        self.public = self._tier("public", PUBLIC)
        self.tasks = self._tier("task", TASKS)
        self.data = self._tier("data", DATA)
        self._route_public()
        self._route_tasks()
        self._table("data", self.data)
        inside: pulumi.Output[str] = self.vpc.ipv6_cidr_block
        self._acl("public", self.public, self._public_rules(inside, port))
        self._acl("task", self.tasks, self._task_rules(inside, port))
        self._acl("data", self.data, self._data_rules(inside))
        self.register_outputs({"vpc_id": self.vpc.id})

    def _tier(self, tier: str, first: int) -> list[aws.ec2.Subnet]:
        blocks = list(ipaddress.ip_network(self.cidr).subnets(prefixlen_diff=4))
        return [
            aws.ec2.Subnet(
                f"payment-{tier}-subnet-{number}",
                vpc_id=self.vpc.id,
                availability_zone=zone,
                ipv6_cidr_block=self.vpc.ipv6_cidr_block.apply(_nth(first + number - 1)),
                assign_ipv6_address_on_creation=True,
                map_public_ip_on_launch=False,
                **self._addresses(tier, str(blocks[first + number - 1])),
                opts=self._under,
            )
            for number, zone in enumerate(self._ground.place.zones, 1)
        ]

    def _addresses(self, tier: str, block: str) -> dict[str, Any]:
        """Tasks have none of IPv4: with one, Fargate would fetch images over IPv4 alone."""
        if tier != "task":
            return {"cidr_block": block}
        return {
            "ipv6_native": True,
            "enable_resource_name_dns_aaaa_record_on_launch": True,
            "enable_dns64": self._nat_gateways > 0,
        }

    def _route_public(self) -> None:
        self._gateway = aws.ec2.InternetGateway("payment-igw", vpc_id=self.vpc.id, opts=self._under)
        table = self._table("public", self.public)
        for name, block in (
            ("public", {"destination_cidr_block": ANYWHERE}),
            ("public-ipv6", {"destination_ipv6_cidr_block": ANYWHERE_IPV6}),
        ):
            aws.ec2.Route(
                f"payment-{name}-route",
                route_table_id=table.id,
                gateway_id=self._gateway.id,
                **block,
                opts=self._under,
            )

    def _route_tasks(self) -> None:
        """Out over IPv6, and through a NAT gateway, of the same zone if there is one, to IPv4."""
        gateway = aws.ec2.EgressOnlyInternetGateway(
            "payment-egress", vpc_id=self.vpc.id, opts=self._under
        )
        nats = [self._nat(number) for number in range(1, self._nat_gateways + 1)]
        for number, subnet in enumerate(self.tasks, 1):
            table = self._table(f"task-{number}", [subnet])
            aws.ec2.Route(
                f"payment-task-route-{number}",
                route_table_id=table.id,
                destination_ipv6_cidr_block=ANYWHERE_IPV6,
                egress_only_gateway_id=gateway.id,
                opts=self._under,
            )
            if nats:
                aws.ec2.Route(
                    f"payment-task-nat-route-{number}",
                    route_table_id=table.id,
                    destination_ipv6_cidr_block=TRANSLATED,
                    nat_gateway_id=nats[(number - 1) % len(nats)].id,
                    opts=self._under,
                )

    def _nat(self, number: int) -> aws.ec2.NatGateway:
        after = pulumi.ResourceOptions(parent=self, depends_on=[self._gateway])
        address = aws.ec2.Eip(f"payment-nat-ip-{number}", domain="vpc", opts=after)
        return aws.ec2.NatGateway(
            f"payment-nat-{number}",
            allocation_id=address.id,
            subnet_id=self.public[number - 1].id,
            opts=after,
        )

    def _public_rules(self, inside: pulumi.Output[str], port: int) -> list[Rule]:
        """Callers in, requests on to tasks, and the answers."""
        return [
            *((False, asked, asked, anyone) for asked in (HTTPS, HTTP) for anyone in _ANYONE),
            (False, *EPHEMERAL, inside),
            (True, port, port, inside),
            *((True, *EPHEMERAL, anyone) for anyone in _ANYONE),
            *self._translated(),
        ]

    def _translated(self) -> list[Rule]:
        """What the NAT gateways carry: out to IPv4, and back to the tasks."""
        if not self._nat_gateways:
            return []
        return [(True, HTTPS, HTTPS, ANYWHERE), (False, *EPHEMERAL, ANYWHERE)]

    def _task_rules(self, inside: pulumi.Output[str], port: int) -> list[Rule]:
        return [
            (False, port, port, inside),
            (False, *EPHEMERAL, ANYWHERE_IPV6),
            (True, HTTPS, HTTPS, ANYWHERE_IPV6),
            (True, POSTGRES, POSTGRES, inside),
            (True, REDIS, REDIS, inside),
            (True, *EPHEMERAL, inside),
        ]

    def _data_rules(self, inside: pulumi.Output[str]) -> list[Rule]:
        """To the database and the cache, among the nodes of the cache, and the answers."""
        return [
            (False, POSTGRES, POSTGRES, inside),
            (False, REDIS, REDIS, inside),
            (False, REDIS, REDIS, self.cidr),
            (False, *EPHEMERAL, self.cidr),
            (True, REDIS, REDIS, self.cidr),
            (True, *EPHEMERAL, inside),
            (True, *EPHEMERAL, self.cidr),
        ]


_ANYONE = (ANYWHERE, ANYWHERE_IPV6)


def _nth(number: int) -> Any:
    """The /64 of that number in the network's block of IPv6."""

    def block(cidr: str) -> str:
        if cidr.startswith("${"):
            # A recorded program has a reference here, and Terraform does the same sum.
            return f"${{cidrsubnet({cidr[2:-1]}, 8, {number})}}"
        network = ipaddress.IPv6Network(cidr)
        return str(ipaddress.IPv6Network((int(network.network_address) + (number << 64), 64)))

    return block
