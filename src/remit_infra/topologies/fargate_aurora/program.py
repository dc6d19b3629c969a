"""The program: every resource of the topology, part by part."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from remit_infra.build.container_image import DATABASE_CA_IN_IMAGE
from remit_infra.components.compute.containers import (
    PORT,
    STOP_SECONDS,
    Cluster,
    Command,
    Image,
    Task,
)
from remit_infra.components.compute.migration import Migration
from remit_infra.components.compute.repository import make_repository
from remit_infra.components.context import Ground, Place
from remit_infra.components.data.aurora import Aurora
from remit_infra.components.data.buckets import Buckets
from remit_infra.components.data.cache import Cache
from remit_infra.components.data.queues import VISIBILITY_SECONDS, Queues
from remit_infra.components.data.topics import Topics
from remit_infra.components.kms_keys import Keys
from remit_infra.components.monitoring import make_alarms, make_dashboard
from remit_infra.components.network.egress import EgressOnlyNetwork
from remit_infra.components.network.network import ANYWHERE_IPV6, HTTPS, allow
from remit_infra.components.roles import make_roles
from remit_infra.components.schedules import schedule_message
from remit_infra.components.storage import Storage
from remit_infra.components.tagging import tag_everything
from remit_infra.model.alarms import monitored_metrics, resource_alarms, with_thresholds
from remit_infra.model.environments import ConfigurationError, Names, common_tags
from remit_infra.model.permissions import FARGATE_AURORA
from remit_infra.model.service_env import service_environment
from remit_infra.topologies.fargate_aurora.configuration import (
    CPU_UNITS,
    DRAIN_SECONDS,
    MEMORY_MIB,
    PROVE_EVERY,
    SENDERS,
    TASKS,
    THROUGH,
    TRACED,
    FargateAuroraConfiguration,
    check_configuration,
)
from remit_infra.topologies.fargate_aurora.monitoring import graphs_of, scopes_of
from remit_infra.topologies.fargate_aurora.services import make_edge, make_services

COMMANDS = {
    "payment-api": Command(
        name="payment-api", family="payment-task", argument="serve", serves=True
    ),
    "payment-worker": Command(name="payment-worker", family="payment-worker-task", argument="work"),
    "payment-migration": Command(
        name="payment-migration",
        family="payment-migration-task",
        argument="migrate",
        lasts=False,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What the stack tells of itself."""

    alb_dns_name: pulumi.Output[str]
    database_endpoint: pulumi.Output[str]
    cache_endpoint: pulumi.Output[str]
    payment_queue_url: pulumi.Output[str]
    vpc_id: pulumi.Output[str]
    cluster_name: pulumi.Output[str]
    service_name: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class TaskStorage(Storage):
    """With what several tasks share."""

    cache: Cache
    queues: Queues


def build(configuration: FargateAuroraConfiguration, place: Place) -> Outputs:
    """Every resource of the topology. Raises Refused before the first for what cannot be built."""
    names = check_configuration(configuration)
    scopes = scopes_of(names)
    alarms = with_thresholds(resource_alarms(scopes), configuration.thresholds)
    foundation = found(configuration, place, names)
    ground, roles = foundation.ground, foundation.roles
    network = EgressOnlyNetwork(
        ground,
        cidr=configuration.vpc_cidr,
        port=PORT,
        nat_gateways=configuration.nat_gateways,
    )
    inside = network.group("payment-app-sg", "Tasks: HTTPS to AWS, database, cache")
    allow("payment-app-https", source=inside, to=ANYWHERE_IPV6, port=HTTPS)
    storage = _storage(ground, configuration, network, foundation.keys, inside)
    cluster = Cluster(ground, repository=foundation.repository)
    tasks = _tasks(ground, configuration, cluster, storage, roles, monitored_metrics(alarms))
    migration = Migration(
        "payment-migration-run",
        region=place.region,
        cluster=cluster.cluster.arn,
        task_definition=tasks["payment-migration"].definition.arn,
        subnets=[subnet.id for subnet in network.tasks],
        groups=[inside.id],
        log_group=cluster.logs.name,
        opts=pulumi.ResourceOptions(
            depends_on=[cluster.capacity, storage.database], parent=cluster
        ),
    )
    balancer, target = make_edge(ground, configuration, network, storage.buckets, inside)
    known = {
        "<load balancer>": balancer.balancer.arn_suffix,
        "<target>": target.arn_suffix,
    }
    watching = make_alarms(names, alarms, storage.topics.alarms, known)
    api, _ = make_services(
        configuration,
        ground,
        cluster,
        tasks,
        network,
        storage.queues,
        (balancer, target),
        group=inside,
        # Before any new task: the database migrated, and the alarms that take a deployment back.
        ready=[migration, balancer.listener, *watching],
    )
    schedule_message(
        names,
        "payment-reconcile",
        storage.queues.work,
        every=PROVE_EVERY,
        kind="reconcile",
        ready=storage.queues.policy,
    )
    make_dashboard(names, place.region, graphs_of(scopes), known)
    return Outputs(
        alb_dns_name=balancer.balancer.dns_name,
        database_endpoint=storage.database.endpoint,
        cache_endpoint=storage.cache.endpoint,
        payment_queue_url=storage.queues.work.url,
        vpc_id=network.vpc.id,
        cluster_name=cluster.cluster.name,
        service_name=api.service.name,
    )


