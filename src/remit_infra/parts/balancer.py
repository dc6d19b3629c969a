"""The load balancer in the public subnets, with a function behind each path."""

import json
from collections.abc import Mapping, Sequence

import pulumi
import pulumi_aws as aws

from remit_infra.edge import ROUTES
from remit_infra.parts.buckets import Buckets
from remit_infra.parts.functions import let_call
from remit_infra.parts.ground import Ground
from remit_infra.parts.network import HTTP, HTTPS

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
    speaks HTTP, which configuration must allow by name.
    """

    def __init__(
        self,
        ground: Ground,
        *,
        subnets: Sequence[aws.ec2.Subnet],
        group: aws.ec2.SecurityGroup,
        functions: Mapping[str, aws.lambda_.Alias],
        certificate_arn: str | None,
        buckets: Buckets,
    ) -> None:
        super().__init__("remit:balancer:Balancer", "balancer")
        names = self._names = ground.names
        self._under = pulumi.ResourceOptions(parent=self)
        self.balancer = aws.lb.LoadBalancer(
            "payment-alb",
            name=names("load balancer", "payment-alb"),
            load_balancer_type="application",
            internal=False,
            subnets=[subnet.id for subnet in subnets],
            security_groups=[group.id],
            drop_invalid_header_fields=True,
            enable_deletion_protection=names.environment.deletion_protection,
            access_logs={"bucket": buckets.logs.bucket, "prefix": "alb", "enabled": True},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[buckets.logs_policy]),
        )
        listener = self._listeners(certificate_arn)
        self.targets = {module: self._target(module, alias) for module, alias in functions.items()}
        for priority, module in enumerate(functions, 1):
            aws.lb.ListenerRule(
                f"payment-alb-{module}",
                listener_arn=listener.arn,
                priority=priority,
                conditions=[{"path_pattern": {"values": _patterns(module)}}],
                actions=[{"type": "forward", "target_group_arn": self.targets[module].arn}],
                opts=self._under,
            )
        self.register_outputs({"dns_name": self.balancer.dns_name})

    def _listeners(self, certificate_arn: str | None) -> aws.lb.Listener:
        """The listener that answers."""
        is_open = certificate_arn is None
        plain = aws.lb.Listener(
            "payment-alb-http",
            load_balancer_arn=self.balancer.arn,
            port=HTTP,
            protocol="HTTP",
            default_actions=[NOWHERE if is_open else REDIRECT],
            opts=self._under,
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
            default_actions=[NOWHERE],
            opts=self._under,
        )

    def _target(self, module: str, alias: aws.lambda_.Alias) -> aws.lb.TargetGroup:
        """A target group of one function. Lambda must have been told before the group asks it."""
        name = "payment-tg" if module == "validation" else f"payment-tg-{module[:4]}"
        target = aws.lb.TargetGroup(
            name,
            name=self._names("target group", name),
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
            opts=self._under,
        )
        permission = let_call(
            name, alias, caller="elasticloadbalancing", source_arn=target.arn, opts=self._under
        )
        aws.lb.TargetGroupAttachment(
            f"{name}-function",
            target_group_arn=target.arn,
            target_id=alias.arn,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[permission]),
        )
        return target


def _patterns(module: str) -> list[str]:
    """The paths of a function's routes, a parameter as any value."""
    return [
        "/" + "/".join("*" if part.startswith("{") else part for part in path.split("/"))
        for _, path, answering in ROUTES
        if answering == module
    ]
