"""The program: every resource of the topology, part by part."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from remit_infra.build.lambda_package import DATABASE_CA
from remit_infra.components.compute.functions import (
    Code,
    Function,
    Spec,
    make_releases,
    migrate,
)
from remit_infra.components.context import Ground, Place
from remit_infra.components.data.buckets import Buckets
from remit_infra.components.data.database import Database
from remit_infra.components.data.topics import Topics
from remit_infra.components.edge.api import Api
from remit_infra.components.edge.balancer import Balancer, route_to_functions
from remit_infra.components.edge.firewall import Firewall
from remit_infra.components.kms_keys import Keys
from remit_infra.components.monitoring import make_alarms, make_dashboard
from remit_infra.components.network.nat import NatNetwork
from remit_infra.components.network.network import ANYWHERE, HTTP, HTTPS, allow
from remit_infra.components.roles import make_roles
from remit_infra.components.schedules import schedule
from remit_infra.components.storage import Storage
from remit_infra.components.tagging import tag_everything
from remit_infra.model.alarms import monitored_metrics, resource_alarms
from remit_infra.model.environments import common_tags
from remit_infra.model.permissions import LAMBDA_POSTGRES
from remit_infra.model.service_env import service_environment
from remit_infra.topologies.lambda_postgres.configuration import (
    BURST,
    JOBS,
    LOG_DAYS,
    MEMORY_MIB,
    MODULES,
    REQUESTS_PER_ADDRESS,
    REQUESTS_PER_DAY,
    REQUESTS_PER_SECOND,
    SCHEDULES,
    THROUGH,
    LambdaPostgresConfiguration,
    check_configuration,
)
from remit_infra.topologies.lambda_postgres.monitoring import alarms_of, graphs_of, scopes_of


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What the stack tells of itself."""

    vpc_id: pulumi.Output[str]
    rds_endpoint: pulumi.Output[str]
    lambda_function_name: pulumi.Output[str]
    api_gateway_url: pulumi.Output[str]
    alb_dns_name: pulumi.Output[str]
    audit_bucket_name: pulumi.Output[str]
    kms_key_id: pulumi.Output[str]


def build(configuration: LambdaPostgresConfiguration, place: Place) -> Outputs:
    """Every resource of the topology. Raises Refused before the first for what cannot be built."""
    names = check_configuration(configuration)
    common = common_tags(
        names.environment, migration_date=configuration.migration_date, managed_by="pulumi"
    )
    tag_everything(common, names.suffix)
    roles = make_roles(names, MODULES, service="lambda.amazonaws.com")
    keys = Keys(names, place, users=roles, through=THROUGH)
    ground = Ground(names=names, place=place, key=keys.data, log_days=LOG_DAYS)
    network = NatNetwork(ground, cidr=configuration.vpc_cidr)
    inside = network.group("payment-functions-sg", "Functions: HTTPS to AWS, and the database")
    allow("payment-functions-https", source=inside, to=ANYWHERE, port=HTTPS)
    network.interface_endpoints(configuration.interface_endpoints, inside)
    storage = Storage(
        keys=keys,
        topics=Topics(ground, alarm_email=configuration.alarm_email),
        buckets=Buckets(ground, object_lock=configuration.object_lock),
        database=Database(
            ground,
            network,
            clients=inside,
            version=configuration.postgres_version,
            size=names.environment.rds,
        ),
    )
    scopes = scopes_of(names)
    alarms = tuple(resource_alarms(scopes))
    functions = _functions(
        ground,
        configuration,
        storage,
        roles,
        monitored_metrics=monitored_metrics(alarms),
        subnets=network.private,
        group=inside,
    )
    migrated = migrate(functions["payment-operator"])
    aliases = {
        name: function.publish([migrated])
        for name, function in functions.items()
        if name != "payment-operator"
    }
    for rule, name, every, job in SCHEDULES:
        schedule(names, rule, aliases[name], every=every, job=job)
    api, balancer, targets = _edge(ground, configuration, network, storage.buckets, aliases)
    known = {
        "<load balancer>": balancer.balancer.arn_suffix,
        **{f"<target {module}>": target.arn_suffix for module, target in targets.items()},
        **{f"<nat {number}>": nat.id for number, nat in enumerate(network.nats, 1)},
    }
    make_alarms(names, alarms, storage.topics.alarms, known)
    make_dashboard(names, place.region, graphs_of(scopes), known)
    make_releases(names, aliases, {name: alarms_of(names, alarms, name) for name in aliases})
    return Outputs(
        vpc_id=network.vpc.id,
        rds_endpoint=storage.database.endpoint,
        lambda_function_name=functions["payment-validator"].function.name,
        api_gateway_url=api.stage.invoke_url,
        alb_dns_name=balancer.balancer.dns_name,
        audit_bucket_name=storage.buckets.audit.bucket,
        kms_key_id=keys.data.key_id,
    )


def _functions(
    ground: Ground,
    configuration: LambdaPostgresConfiguration,
    storage: Storage,
    roles: Mapping[str, aws.iam.Role],
    *,
    monitored_metrics: str,
    subnets: list[aws.ec2.Subnet],
    group: aws.ec2.SecurityGroup,
) -> dict[str, Function]:
    code = Code(
        path=configuration.code_path,
        python=configuration.python,
        architecture=configuration.architecture,
    )
    resources = storage.resources()
    told = storage.settings(database_ca=DATABASE_CA)
    environment = service_environment({**told, **configuration.settings})
    watching = service_environment({"monitored_metrics": monitored_metrics})
    requests = ground.names.environment.rds.requests
    return {
        name: Function(
            ground,
            Spec(
                name=name,
                module=module,
                timeout_seconds=seconds,
                memory_mib=MEMORY_MIB,
                concurrency=JOBS.get(name, requests),
            ),
            code=code,
            role=roles[name],
            statements=LAMBDA_POSTGRES[name],
            resources=resources,
            environment=environment | (watching if name == "health-monitor" else {}),
            subnets=subnets,
            group=group,
        )
        for name, (module, seconds) in MODULES.items()
    }


def _edge(
    ground: Ground,
    configuration: LambdaPostgresConfiguration,
    network: NatNetwork,
    buckets: Buckets,
    aliases: Mapping[str, aws.lambda_.Alias],
) -> tuple[Api, Balancer, dict[str, aws.lb.TargetGroup]]:
    """The two ways in, and the firewall before both."""
    answering = {
        MODULES[name][0]: aliases[name]
        for name in ("payment-validator", "payment-processing", "health-monitor")
    }
    api = Api(
        ground,
        functions=answering,
        requests_per_second=REQUESTS_PER_SECOND,
        burst=BURST,
        requests_per_day=REQUESTS_PER_DAY,
    )
    outside = network.group("payment-alb-sg", "Load balancer: callers from the internet")
    for port in (HTTPS, HTTP):
        allow(f"payment-alb-{port}", to=outside, source=ANYWHERE, port=port)
    balancer = Balancer(
        ground,
        subnets=network.public,
        group=outside,
        certificate_arn=configuration.certificate_arn,
        buckets=buckets,
    )
    targets = route_to_functions(ground, balancer, answering)
    Firewall(
        ground,
        protected={"api": api.stage.arn, "alb": balancer.balancer.arn},
        requests_per_address=REQUESTS_PER_ADDRESS,
    )
    return api, balancer, targets
