"""A private network, its firewalls, and a log of what flows: what every network has.

Who may reach whom is in the security groups; the network ACLs say the same once more, by port, for
whole subnets. How its tiers reach AWS and the internet is in `network_nat.py` and
`network_egress.py`.
"""

from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Ground
from remit_infra.components.roles import service_role
from remit_infra.model.permissions import WRITE_FLOW_LOGS

ANYWHERE, ANYWHERE_IPV6 = "0.0.0.0/0", "::/0"
EPHEMERAL = (1_024, 65_535)
HTTPS, HTTP, POSTGRES, REDIS = 443, 80, 5_432, 6_379

Rule = tuple[bool, int, int, pulumi.Input[str]]
"""Whether it is outgoing, the first and the last port, and the other side."""


class Network(pulumi.ComponentResource):
    """The VPC, with subnets, routes and rules as its kind makes them."""

    def __init__(self, ground: Ground, *, cidr: str, has_ipv6: bool = False) -> None:
        super().__init__("remit:network:Network", "network")
        self._ground = ground
        self.cidr = cidr
        self._under = pulumi.ResourceOptions(parent=self)
        self.vpc = aws.ec2.Vpc(
            "payment-vpc",
            cidr_block=cidr,
            assign_generated_ipv6_cidr_block=True if has_ipv6 else None,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            opts=self._under,
        )
        # Whoever is put into the default group by mistake reaches nothing and is reached by nobody.
        aws.ec2.DefaultSecurityGroup("payment-closed-sg", vpc_id=self.vpc.id, opts=self._under)
        self._log_flows()

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
                **_block(cidr),
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


def _block(cidr: pulumi.Input[str]) -> dict[str, Any]:
    """The addresses of a rule, of either family. Those of IPv6 are known when the VPC is made."""
    is_ipv4 = isinstance(cidr, str) and ":" not in cidr
    return {"cidr_block" if is_ipv4 else "ipv6_cidr_block": cidr}


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
        "cidr_ipv4": other if isinstance(other, str) and ":" not in other else None,
        "cidr_ipv6": other if isinstance(other, str) and ":" in other else None,
        "referenced_security_group_id": None if isinstance(other, str) else other.id,
        "description": name,
        "opts": pulumi.ResourceOptions(parent=of),
    }
