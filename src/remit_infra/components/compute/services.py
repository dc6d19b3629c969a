"""ECS services: their deployment, their placement in the network, and their autoscaling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.components.compute.autoscaling import TargetTracking
from remit_infra.components.compute.containers import CONTAINER, PORT, Cluster, TaskDefinition
from remit_infra.components.context import Context
from remit_infra.components.network.network import VpcPlacement

DIMENSION = "ecs:service:DesiredCount"
SPOT_WEIGHTS: Mapping[bool, Mapping[str, int]] = {
    True: {"FARGATE": 0, "FARGATE_SPOT": 1},
    False: {"FARGATE": 1, "FARGATE_SPOT": 0},
}
"""The capacity provider of tasks with and without Spot. Spot is cheaper, and AWS stops a task with
two minutes' notice.
"""


@dataclass(frozen=True, kw_only=True)
class ServiceSpec:
    """A service: its minimum and maximum number of tasks, its scaling by metric, the alarms that
    roll a deployment back, and the target group of its tasks if they are behind the load balancer.
    """

    name: str
    tasks: tuple[int, int]
    is_spot: bool
    scaling: Mapping[str, TargetTracking]
    alarms: Sequence[str]
    target_group: aws.lb.TargetGroup | None = None


class EcsService(pulumi.ComponentResource):
    """A service that keeps its number of tasks. A deployment starts new tasks before it stops old
    ones, and is rolled back if they do not become healthy or one of the alarms fires.
    """

    def __init__(
        self,
        context: Context,
        cluster: Cluster,
        task: TaskDefinition,
        spec: ServiceSpec,
        *,
        placement: VpcPlacement,
        depends_on: Sequence[pulumi.Resource],
    ) -> None:
        super().__init__("remit:containers:Service", spec.name)
        self.spec = spec
        self.full_name = context.names("service", spec.name)
        self.service = aws.ecs.Service(
            spec.name,
            name=self.full_name,
            cluster=cluster.cluster.arn,
            task_definition=task.definition.arn,
            desired_count=spec.tasks[0],
            platform_version="1.4.0",
            capacity_provider_strategies=[
                {"capacity_provider": provider, "weight": weight}
                for provider, weight in SPOT_WEIGHTS[spec.is_spot].items()
            ],
            network_configuration={
                "subnets": placement.subnet_ids,
                "security_groups": [placement.security_group.id],
                "assign_public_ip": False,
            },
            deployment_minimum_healthy_percent=100,
            deployment_maximum_percent=200,
            deployment_circuit_breaker={"enable": True, "rollback": True},
            alarms={"enable": True, "rollback": True, "alarm_names": list(spec.alarms)},
            availability_zone_rebalancing="ENABLED",
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            wait_for_steady_state=True,
            force_delete=True,
            **_load_balancing(spec.target_group),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[cluster.capacity_providers, *depends_on],
                # Autoscaling changes it.
                ignore_changes=["desiredCount"],
            ),
        )
        self.register_outputs({"name": self.service.name})


def _load_balancing(target_group: aws.lb.TargetGroup | None) -> dict[str, Any]:
    if target_group is None:
        return {}
    target = {
        "target_group_arn": target_group.arn,
        "container_name": CONTAINER,
        "container_port": PORT,
    }
    return {"load_balancers": [target], "health_check_grace_period_seconds": 120}


class Autoscaling(pulumi.ComponentResource):
    """One policy for each metric of the service. Application Auto Scaling adds tasks when any
    policy asks for it, and removes them when all agree.
    """

    def __init__(self, cluster: Cluster, service: EcsService) -> None:
        name = service.spec.name
        super().__init__("remit:scaling:Scaling", f"{name}-scaling")
        child = pulumi.ResourceOptions(parent=self)
        minimum, maximum = service.spec.tasks
        target = aws.appautoscaling.Target(
            f"{name}-tasks",
            service_namespace="ecs",
            resource_id=pulumi.Output.concat(
                "service/", cluster.cluster.name, "/", service.service.name
            ),
            scalable_dimension=DIMENSION,
            min_capacity=minimum,
            max_capacity=maximum,
            opts=child,
        )
        for metric, tracking in service.spec.scaling.items():
            aws.appautoscaling.Policy(
                f"{name}-by-{metric}",
                name=f"{service.full_name}-by-{metric}",
                policy_type="TargetTrackingScaling",
                service_namespace="ecs",
                resource_id=target.resource_id,
                scalable_dimension=target.scalable_dimension,
                target_tracking_scaling_policy_configuration=tracking,
                opts=child,
            )
        self.register_outputs({})
