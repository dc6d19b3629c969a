"""The load balancer before the API's tasks, with its target group, web firewall and domain."""

import pulumi_aws as aws

from remit_infra.components.compute.containers import PORT
from remit_infra.components.context import Context
from remit_infra.components.data.buckets import Buckets
from remit_infra.components.gateway.load_balancer import LoadBalancer
from remit_infra.components.gateway.web_firewall import WebFirewall
from remit_infra.components.network.egress import EgressOnlyNetwork
from remit_infra.components.network.network import (
    ANYWHERE,
    ANYWHERE_IPV6,
    HTTP,
    HTTPS,
    VpcPlacement,
    allow_traffic,
)
from remit_infra.topologies.fargate_aurora.configuration import (
    DEREGISTRATION_SECONDS,
    HEALTH_SECONDS,
    REQUESTS_PER_ADDRESS,
    FargateAuroraConfiguration,
)


def make_load_balancer(
    context: Context,
    configuration: FargateAuroraConfiguration,
    network: EgressOnlyNetwork,
    buckets: Buckets,
    task_group: aws.ec2.SecurityGroup,
) -> tuple[LoadBalancer, aws.lb.TargetGroup]:
    """The load balancer, and the target group in which the API's service registers its tasks."""
    balancer_group = network.security_group(
        "payment-alb-sg", "Load balancer: callers from the internet"
    )
    for port in (HTTPS, HTTP):
        for family, source in (("", ANYWHERE), ("-ipv6", ANYWHERE_IPV6)):
            allow_traffic(
                f"payment-alb-{port}{family}", source=source, target=balancer_group, port=port
            )
    allow_traffic("payment-alb-tasks", source=balancer_group, target=task_group, port=PORT)
    target_group = _target_group(context, network)
    balancer = LoadBalancer(
        context,
        placement=VpcPlacement(subnets=network.public, security_group=balancer_group),
        certificate_arn=configuration.certificate_arn,
        buckets=buckets,
        target_group=target_group,
    )
    WebFirewall(
        context,
        protected={"alb": balancer.balancer.arn},
        requests_per_address=REQUESTS_PER_ADDRESS,
    )
    _make_domain(configuration, balancer)
    return balancer, target_group


def _target_group(context: Context, network: EgressOnlyNetwork) -> aws.lb.TargetGroup:
    return aws.lb.TargetGroup(
        "payment-tg",
        name=context.names("target group", "payment-tg"),
        target_type="ip",
        ip_address_type="ipv6",
        port=PORT,
        protocol="HTTP",
        vpc_id=network.vpc.id,
        deregistration_delay=DEREGISTRATION_SECONDS,
        load_balancing_algorithm_type="least_outstanding_requests",
        health_check={
            "enabled": True,
            # It checks the task only: ECS must not replace every task when the database is down.
            "path": "/live",
            "matcher": "200",
            "interval": HEALTH_SECONDS,
            "timeout": 5,
            "healthy_threshold": 2,
            "unhealthy_threshold": 3,
        },
    )


def _make_domain(configuration: FargateAuroraConfiguration, balancer: LoadBalancer) -> None:
    if configuration.domain_name is None or configuration.hosted_zone_id is None:
        return
    for kind in ("A", "AAAA"):
        aws.route53.Record(
            f"payment-domain-{kind.lower()}",
            zone_id=configuration.hosted_zone_id,
            name=configuration.domain_name,
            type=kind,
            aliases=[
                {
                    "name": balancer.balancer.dns_name,
                    "zone_id": balancer.balancer.zone_id,
                    "evaluate_target_health": True,
                }
            ],
        )
