"""The load balancer in the public subnets, and its rules for functions behind it."""

import json
from collections.abc import Mapping
from itertools import count

import pulumi
import pulumi_aws as aws

from remit_infra.components.compute.functions import allow_invoke
from remit_infra.components.context import Context
from remit_infra.components.data.buckets import Buckets
from remit_infra.components.network.network import HTTP, HTTPS, VpcPlacement
from remit_infra.model.gateway import GATEWAY_RESPONSES, ROUTES, path_pattern

PATHS_IN_A_RULE = 5
"""The values that one rule of a load balancer takes (Elastic Load Balancing, "Quotas")."""

TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
HEALTH_SECONDS = 60
NOT_FOUND: aws.lb.ListenerDefaultActionArgsDict = {
    "type": "fixed-response",
    "fixed_response": {
        "content_type": "application/json",
        "status_code": "404",
        "message_body": json.dumps({"error": GATEWAY_RESPONSES["route"].error}),
    },
}
REDIRECT: aws.lb.ListenerDefaultActionArgsDict = {
    "type": "redirect",
    "redirect": {"port": "443", "protocol": "HTTPS", "status_code": "HTTP_301"},
}


class LoadBalancer(pulumi.ComponentResource):
    """HTTPS with the configured certificate, and HTTP that redirects to it. Without a certificate
    it serves HTTP.

    Requests that match no rule go to `target_group`, or get 404 where there is none. With a target
    group it is dual-stack: tasks have IPv6 only, callers have either.
    """

    def __init__(
        self,
        context: Context,
        *,
        placement: VpcPlacement,
        certificate_arn: str | None,
        buckets: Buckets,
        target_group: aws.lb.TargetGroup | None = None,
    ) -> None:
        super().__init__("remit:balancer:Balancer", "balancer")
        names = context.names
        self.child = pulumi.ResourceOptions(parent=self)
        self.balancer = aws.lb.LoadBalancer(
            "payment-alb",
            name=names("load balancer", "payment-alb"),
            load_balancer_type="application",
            ip_address_type="ipv4" if target_group is None else "dualstack",
            internal=False,
            subnets=placement.subnet_ids,
            security_groups=[placement.security_group.id],
            drop_invalid_header_fields=True,
            enable_deletion_protection=names.environment.deletion_protection,
            access_logs={
                "bucket": buckets.access_logs.bucket,
                "prefix": "alb",
                "enabled": True,
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[buckets.access_logs_policy]),
        )
        self.listener = self._listeners(
            certificate_arn, NOT_FOUND if target_group is None else _forward(target_group)
        )
        self.register_outputs({"dns_name": self.balancer.dns_name})

    def _listeners(
        self, certificate_arn: str | None, action: aws.lb.ListenerDefaultActionArgsDict
    ) -> aws.lb.Listener:
        """Makes the listeners and returns the one that takes the action."""
        is_http_only = certificate_arn is None
        http = aws.lb.Listener(
            "payment-alb-http",
            load_balancer_arn=self.balancer.arn,
            port=HTTP,
            protocol="HTTP",
            default_actions=[action if is_http_only else REDIRECT],
            opts=self.child,
        )
        if is_http_only:
            return http
        return aws.lb.Listener(
            "payment-alb-https",
            load_balancer_arn=self.balancer.arn,
            port=HTTPS,
            protocol="HTTPS",
            certificate_arn=certificate_arn,
            ssl_policy=TLS_POLICY,
            default_actions=[action],
            opts=self.child,
        )


def _forward(target_group: aws.lb.TargetGroup) -> aws.lb.ListenerDefaultActionArgsDict:
    return {"type": "forward", "target_group_arn": target_group.arn}


def route_to_functions(
    context: Context, balancer: LoadBalancer, functions: Mapping[str, aws.lambda_.Alias]
) -> dict[str, aws.lb.TargetGroup]:
    """A target group for each function, by its module, and rules that match the paths of the
    function's routes.
    """
    target_groups = {}
    priorities = count(1)
    for module, alias in functions.items():
        target_groups[module] = _function_target_group(context, balancer, module, alias)
        patterns = [f"/{path_pattern(path)}" for _, path, handler in ROUTES if handler == module]
        paths = list(dict.fromkeys(patterns))
        for number, first in enumerate(range(0, len(paths), PATHS_IN_A_RULE), 1):
            aws.lb.ListenerRule(
                f"payment-alb-{module}" + (f"-{number}" if number > 1 else ""),
                listener_arn=balancer.listener.arn,
                priority=next(priorities),
                conditions=[{"path_pattern": {"values": paths[first : first + PATHS_IN_A_RULE]}}],
                actions=[{"type": "forward", "target_group_arn": target_groups[module].arn}],
                opts=balancer.child,
            )
    return target_groups


def _function_target_group(
    context: Context, balancer: LoadBalancer, module: str, alias: aws.lambda_.Alias
) -> aws.lb.TargetGroup:
    name = "payment-tg" if module == "validation" else f"payment-tg-{module[:4]}"
    target_group = aws.lb.TargetGroup(
        name,
        name=context.names("target group", name),
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
        opts=balancer.child,
    )
    permission = allow_invoke(
        name,
        alias,
        service="elasticloadbalancing",
        source_arn=target_group.arn,
        opts=balancer.child,
    )
    aws.lb.TargetGroupAttachment(
        f"{name}-function",
        target_group_arn=target_group.arn,
        target_id=alias.arn,
        # ELB checks the permission when the function is attached.
        opts=pulumi.ResourceOptions(parent=balancer, depends_on=[permission]),
    )
    return target_group
