"""The way in, and the two services behind it: what answers callers, what works, how many."""

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_aws as aws

from remit_infra.components.compute.containers import PORT, Cluster, Service, Task
from remit_infra.components.compute.scaling import (
    Scaling,
    by_cpu,
    by_queue_depth,
    by_requests,
)
from remit_infra.components.context import Ground
from remit_infra.components.data.buckets import Buckets
from remit_infra.components.data.queues import Queues
from remit_infra.components.edge.balancer import Balancer
from remit_infra.components.edge.firewall import Firewall
from remit_infra.components.network.egress import EgressOnlyNetwork
from remit_infra.components.network.network import ANYWHERE, ANYWHERE_IPV6, HTTP, HTTPS, allow
from remit_infra.topologies.fargate_aurora.configuration import (
    DEREGISTRATION_SECONDS,
    HEALTH_SECONDS,
    REQUESTS_PER_ADDRESS,
    FargateAuroraConfiguration,
)
from remit_infra.topologies.fargate_aurora.monitoring import alarms_of


def make_edge(
    ground: Ground,
    configuration: FargateAuroraConfiguration,
    network: EgressOnlyNetwork,
    buckets: Buckets,
    inside: aws.ec2.SecurityGroup,
) -> tuple[Balancer, aws.lb.TargetGroup]:
    """The way in, the firewall before it, and the tasks behind it."""
    outside = network.group("payment-alb-sg", "Load balancer: callers from the internet")
    for port in (HTTPS, HTTP):
        for family, anyone in (("", ANYWHERE), ("-ipv6", ANYWHERE_IPV6)):
            allow(f"payment-alb-{port}{family}", to=outside, source=anyone, port=port)
    allow("payment-alb-tasks", source=outside, to=inside, port=PORT)
    target = aws.lb.TargetGroup(
        "payment-tg",
        name=ground.names("target group", "payment-tg"),
        target_type="ip",
        ip_address_type="ipv6",
        port=PORT,
        protocol="HTTP",
        vpc_id=network.vpc.id,
        deregistration_delay=DEREGISTRATION_SECONDS,
        load_balancing_algorithm_type="least_outstanding_requests",
        health_check={
            "enabled": True,
            # Of the task alone: a database that is away must not have every task replaced.
            "path": "/live",
            "matcher": "200",
            "interval": HEALTH_SECONDS,
            "timeout": 5,
            "healthy_threshold": 2,
            "unhealthy_threshold": 3,
        },
    )
    balancer = Balancer(
        ground,
        subnets=network.public,
        group=outside,
        certificate_arn=configuration.certificate_arn,
        buckets=buckets,
        target=target,
    )
    Firewall(
        ground,
        protected={"alb": balancer.balancer.arn},
        requests_per_address=REQUESTS_PER_ADDRESS,
    )
    if configuration.domain_name is not None and configuration.hosted_zone_id is not None:
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
    return balancer, target


def make_services(
    configuration: FargateAuroraConfiguration,
    ground: Ground,
    cluster: Cluster,
    tasks: Mapping[str, Task],
    network: EgressOnlyNetwork,
    queues: Queues,
    behind: tuple[Balancer, aws.lb.TargetGroup],
    *,
    group: aws.ec2.SecurityGroup,
    ready: Sequence[pulumi.Resource],
) -> tuple[Service, Service]:
    """The API and the worker, once all is `ready` for them, and how each is scaled."""
    balancer, target = behind
    size = ground.names.environment.fargate
    api_tasks = configuration.tasks_of(size.api_tasks)
    worker_tasks = configuration.tasks_of(size.worker_tasks)

    def service(name: str, task: str, least_and_most: tuple[int, int], **more: object) -> Service:
        return Service(
            ground,
            cluster,
            tasks[task],
            name,
            tasks=least_and_most,
            is_spot=size.is_spot,
            network=network,
            group=group,
            alarms=alarms_of(ground.names, name),
            ready=ready,
            **more,  # type: ignore[arg-type]
        )

    api = service("payment-service", "payment-api", api_tasks, target=target)
    worker = service("payment-worker", "payment-worker", worker_tasks)
    by_processor = by_cpu(configuration.cpu_target)
    Scaling(
        cluster,
        api,
        "payment-service",
        tasks=api_tasks,
        targets={
            "cpu": by_processor,
            "requests": by_requests(configuration.requests_target, balancer.balancer, target),
        },
    )
    Scaling(
        cluster,
        worker,
        "payment-worker",
        tasks=worker_tasks,
        targets={
            "cpu": by_processor,
            "queue": by_queue_depth(configuration.queue_depth_target, queues.work.name),
        },
    )
    return api, worker
