"""The two services, the API and the worker: how many tasks each has, and what scales it."""

import pulumi_aws as aws

from remit_infra.components.compute.autoscaling import by_cpu, by_queue_depth, by_requests
from remit_infra.components.compute.services import ServiceSpec
from remit_infra.components.data.queues import PaymentQueues
from remit_infra.components.gateway.load_balancer import LoadBalancer
from remit_infra.model.environments import Names
from remit_infra.topologies.fargate_aurora.configuration import FargateAuroraConfiguration
from remit_infra.topologies.fargate_aurora.monitoring import rollback_alarms


def api_service(
    configuration: FargateAuroraConfiguration,
    names: Names,
    balancer: LoadBalancer,
    target_group: aws.lb.TargetGroup,
) -> ServiceSpec:
    """The service that answers requests, behind the load balancer."""
    sizes = names.environment.fargate
    return ServiceSpec(
        name="payment-service",
        tasks=configuration.task_range(sizes.api_tasks),
        is_spot=sizes.is_spot,
        scaling={
            "cpu": by_cpu(configuration.cpu_target),
            "requests": by_requests(configuration.requests_target, balancer.balancer, target_group),
        },
        alarms=rollback_alarms(names, "payment-service"),
        target_group=target_group,
    )


def worker_service(
    configuration: FargateAuroraConfiguration, names: Names, queues: PaymentQueues
) -> ServiceSpec:
    """The service that processes the payments in the queue."""
    sizes = names.environment.fargate
    return ServiceSpec(
        name="payment-worker",
        tasks=configuration.task_range(sizes.worker_tasks),
        is_spot=sizes.is_spot,
        scaling={
            "cpu": by_cpu(configuration.cpu_target),
            "queue": by_queue_depth(configuration.queue_depth_target, queues.payments.name),
        },
        alarms=rollback_alarms(names, "payment-worker"),
    )
