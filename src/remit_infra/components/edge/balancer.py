"""The load balancer in the public subnets, and how a request finds a function behind it."""

import json
from collections.abc import Mapping, Sequence

import pulumi
import pulumi_aws as aws

from remit_infra.components.compute.functions import let_call
from remit_infra.components.context import Ground
from remit_infra.components.data.buckets import Buckets
from remit_infra.components.network.network import HTTP, HTTPS
from remit_infra.model.gateway import ROUTES

TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
HEALTH_SECONDS = 60
NOWHERE: aws.lb.ListenerDefaultActionArgsDict = {
    "type": "fixed-response",
    "fixed_response": {
        "content_type": "application/json",
        "status_code": "404",
        "message_body": json.dumps(
            {
                "error": {
                    "type": "invalid_request_error",
                    "code": "route_unknown",
                    "message": "There is nothing at this path.",
                }
            }
        ),
    },
}
REDIRECT: aws.lb.ListenerDefaultActionArgsDict = {
    "type": "redirect",
    "redirect": {"port": "443", "protocol": "HTTPS", "status_code": "HTTP_301"},
}


class Balancer(pulumi.ComponentResource):
    """HTTPS with the configured certificate, and HTTP only to redirect. Without a certificate it
    speaks HTTP, which configuration must allow by name. What no rule knows goes to `target`.
    """

    def __init__(
        self,
        ground: Ground,
        *,
        subnets: Sequence[aws.ec2.Subnet],
        group: aws.ec2.SecurityGroup,
        certificate_arn: str | None,
        buckets: Buckets,
        target: aws.lb.TargetGroup | None = None,
    ) -> None:
        super().__init__("remit:balancer:Balancer", "balancer")
        names = ground.names
        self.under = pulumi.ResourceOptions(parent=self)
        self.balancer = aws.lb.LoadBalancer(
            "payment-alb",
            name=names("load balancer", "payment-alb"),
            load_balancer_type="application",
            # Tasks have IPv6 alone, and callers whichever they like.
            ip_address_type="ipv4" if target is None else "dualstack",
            internal=False,
            subnets=[subnet.id for subnet in subnets],
            security_groups=[group.id],
            drop_invalid_header_fields=True,
            enable_deletion_protection=names.environment.deletion_protection,
            access_logs={"bucket": buckets.logs.bucket, "prefix": "alb", "enabled": True},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[buckets.logs_policy]),
        )
        self.listener = self._listeners(certificate_arn, NOWHERE if target is None else _to(target))
        self.register_outputs({"dns_name": self.balancer.dns_name})

    def _listeners(
        self, certificate_arn: str | None, action: aws.lb.ListenerDefaultActionArgsDict
    ) -> aws.lb.Listener:
        """The listener that answers."""
        is_open = certificate_arn is None
        plain = aws.lb.Listener(
            "payment-alb-http",
            load_balancer_arn=self.balancer.arn,
            port=HTTP,
            protocol="HTTP",
            default_actions=[action if is_open else REDIRECT],
            opts=self.under,
        )
        if is_open:
            return plain
        return aws.lb.Listener(
            "payment-alb-https",
            load_balancer_arn=self.balancer.arn,
            port=HTTPS,
            protocol="HTTPS",
            certificate_arn=certificate_arn,
            ssl_policy=TLS_POLICY,
            default_actions=[action],
            opts=self.under,
        )


def _to(target: aws.lb.TargetGroup) -> aws.lb.ListenerDefaultActionArgsDict:
    return {"type": "forward", "target_group_arn": target.arn}


def route_to_functions(
    ground: Ground, balancer: Balancer, functions: Mapping[str, aws.lambda_.Alias]
) -> dict[str, aws.lb.TargetGroup]:
    """A target group of each function, by its module, and a rule for the paths it answers."""
    targets = {}
    for priority, (module, alias) in enumerate(functions.items(), 1):
        target = targets[module] = _function_target(ground, balancer, module, alias)
        aws.lb.ListenerRule(
            f"payment-alb-{module}",
            listener_arn=balancer.listener.arn,
            priority=priority,
            conditions=[{"path_pattern": {"values": _patterns(module)}}],
            actions=[{"type": "forward", "target_group_arn": target.arn}],
            opts=balancer.under,
        )
    return targets


def _function_target(
    ground: Ground, balancer: Balancer, module: str, alias: aws.lambda_.Alias
) -> aws.lb.TargetGroup:
    """A target group of one function. Lambda must have been told before the group asks it."""
    name = "payment-tg" if module == "validation" else f"payment-tg-{module[:4]}"
    target = aws.lb.TargetGroup(
        name,
        name=ground.names("target group", name),
        target_type="lambda",
        health_check={
            "enabled": True,
            "path": "/health",
            "matcher": "200",
            "interval": HEALTH_SECONDS,
            "timeout": 30,
            "healthy_threshold": 2,
            "unhealthy_threshold": 3,
        },
        opts=balancer.under,
    )
    permission = let_call(
        name, alias, caller="elasticloadbalancing", source_arn=target.arn, opts=balancer.under
    )
    aws.lb.TargetGroupAttachment(
        f"{name}-function",
        target_group_arn=target.arn,
        target_id=alias.arn,
        opts=pulumi.ResourceOptions(parent=balancer, depends_on=[permission]),
    )
    return target


def _patterns(module: str) -> list[str]:
    """The paths of a function's routes, a parameter as any value."""
    return [
        "/" + "/".join("*" if part.startswith("{") else part for part in path.split("/"))
        for _, path, answering in ROUTES
        if answering == module
    ]