@dataclass(frozen=True, kw_only=True)
class Foundation:
    """What must be there before an image can be."""

    ground: Ground
    roles: Mapping[str, aws.iam.Role]
    keys: Keys
    repository: aws.ecr.Repository


def found(configuration: FargateAuroraConfiguration, place: Place, names: Names) -> Foundation:
    """Tags, roles, keys and the repository: the first deployment makes them by themselves."""
    common = common_tags(
        names.environment, migration_date=configuration.migration_date, managed_by="pulumi"
    )
    tag_everything(common, names.suffix)
    roles = make_roles(names, TASKS, service="ecs-tasks.amazonaws.com", account=place.account)
    keys = Keys(names, place, users=roles, through=THROUGH, senders=SENDERS)
    ground = Ground(
        names=names, place=place, key=keys.data, log_days=names.environment.log_retention_days
    )
    return Foundation(ground=ground, roles=roles, keys=keys, repository=make_repository(ground))


def _storage(
    ground: Ground,
    configuration: FargateAuroraConfiguration,
    network: EgressOnlyNetwork,
    keys: Keys,
    inside: aws.ec2.SecurityGroup,
) -> TaskStorage:
    size = ground.names.environment.fargate
    return TaskStorage(
        keys=keys,
        topics=Topics(ground, alarm_email=configuration.alarm_email),
        buckets=Buckets(ground, object_lock=configuration.object_lock),
        queues=Queues(ground),
        database=Aurora(
            ground,
            network,
            clients=inside,
            version=configuration.postgres_version,
            size=size,
            readers=configuration.readers,
        ),
        cache=Cache(
            ground,
            network,
            clients=inside,
            node=size.cache_node,
            replicas=int(configuration.enable_multi_az),
        ),
    )


def _tasks(
    ground: Ground,
    configuration: FargateAuroraConfiguration,
    cluster: Cluster,
    storage: TaskStorage,
    roles: Mapping[str, aws.iam.Role],
    monitored_metrics: str,
) -> dict[str, Task]:
    if configuration.image is None:
        raise ConfigurationError(
            "Set image to what the tasks run: `remit image --push` builds it and prints it."
        )
    image = Image(uri=configuration.image, architecture=configuration.architecture)
    resources = _resources(storage)
    settings = _settings(ground.names, storage) | dict(configuration.settings)
    told: dict[str, Mapping[str, pulumi.Input[str]]] = {
        "payment-api": {"host": "::", "port": str(PORT), "drain_seconds": str(DRAIN_SECONDS)},
        "payment-worker": {
            "host": "127.0.0.1",
            "work_visibility_seconds": str(VISIBILITY_SECONDS),
            "worker_port": str(PORT),
            "monitored_metrics": monitored_metrics,
        },
    }
    return {
        name: Task(
            ground,
            cluster,
            command,
            image=image,
            role=roles[name],
            statements=FARGATE_AURORA[name],
            resources=resources,
            environment={
                # The names of AWS's services that have addresses of IPv6.
                "AWS_USE_DUALSTACK_ENDPOINT": "true",
                **service_environment({**settings, **told.get(name, {})}),
            },
            cpu_units=CPU_UNITS,
            memory_mib=MEMORY_MIB,
        )
        for name, command in COMMANDS.items()
    }


def _settings(names: Names, storage: TaskStorage) -> dict[str, pulumi.Input[str]]:
    environment = names.environment.fargate
    told: dict[str, pulumi.Input[str]] = {
        **storage.settings(database_ca=DATABASE_CA_IN_IMAGE),
        "work_queue_url": storage.queues.work.url,
        "work_dead_letter_url": storage.queues.dead.url,
        "cache_endpoint": storage.cache.endpoint,
        "cache_name": storage.cache.name,
        "cache_user": storage.cache.user.user_id,
        "service_name": f"payment-{names.suffix}",
        "stop_seconds": str(STOP_SECONDS - 10),
        "trace_ratio": str(TRACED),
    }
    if environment.pause_after_seconds is not None:
        told["idle_after_seconds"] = str(environment.pause_after_seconds)
    return told


def _resources(storage: TaskStorage) -> dict[str, pulumi.Input[str]]:
    return {
        **storage.resources(),
        "cache": storage.cache.group.arn,
        "cache user": storage.cache.user.arn,
        "payment queue": storage.queues.work.arn,
        "dead letter queue": storage.queues.dead.arn,
    }
