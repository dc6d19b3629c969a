"""The Pulumi program of fargate-aurora: all its resources."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from remit_infra.build.container_image import DATABASE_CA_IN_IMAGE
from remit_infra.components.compute.containers import (
    PORT,
    STOP_SECONDS,
    Cluster,
    TaskDefinition,
    TaskImage,
)
from remit_infra.components.compute.migration import Migration, MigrationTask
from remit_infra.components.compute.repository import make_repository
from remit_infra.components.compute.services import Autoscaling, EcsService
from remit_infra.components.context import AwsEnvironment, Context
from remit_infra.components.data.aurora import AuroraDatabase
from remit_infra.components.data.buckets import Buckets
from remit_infra.components.data.cache import ElastiCacheRedis
from remit_infra.components.data.queues import VISIBILITY_SECONDS, PaymentQueues
from remit_infra.components.data.topics import Topics
from remit_infra.components.kms_keys import KmsKeys
from remit_infra.components.monitoring import make_alarms, make_dashboard
from remit_infra.components.network.egress import EgressOnlyNetwork
from remit_infra.components.network.network import (
    ANYWHERE_IPV6,
    HTTPS,
    VpcPlacement,
    allow_traffic,
)
from remit_infra.components.roles import RolePermissions, make_roles
from remit_infra.components.schedules import schedule_message
from remit_infra.components.storage import Storage
from remit_infra.components.tags import tag_resources
from remit_infra.model.alarm import monitored_metrics
from remit_infra.model.alarms import resource_alarms, with_thresholds
from remit_infra.model.environments import AUDIT_DAYS, ConfigurationError
from remit_infra.model.permissions import FARGATE_AURORA
from remit_infra.model.service_env import service_environment
from remit_infra.topologies.fargate_aurora.configuration import (
    API,
    DRAIN_SECONDS,
    KMS_SENDERS,
    KMS_VIA_SERVICES,
    MIGRATION,
    RECONCILE_RATE,
    TASKS,
    TRACE_RATIO,
    WORKER,
    FargateAuroraConfiguration,
)
from remit_infra.topologies.fargate_aurora.load_balancer import make_load_balancer
from remit_infra.topologies.fargate_aurora.monitoring import graphs_of, scopes_of
from remit_infra.topologies.fargate_aurora.services import api_service, worker_service


@dataclass(frozen=True, kw_only=True)
class Foundation:
    """What exists before an image can be pushed."""

    context: Context
    roles: Mapping[str, aws.iam.Role]
    keys: KmsKeys
    repository: aws.ecr.Repository


@dataclass(frozen=True, kw_only=True)
class TaskStorage(Storage):
    """The stores, with those that several tasks share."""

    cache: ElastiCacheRedis
    queues: PaymentQueues

    def settings(self, *, database_ca: str) -> dict[str, pulumi.Input[str]]:
        return {
            **super().settings(database_ca=database_ca),
            "work_queue_url": self.queues.payments.url,
            "work_dead_letter_url": self.queues.dead_letters.url,
            "cache_endpoint": self.cache.endpoint,
            "cache_name": self.cache.name,
            "cache_user": self.cache.user.user_id,
        }

    def resources(self) -> dict[str, pulumi.Input[str]]:
        return {
            **super().resources(),
            "cache": self.cache.replication_group.arn,
            "cache user": self.cache.user.arn,
            "payment queue": self.queues.payments.arn,
            "dead letter queue": self.queues.dead_letters.arn,
        }


def build(
    configuration: FargateAuroraConfiguration, aws_environment: AwsEnvironment
) -> dict[str, pulumi.Output[str]]:
    """Makes all resources and returns the stack's outputs.

    Raises ConfigurationError before the first resource where no image is configured.
    """
    names = configuration.names
    image = _task_image(configuration)
    scopes = scopes_of(names)
    alarms = with_thresholds(resource_alarms(scopes), configuration.thresholds)
    foundation = make_foundation(configuration, aws_environment)
    context = foundation.context
    network = EgressOnlyNetwork(
        context,
        cidr=configuration.vpc_cidr,
        task_port=PORT,
        nat_gateways=configuration.nat_gateways,
    )
    placement = _task_placement(network)
    task_group = placement.security_group
    storage = _storage(context, configuration, network, foundation.keys, task_group)
    cluster = Cluster(context, repository=foundation.repository)
    tasks = _task_definitions(
        configuration,
        foundation,
        cluster,
        storage,
        image=image,
        monitored=monitored_metrics(alarms),
    )
    migration = _migration(context, cluster, tasks[MIGRATION.name], placement, storage.database)
    balancer, target_group = make_load_balancer(
        context, configuration, network, storage.buckets, task_group
    )
    identifiers = {
        "<load balancer>": balancer.balancer.arn_suffix,
        "<target>": target_group.arn_suffix,
    }
    metric_alarms = make_alarms(names, alarms, storage.topics.alarms, identifiers)
    specs = {
        API.name: api_service(configuration, names, balancer, target_group),
        WORKER.name: worker_service(configuration, names, storage.queues),
    }
    # New tasks need the migrated database, and the alarms that roll a deployment back.
    ready = [migration, balancer.listener, *metric_alarms]
    services = {
        task: EcsService(context, cluster, tasks[task], spec, placement=placement, depends_on=ready)
        for task, spec in specs.items()
    }
    for service in services.values():
        Autoscaling(cluster, service)
    schedule_message(
        names,
        "payment-reconcile",
        storage.queues.payments,
        rate=RECONCILE_RATE,
        kind="reconcile",
        depends_on=storage.queues.policy,
    )
    make_dashboard(names, aws_environment.region, graphs_of(scopes), identifiers)
    return {
        "alb_dns_name": balancer.balancer.dns_name,
        "database_endpoint": storage.database.endpoint,
        "cache_endpoint": storage.cache.endpoint,
        "payment_queue_url": storage.queues.payments.url,
        "vpc_id": network.vpc.id,
        "cluster_name": cluster.cluster.name,
        "service_name": services[API.name].service.name,
    }


def make_foundation(
    configuration: FargateAuroraConfiguration, aws_environment: AwsEnvironment
) -> Foundation:
    """Roles, keys and the repository. The first deployment makes them alone, so that an image can
    be pushed before a task needs it.
    """
    names = configuration.names
    tag_resources(names, migration_date=configuration.migration_date)
    roles = make_roles(
        names,
        [task.name for task in TASKS],
        service="ecs-tasks.amazonaws.com",
        account=aws_environment.account,
    )
    keys = KmsKeys(
        names, aws_environment, roles=roles, via_services=KMS_VIA_SERVICES, senders=KMS_SENDERS
    )
    context = Context(
        names=names,
        aws_environment=aws_environment,
        key=keys.data,
        log_retention_days=names.environment.log_retention_days,
    )
    return Foundation(context=context, roles=roles, keys=keys, repository=make_repository(context))


def _task_placement(network: EgressOnlyNetwork) -> VpcPlacement:
    """The task subnets and the tasks' security group, with its way to AWS."""
    group = network.security_group("payment-app-sg", "Tasks: HTTPS to AWS, database, cache")
    allow_traffic("payment-app-https", source=group, target=ANYWHERE_IPV6, port=HTTPS)
    return VpcPlacement(subnets=network.tasks, security_group=group)


