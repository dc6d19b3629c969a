"""The Pulumi program of lambda-postgres: all its resources."""

from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

from remit_infra.build.lambda_package import DATABASE_CA
from remit_infra.components.compute.functions import (
    Function,
    FunctionCode,
    make_releases,
    run_migration,
)
from remit_infra.components.context import AwsEnvironment, Context
from remit_infra.components.data.buckets import Buckets
from remit_infra.components.data.rds import RdsDatabase
from remit_infra.components.data.topics import Topics
from remit_infra.components.gateway.load_balancer import LoadBalancer, route_to_functions
from remit_infra.components.gateway.rest_api import RequestLimits, RestApi
from remit_infra.components.gateway.web_firewall import WebFirewall
from remit_infra.components.kms_keys import KmsKeys
from remit_infra.components.monitoring import make_alarms, make_dashboard
from remit_infra.components.network.nat import NatNetwork
from remit_infra.components.network.network import (
    ANYWHERE,
    HTTP,
    HTTPS,
    VpcPlacement,
    allow_traffic,
)
from remit_infra.components.roles import RolePermissions, make_roles
from remit_infra.components.schedules import schedule_function
from remit_infra.components.storage import Storage
from remit_infra.components.tags import tag_resources
from remit_infra.model.alarm import ResourceAlarm, monitored_metrics
from remit_infra.model.alarms import resource_alarms
from remit_infra.model.environments import Names
from remit_infra.model.permissions import LAMBDA_POSTGRES
from remit_infra.model.service_env import service_environment
from remit_infra.topologies.lambda_postgres.configuration import (
    AUDIT_DAYS,
    BURST,
    FUNCTIONS,
    KMS_VIA_SERVICES,
    LOG_RETENTION_DAYS,
    REQUESTS_PER_ADDRESS,
    REQUESTS_PER_DAY,
    REQUESTS_PER_SECOND,
    SCHEDULES,
    LambdaPostgresConfiguration,
)
from remit_infra.topologies.lambda_postgres.monitoring import (
    graphs_of,
    rollback_alarms,
    scopes_of,
)

OPERATOR = "payment-operator"


def build(
    configuration: LambdaPostgresConfiguration, aws_environment: AwsEnvironment
) -> dict[str, pulumi.Output[str]]:
    """Makes all resources and returns the stack's outputs."""
    names = configuration.names
    scopes = scopes_of(names)
    alarms = tuple(resource_alarms(scopes))
    tag_resources(names, migration_date=configuration.migration_date)
    roles = make_roles(
        names, [function.name for function in FUNCTIONS], service="lambda.amazonaws.com"
    )
    keys = KmsKeys(names, aws_environment, roles=roles, via_services=KMS_VIA_SERVICES)
    context = Context(
        names=names,
        aws_environment=aws_environment,
        key=keys.data,
        log_retention_days=LOG_RETENTION_DAYS,
    )
    network = NatNetwork(context, cidr=configuration.vpc_cidr)
    placement = _function_placement(network, configuration)
    storage = Storage(
        keys=keys,
        topics=Topics(context, alarm_email=configuration.alarm_email),
        buckets=Buckets(context, audit_days=AUDIT_DAYS, object_lock=configuration.object_lock),
        database=RdsDatabase(
            context,
            network,
            clients=placement.security_group,
            version=configuration.postgres_version,
        ),
    )
    environments = _function_environments(configuration, storage, alarms)
    permissions = _function_permissions(roles, storage)
    functions = {
        spec.name: Function(
            context,
            spec,
            _function_code(configuration),
            permissions=permissions[spec.name],
            environment=environments[spec.name],
            placement=placement,
        )
        for spec in FUNCTIONS
    }
    aliases = _aliases(names, functions)
    api, balancer, target_groups = _gateway(
        context, configuration, network, storage.buckets, aliases
    )
    identifiers = {
        "<load balancer>": balancer.balancer.arn_suffix,
        **{f"<target {module}>": group.arn_suffix for module, group in target_groups.items()},
        **{f"<nat {number}>": nat.id for number, nat in enumerate(network.nat_gateways, 1)},
    }
    make_alarms(names, alarms, storage.topics.alarms, identifiers)
    make_dashboard(names, aws_environment.region, graphs_of(scopes), identifiers)
    make_releases(names, aliases, {name: rollback_alarms(names, alarms, name) for name in aliases})
    return {
        "vpc_id": network.vpc.id,
        "rds_endpoint": storage.database.endpoint,
        "lambda_function_name": functions["payment-validator"].function.name,
        "api_gateway_url": api.stage.invoke_url,
        "alb_dns_name": balancer.balancer.dns_name,
        "audit_bucket_name": storage.buckets.audit.bucket,
        "kms_key_id": keys.data.key_id,
    }


