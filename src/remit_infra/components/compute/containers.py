"""The ECS cluster and its task definitions. All tasks run one image, each with its own command.

A task has two roles: its own for what the service does, and the cluster's execution role, which
pulls the image and writes the log. Its root file system is read-only, and its user is not root.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Context
from remit_infra.components.roles import RolePermissions, make_service_role, policy_document
from remit_infra.model.compute import TASK_CPU_UNITS, TASK_MEMORY_MIB, TaskSpec
from remit_infra.model.permissions import FETCH_IMAGE, LOG, REGISTRY_LOGIN

CONTAINER = "payment"
PORT = 8_000
USER = "10001:10001"
STOP_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class TaskImage:
    """The image that all tasks run, and the processor architecture for which it was built."""

    uri: str
    architecture: str


class Cluster(pulumi.ComponentResource):
    """A cluster with Container Insights for each container, the log group of its tasks, and the
    execution role that starts them.
    """

    def __init__(self, context: Context, *, repository: aws.ecr.Repository) -> None:
        super().__init__("remit:containers:Cluster", "cluster")
        child = pulumi.ResourceOptions(parent=self)
        names = context.names
        self.cluster = aws.ecs.Cluster(
            "payment-cluster",
            name=names("cluster", "payment-cluster"),
            settings=[{"name": "containerInsights", "value": "enhanced"}],
            opts=child,
        )
        self.capacity_providers = aws.ecs.ClusterCapacityProviders(
            "payment-cluster-capacity",
            cluster_name=self.cluster.name,
            capacity_providers=["FARGATE", "FARGATE_SPOT"],
            opts=child,
        )
        context.log_group(
            "payment-insights-logs",
            f"/aws/ecs/containerinsights/{names('cluster', 'payment-cluster')}/performance",
            child,
        )
        self.logs = context.log_group(
            "payment-logs", f"/ecs/{names('log group', 'payment')}", child
        )
        self.execution_role, self.execution_policy = make_service_role(
            context,
            "payment-execution",
            service="ecs-tasks.amazonaws.com",
            statements=[REGISTRY_LOGIN, FETCH_IMAGE, LOG],
            resources={
                "*": "*",
                "repository": repository.arn,
                "log group": pulumi.Output.concat(self.logs.arn, ":*"),
            },
            opts=child,
        )
        self.register_outputs({"name": self.cluster.name})


class TaskDefinition(pulumi.ComponentResource):
    """A task's definition and the policy of its role."""

    def __init__(
        self,
        context: Context,
        cluster: Cluster,
        spec: TaskSpec,
        *,
        image: TaskImage,
        permissions: RolePermissions,
        environment: Mapping[str, pulumi.Input[str]],
    ) -> None:
        super().__init__("remit:containers:Task", spec.name)
        names = context.names
        policy = aws.iam.RolePolicy(
            f"{spec.name}-policy",
            name=names("role", spec.name),
            role=permissions.role.name,
            policy=policy_document(permissions.statements, permissions.resources),
            opts=pulumi.ResourceOptions(parent=self),
        )
        log_configuration = _log_configuration(context, cluster, spec)
        container = _container(spec, image, environment, log_configuration)
        self.definition = aws.ecs.TaskDefinition(
            spec.family,
            family=names("task", spec.family),
            requires_compatibilities=["FARGATE"],
            network_mode="awsvpc",
            cpu=str(TASK_CPU_UNITS),
            memory=str(TASK_MEMORY_MIB),
            runtime_platform={
                "operating_system_family": "LINUX",
                "cpu_architecture": image.architecture.upper(),
            },
            execution_role_arn=cluster.execution_role.arn,
            task_role_arn=permissions.role.arn,
            container_definitions=pulumi.Output.json_dumps([container]),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy, cluster.execution_policy]),
        )
        self.register_outputs({"arn": self.definition.arn})


def _container(
    spec: TaskSpec,
    image: TaskImage,
    environment: Mapping[str, pulumi.Input[str]],
    log_configuration: Mapping[str, Any],
) -> dict[str, Any]:
    """The container definition (ECS, "Task definition parameters for Fargate")."""
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": image.uri,
        "command": [spec.command],
        "essential": True,
        "environment": [
            {"name": variable, "value": value} for variable, value in sorted(environment.items())
        ],
        "user": USER,
        "readonlyRootFilesystem": True,
        "linuxParameters": {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}},
        "stopTimeout": STOP_SECONDS,
        "logConfiguration": log_configuration,
    }
    if spec.is_server:
        container["portMappings"] = [{"containerPort": PORT, "hostPort": PORT, "protocol": "tcp"}]
    if spec.is_long_running:
        container["healthCheck"] = {
            "command": ["CMD", "python", "-m", "remit.entrypoints.healthcheck"],
            "interval": 30,
            "timeout": 5,
            "retries": 3,
            "startPeriod": 60,
        }
    return container


def _log_configuration(context: Context, cluster: Cluster, spec: TaskSpec) -> dict[str, Any]:
    return {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": cluster.logs.name,
            "awslogs-region": context.aws_environment.region,
            "awslogs-stream-prefix": spec.name,
            # A payment must not wait for a log that cannot be written.
            "mode": "non-blocking",
            "max-buffer-size": "4m",
        },
    }