def _task_image(configuration: FargateAuroraConfiguration) -> TaskImage:
    if configuration.image is None:
        raise ConfigurationError(
            "Set image to what the tasks run: `remit image --push` builds it and prints it."
        )
    return TaskImage(uri=configuration.image, architecture=configuration.architecture)


def _storage(
    context: Context,
    configuration: FargateAuroraConfiguration,
    network: EgressOnlyNetwork,
    keys: KmsKeys,
    task_group: aws.ec2.SecurityGroup,
) -> TaskStorage:
    return TaskStorage(
        keys=keys,
        topics=Topics(context, alarm_email=configuration.alarm_email),
        buckets=Buckets(context, audit_days=AUDIT_DAYS, object_lock=configuration.object_lock),
        queues=PaymentQueues(context),
        database=AuroraDatabase(
            context,
            network,
            clients=task_group,
            version=configuration.postgres_version,
            readers=configuration.readers,
        ),
        cache=ElastiCacheRedis(
            context,
            network,
            clients=task_group,
            replicas=int(configuration.enable_multi_az),
        ),
    )


def _task_definitions(
    configuration: FargateAuroraConfiguration,
    foundation: Foundation,
    cluster: Cluster,
    storage: TaskStorage,
    *,
    image: TaskImage,
    monitored: str,
) -> dict[str, TaskDefinition]:
    """The task definitions by the tasks' names. `monitored` is the worker's setting for metrics."""
    context = foundation.context
    resources = storage.resources()
    shared = _shared_settings(configuration, context, storage)
    own: Mapping[str, Mapping[str, pulumi.Input[str]]] = {
        API.name: {"host": "::", "port": str(PORT), "drain_seconds": str(DRAIN_SECONDS)},
        WORKER.name: {
            "host": "127.0.0.1",
            "work_visibility_seconds": str(VISIBILITY_SECONDS),
            "worker_port": str(PORT),
            "monitored_metrics": monitored,
        },
        MIGRATION.name: {},
    }
    return {
        task.name: TaskDefinition(
            context,
            cluster,
            task,
            image=image,
            permissions=RolePermissions(
                role=foundation.roles[task.name],
                statements=FARGATE_AURORA[task.name],
                resources=resources,
            ),
            environment={
                # The SDK then uses AWS's hosts with IPv6 addresses.
                "AWS_USE_DUALSTACK_ENDPOINT": "true",
                **service_environment({**shared, **own[task.name]}),
            },
        )
        for task in TASKS
    }


def _shared_settings(
    configuration: FargateAuroraConfiguration, context: Context, storage: TaskStorage
) -> dict[str, pulumi.Input[str]]:
    """The service's settings that all tasks have, by field."""
    settings: dict[str, pulumi.Input[str]] = {
        **storage.settings(database_ca=DATABASE_CA_IN_IMAGE),
        "service_name": f"payment-{context.names.suffix}",
        "stop_seconds": str(STOP_SECONDS - 10),
        "trace_ratio": str(TRACE_RATIO),
    }
    pause_after_seconds = context.names.environment.fargate.pause_after_seconds
    if pause_after_seconds is not None:
        settings["idle_after_seconds"] = str(pause_after_seconds)
    return settings | dict(configuration.settings)


def _migration(
    context: Context,
    cluster: Cluster,
    task: TaskDefinition,
    placement: VpcPlacement,
    database: pulumi.Resource,
) -> Migration:
    return Migration(
        "payment-migration-run",
        MigrationTask(
            region=context.aws_environment.region,
            cluster=cluster.cluster.arn,
            task_definition=task.definition.arn,
            subnets=placement.subnet_ids,
            groups=[placement.security_group.id],
            log_group=cluster.logs.name,
        ),
        pulumi.ResourceOptions(parent=cluster, depends_on=[cluster.capacity_providers, database]),
    )