def _function_placement(
    network: NatNetwork, configuration: LambdaPostgresConfiguration
) -> VpcPlacement:
    """The private subnets and the functions' security group, with its ways to AWS."""
    group = network.security_group(
        "payment-functions-sg", "Functions: HTTPS to AWS, and the database"
    )
    allow_traffic("payment-functions-https", source=group, target=ANYWHERE, port=HTTPS)
    network.interface_endpoints(configuration.interface_endpoints, group)
    return VpcPlacement(subnets=network.private, security_group=group)


def _function_code(configuration: LambdaPostgresConfiguration) -> FunctionCode:
    return FunctionCode(
        path=configuration.code_path,
        python=configuration.python,
        architecture=configuration.architecture,
    )


def _function_permissions(
    roles: Mapping[str, aws.iam.Role], storage: Storage
) -> dict[str, RolePermissions]:
    resources = storage.resources()
    return {
        name: RolePermissions(role=roles[name], statements=statements, resources=resources)
        for name, statements in LAMBDA_POSTGRES.items()
    }


def _function_environments(
    configuration: LambdaPostgresConfiguration,
    storage: Storage,
    alarms: tuple[ResourceAlarm, ...],
) -> dict[str, dict[str, pulumi.Input[str]]]:
    """The environment variables of each function: the service's settings. Only the health monitor
    has the metrics that it evaluates.
    """
    settings = {**storage.settings(database_ca=DATABASE_CA), **configuration.settings}
    health = {**settings, "monitored_metrics": monitored_metrics(alarms)}
    return {
        function.name: service_environment(health if function.module == "health" else settings)
        for function in FUNCTIONS
    }


def _aliases(names: Names, functions: Mapping[str, Function]) -> dict[str, aws.lambda_.Alias]:
    """The aliases of all functions but the operators', once the database is migrated, and the
    schedules that invoke them.
    """
    migration = run_migration(functions[OPERATOR])
    aliases = {
        name: function.publish([migration])
        for name, function in functions.items()
        if name != OPERATOR
    }
    for schedule in SCHEDULES:
        schedule_function(
            names,
            schedule.rule,
            aliases[schedule.function],
            rate=schedule.rate,
            job=schedule.job,
        )
    return aliases


def _gateway(
    context: Context,
    configuration: LambdaPostgresConfiguration,
    network: NatNetwork,
    buckets: Buckets,
    aliases: Mapping[str, aws.lambda_.Alias],
) -> tuple[RestApi, LoadBalancer, dict[str, aws.lb.TargetGroup]]:
    """API Gateway and the load balancer, with the web firewall before both."""
    handlers = {
        function.module: aliases[function.name]
        for function in FUNCTIONS
        if function.answers_requests
    }
    api = RestApi(
        context,
        functions=handlers,
        limits=RequestLimits(per_second=REQUESTS_PER_SECOND, burst=BURST, per_day=REQUESTS_PER_DAY),
    )
    group = network.security_group("payment-alb-sg", "Load balancer: callers from the internet")
    for port in (HTTPS, HTTP):
        allow_traffic(f"payment-alb-{port}", source=ANYWHERE, target=group, port=port)
    balancer = LoadBalancer(
        context,
        placement=VpcPlacement(subnets=network.public, security_group=group),
        certificate_arn=configuration.certificate_arn,
        buckets=buckets,
    )
    target_groups = route_to_functions(context, balancer, handlers)
    WebFirewall(
        context,
        protected={"api": api.stage.arn, "alb": balancer.balancer.arn},
        requests_per_address=REQUESTS_PER_ADDRESS,
    )
    return api, balancer, target_groups
