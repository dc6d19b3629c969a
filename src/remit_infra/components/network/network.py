"""The VPC, its security groups, network ACLs and flow log: what every network has.

Security groups say who reaches whom. Network ACLs repeat it by port for whole subnets. The
subnets and their routes are in `nat.py` and `egress.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Context
from remit_infra.components.roles import make_service_role
from remit_infra.model.permissions import WRITE_FLOW_LOGS

ANYWHERE, ANYWHERE_IPV6 = "0.0.0.0/0", "::/0"
HTTPS, HTTP, POSTGRES, REDIS = 443, 80, 5_432, 6_379
EPHEMERAL_PORTS = (1_024, 65_535)
"""Where the replies to a connection arrive: network ACLs are stateless."""


class AclRule(NamedTuple):
    """Allows TCP between a subnet and the address block `cidr`."""

    is_egress: bool
    first_port: int
    last_port: int
    cidr: pulumi.Input[str]


def ingress(port: int, cidr: pulumi.Input[str]) -> AclRule:
    return AclRule(False, port, port, cidr)


def egress(port: int, cidr: pulumi.Input[str]) -> AclRule:
    return AclRule(True, port, port, cidr)


def ingress_of_replies(cidr: pulumi.Input[str]) -> AclRule:
    return AclRule(False, *EPHEMERAL_PORTS, cidr)


def egress_of_replies(cidr: pulumi.Input[str]) -> AclRule:
    return AclRule(True, *EPHEMERAL_PORTS, cidr)


@dataclass(frozen=True, kw_only=True)
class VpcPlacement:
    """Where functions or tasks run in a network."""

    subnets: Sequence[aws.ec2.Subnet]
    security_group: aws.ec2.SecurityGroup

    @property
    def subnet_ids(self) -> list[pulumi.Output[str]]:
        return [subnet.id for subnet in self.subnets]


class Network(pulumi.ComponentResource):
    """A VPC whose default security group allows nothing, with a flow log. Its subclasses make the
    subnets and routes.
    """

    def __init__(self, context: Context, *, cidr: str, has_ipv6: bool = False) -> None:
        super().__init__("remit:network:Network", "network")
        self._context = context
        self.cidr = cidr
        self._child = pulumi.ResourceOptions(parent=self)
        self.vpc = aws.ec2.Vpc(
            "payment-vpc",
            cidr_block=cidr,
            assign_generated_ipv6_cidr_block=True if has_ipv6 else None,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            opts=self._child,
        )
        # Managing the default group without rules removes AWS's own: what is put into it by
        # mistake has no connection.
        aws.ec2.DefaultSecurityGroup("payment-closed-sg", vpc_id=self.vpc.id, opts=self._child)
        self._log_flows()

    def _route_table(self, name: str, subnets: Sequence[aws.ec2.Subnet]) -> aws.ec2.RouteTable:
        table = aws.ec2.RouteTable(f"payment-{name}-routes", vpc_id=self.vpc.id, opts=self._child)
        for number, subnet in enumerate(subnets, 1):
            aws.ec2.RouteTableAssociation(
                f"payment-{name}-routes-{number}",
                route_table_id=table.id,
                subnet_id=subnet.id,
                opts=self._child,
            )
        return table

    def _network_acl(
        self, tier: str, subnets: Sequence[aws.ec2.Subnet], rules: Sequence[AclRule]
    ) -> None:
        acl = aws.ec2.NetworkAcl(
            f"payment-{tier}-acl",
            vpc_id=self.vpc.id,
            subnet_ids=[subnet.id for subnet in subnets],
            opts=self._child,
        )
        for number, rule in enumerate(rules):
            aws.ec2.NetworkAclRule(
                f"payment-{tier}-acl-rule-{number}",
                network_acl_id=acl.id,
                rule_number=100 + 10 * number,
                egress=rule.is_egress,
                protocol="tcp",
                rule_action="allow",
                **_address_block(rule.cidr),
                from_port=rule.first_port,
                to_port=rule.last_port,
                opts=self._child,
            )

    def _log_flows(self) -> None:
        names = self._context.names
        group = self._context.log_group(
            "payment-flow-logs",
            f"/aws/vpc/{names('log group', 'payment-flows')}",
            self._child,
        )
        role, policy = make_service_role(
            self._context,
            "payment-flow-logs",
            service="vpc-flow-logs.amazonaws.com",
            statements=[WRITE_FLOW_LOGS],
            resources={"log group": pulumi.Output.concat(group.arn, ":*")},
            opts=self._child,
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

    def security_group(self, name: str, description: str) -> aws.ec2.SecurityGroup:
        """A security group without rules: it allows no connection, in or out."""
        return aws.ec2.SecurityGroup(
            name,
            name=self._context.names("security group", name),
            description=description,
            vpc_id=self.vpc.id,
            revoke_rules_on_delete=True,
            opts=self._child,
        )


def _address_block(cidr: pulumi.Input[str]) -> dict[str, Any]:
    """The argument of an ACL rule for an address block. A block that is an output is the VPC's IPv6
    block: AWS assigns it when it creates the VPC.
    """
    is_ipv4 = isinstance(cidr, str) and ":" not in cidr
    return {"cidr_block" if is_ipv4 else "ipv6_cidr_block": cidr}


Peer = aws.ec2.SecurityGroup | str
"""One side of a connection: a security group or an address block."""


def allow_traffic(name: str, *, source: Peer, target: Peer, port: int) -> None:
    """Allows TCP from `source` to `target` on a port. Each of them that is a group gets a rule."""
    if not isinstance(target, str):
        aws.vpc.SecurityGroupIngressRule(
            f"{name}-in",
            security_group_id=target.id,
            **_group_rule(name, source, port, group=target),
        )
    if not isinstance(source, str):
        aws.vpc.SecurityGroupEgressRule(
            f"{name}-out",
            security_group_id=source.id,
            **_group_rule(name, target, port, group=source),
        )


def _group_rule(
    name: str, peer: Peer, port: int, *, group: aws.ec2.SecurityGroup
) -> dict[str, Any]:
    return {
        "ip_protocol": "tcp",
        "from_port": port,
        "to_port": port,
        "cidr_ipv4": peer if isinstance(peer, str) and ":" not in peer else None,
        "cidr_ipv6": peer if isinstance(peer, str) and ":" in peer else None,
        "referenced_security_group_id": None if isinstance(peer, str) else peer.id,
        "description": name,
        "opts": pulumi.ResourceOptions(parent=group),
    }
