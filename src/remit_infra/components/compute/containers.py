"""The cluster, and what runs in it: one image with a command for each task.

A task has a role of its own for what the service does, and the cluster's role, which fetches the
image and writes the log. Its root file system is read-only and its user is nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Ground
from remit_infra.components.network.egress import EgressOnlyNetwork
from remit_infra.components.roles import document, service_role
from remit_infra.model.permissions import FETCH_IMAGE, LOG, REGISTRY_LOGIN, Statement

CONTAINER = "payment"
PORT = 8_000
USER = "10001:10001"
STOP_SECONDS = 60
SPOT_WEIGHTS: Mapping[bool, Mapping[str, int]] = {
    True: {"FARGATE": 0, "FARGATE_SPOT": 1},
    False: {"FARGATE": 1, "FARGATE_SPOT": 0},
}
"""Where an environment's tasks run: Spot is cheaper, and ends a task with two minutes' notice."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """What every task runs, and for which processor it was built."""

    uri: str
    architecture: str


class Cluster(pulumi.ComponentResource):
    """A cluster with Container Insights down to each container, the log of its tasks, and the role
    that starts them.
    """

    def __init__(self, ground: Ground, *, repository: aws.ecr.Repository) -> None:
        super().__init__("remit:containers:Cluster", "cluster")
        under = pulumi.ResourceOptions(parent=self)
        names = ground.names
        self.cluster = aws.ecs.Cluster(
            "payment-cluster",
            name=names("cluster", "payment-cluster"),
            settings=[{"name": "containerInsights", "value": "enhanced"}],
            opts=under,
        )
        self.capacity = aws.ecs.ClusterCapacityProviders(
            "payment-cluster-capacity",
            cluster_name=self.cluster.name,
            capacity_providers=list(SPOT_WEIGHTS[True]),
            opts=under,
        )
        ground.log_group(
            "payment-insights-logs",
            f"/aws/ecs/containerinsights/{names('cluster', 'payment-cluster')}/performance",
            under,
        )
        self.logs = ground.log_group("payment-logs", f"/ecs/{names('log group', 'payment')}", under)
        self.role, self.allowed = service_role(
            names,
            "payment-execution",
            service="ecs-tasks.amazonaws.com",
            account=ground.place.account,
            statements=[REGISTRY_LOGIN, FETCH_IMAGE, LOG],
            resources={
                "*": "*",
                "repository": repository.arn,
                "log group": pulumi.Output.concat(self.logs.arn, ":*"),
            },
            opts=under,
        )
        self.register_outputs({"name": self.cluster.name})


@dataclass(frozen=True, kw_only=True)
class Command:
    """What of the service a task runs: `serves` callers, or works until it is told to stop, or
    ends by itself.
    """

    name: str
    family: str
    argument: str
    serves: bool = False
    lasts: bool = True


class Task(pulumi.ComponentResource):
    """A command of the service, as a task: its definition and what its role may do."""

    def __init__(
        self,
        ground: Ground,
        cluster: Cluster,
        command: Command,
        *,
        image: Image,
        role: aws.iam.Role,
        statements: Sequence[Statement],
        resources: Mapping[str, pulumi.Input[str]],
        environment: Mapping[str, pulumi.Input[str]],
        cpu_units: int,
        memory_mib: int,
    ) -> None:
        name = command.name
        super().__init__("remit:containers:Task", name)
        names = ground.names
        under = pulumi.ResourceOptions(parent=self)
        self.policy = aws.iam.RolePolicy(
            f"{name}-policy",
            name=names("role", name),
            role=role.name,
            policy=document(statements, {**resources, "*": "*"}),
            opts=under,
        )
        container = _container(ground, cluster, command, image=image.uri, environment=environment)
        self.definition = aws.ecs.TaskDefinition(
            command.family,
            family=names("task", command.family),
            requires_compatibilities=["FARGATE"],
            network_mode="awsvpc",
            cpu=str(cpu_units),
            memory=str(memory_mib),
            runtime_platform={
                "operating_system_family": "LINUX",
                "cpu_architecture": image.architecture.upper(),
            },
            execution_role_arn=cluster.role.arn,
            task_role_arn=role.arn,
            container_definitions=pulumi.Output.json_dumps([container]),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.policy, cluster.allowed]),
        )
        self.register_outputs({"arn": self.definition.arn})


def _container(
    ground: Ground,
    cluster: Cluster,
    command: Command,
    *,
    image: str,
    environment: Mapping[str, pulumi.Input[str]],
) -> dict[str, Any]:
    """What Docker is told (ECS, "Task definition parameters for Fargate")."""
    told: dict[str, Any] = {
        "name": CONTAINER,
        "image": image,
        "command": [command.argument],
        "essential": True,
        "environment": [
            {"name": variable, "value": value} for variable, value in sorted(environment.items())
        ],
        "user": USER,
        "readonlyRootFilesystem": True,
        "linuxParameters": {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}},
        "stopTimeout": STOP_SECONDS,
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": cluster.logs.name,
                "awslogs-region": ground.place.region,
                "awslogs-stream-prefix": command.name,
                # A log that cannot be written must not hold up a payment.
                "mode": "non-blocking",
                "max-buffer-size": "4m",
            },
        },
    }
    if command.serves:
        told["portMappings"] = [{"containerPort": PORT, "hostPort": PORT, "protocol": "tcp"}]
    if command.lasts:
        told["healthCheck"] = {
            "command": ["CMD", "python", "-m", "remit.entrypoints.healthcheck"],
            "interval": 30,
            "timeout": 5,
            "retries": 3,
            "startPeriod": 60,
        }
    return told


class Service(pulumi.ComponentResource):
    """So many tasks at all times. New ones replace old ones one by one, and if they do not come up,
    or an alarm fires meanwhile, the old ones come back.
    """

    def __init__(
        self,
        ground: Ground,
        cluster: Cluster,
        task: Task,
        name: str,
        *,
        tasks: tuple[int, int],
        is_spot: bool,
        network: EgressOnlyNetwork,
        group: aws.ec2.SecurityGroup,
        alarms: Sequence[str],
        ready: Sequence[pulumi.Resource],
        target: aws.lb.TargetGroup | None = None,
    ) -> None:
        super().__init__("remit:containers:Service", name)
        names = ground.names
        self.name = names("service", name)
        balanced: dict[str, Any] = {}
        if target is not None:
            behind = {
                "target_group_arn": target.arn,
                "container_name": CONTAINER,
                "container_port": PORT,
            }
            balanced = {"load_balancers": [behind], "health_check_grace_period_seconds": 120}
        self.service = aws.ecs.Service(
            name,
            name=self.name,
            cluster=cluster.cluster.arn,
            task_definition=task.definition.arn,
            desired_count=tasks[0],
            platform_version="1.4.0",
            capacity_provider_strategies=[
                {"capacity_provider": provider, "weight": weight}
                for provider, weight in SPOT_WEIGHTS[is_spot].items()
            ],
            network_configuration={
                "subnets": [subnet.id for subnet in network.tasks],
                "security_groups": [group.id],
                "assign_public_ip": False,
            },
            deployment_minimum_healthy_percent=100,
            deployment_maximum_percent=200,
            deployment_circuit_breaker={"enable": True, "rollback": True},
            alarms={"enable": True, "rollback": True, "alarm_names": list(alarms)},
            availability_zone_rebalancing="ENABLED",
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            wait_for_steady_state=True,
            force_delete=True,
            **balanced,
            # How many there are is for the scaling to say.
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[cluster.capacity, *ready],
                ignore_changes=["desiredCount"],
            ),
        )
        self.register_outputs({"name": self.service.name})
