"""What can be configured, and what is fixed: tasks, schedules, limits, names."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from remit_infra.model.environments import (
    MIGRATION_DATE,
    ConfigurationError,
    Environment,
    Names,
    require_date,
    require_network,
)

TOPOLOGY, PROJECT = "fargate-aurora", "payment-processing"
REQUESTS_PER_ADDRESS = 100_000
"""In five minutes: a merchant's server is one address. The service limits each key by itself."""

THROUGH = ("ecr", "s3", "secretsmanager", "sns", "sqs")
"""The services through which tasks use the key for data at rest."""

SENDERS = ("cloudwatch", "events")
TASKS = ("payment-api", "payment-worker", "payment-migration")
CPU_UNITS, MEMORY_MIB = 256, 512
DRAIN_SECONDS = 10
"""How long a task that is told to stop goes on answering: until the load balancer has heard."""

DEREGISTRATION_SECONDS = 30
"""Longer than any request takes: the service gives a processor ten seconds to answer."""

HEALTH_SECONDS = 30
TRACED = 0.05
PROVE_EVERY = "1 day"

NAMES = (
    *(("role", task) for task in (*TASKS, "payment-execution", "payment-db-monitoring")),
    ("cache", "payment-cache"),
    ("cache user", "payment-nobody"),
    ("cluster", "payment-cluster"),
    ("dashboard", "payment-dashboard"),
    ("database", "payment-db-reader-15"),
    ("load balancer", "payment-alb"),
    ("queue", "payment-queue"),
    ("repository", "payment-service"),
    ("rule", "payment-reconcile"),
    ("service", "payment-service"),
    ("target group", "payment-tg"),
    ("task", "payment-migration-task"),
    ("topic", "payment-notifications"),
    ("web acl", "payment-waf"),
)
"""The longest name of each kind."""

Few = Annotated[int, msgspec.Meta(ge=0, le=15)]
"""Aurora has fifteen readers at most."""

Target = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(gt=0, le=100)]
Tasks = Annotated[int, msgspec.Meta(ge=1, le=1_000)]


class FargateAuroraConfiguration(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """What a stack's configuration file says; there the names are in camel case."""

    environment_suffix: str
    environment: Literal["dev", "staging", "prod"]
    aws_region: str = "us-east-1"
    migration_date: str = MIGRATION_DATE
    vpc_cidr: str = "10.0.0.0/16"
    enable_multi_az: bool = msgspec.field(default=False, name="enableMultiAZ")
    image: str | None = None
    architecture: Literal["arm64", "x86_64"] = "arm64"
    certificate_arn: str | None = None
    domain_name: str | None = None
    hosted_zone_id: str | None = None
    allow_http: bool = False
    alarm_email: str | None = None
    nat_gateways: Annotated[int, msgspec.Meta(ge=0, le=3)] = 0
    reader_count: Few | None = None
    object_lock: bool = False
    postgres_version: str = "16.8"
    min_tasks: Tasks | None = None
    max_tasks: Tasks | None = None
    cpu_target: Share = 70
    requests_target: Target = 6_000
    queue_depth_target: Target = 100
    thresholds: Mapping[str, float] = {}
    settings: Mapping[str, str] = {}

    @property
    def zones(self) -> int:
        """How many subnets each tier has."""
        return 3 if self.enable_multi_az else 2

    @property
    def readers(self) -> int:
        return int(self.enable_multi_az) if self.reader_count is None else self.reader_count

    def tasks_of(self, least_and_most: tuple[int, int]) -> tuple[int, int]:
        """The environment's, unless configuration says otherwise."""
        least, most = least_and_most
        return self.min_tasks or least, self.max_tasks or most


def check_configuration(configuration: FargateAuroraConfiguration) -> Names:
    """The names of the stack. Raises Refused for what cannot be built, before anything is."""
    names = Names(configuration.environment_suffix)
    names.require(NAMES)
    names.bucket("payment-access-logs", "", "")
    require_date(configuration.migration_date)
    require_network(configuration.vpc_cidr)
    environment = names.environment
    if configuration.environment != environment.name:
        raise ConfigurationError(
            f"environment is {configuration.environment}, and the suffix "
            f"'{names.suffix}' is one of {environment.name}: they must agree."
        )
    _require_tls(configuration, environment)
    if (configuration.domain_name is None) != (configuration.hosted_zone_id is None):
        raise ConfigurationError("domainName and hostedZoneId belong together: set both or none.")
    for least, most in (
        configuration.tasks_of(environment.fargate.api_tasks),
        configuration.tasks_of(environment.fargate.worker_tasks),
    ):
        if least > most:
            raise ConfigurationError(f"minTasks is {least}, which is more than maxTasks, {most}.")
    if configuration.nat_gateways > configuration.zones:
        raise ConfigurationError(
            f"natGateways is {configuration.nat_gateways}, and there are {configuration.zones} "
            "zones."
        )
    if not re.fullmatch(r"\d{2}\.\d{1,2}", configuration.postgres_version):
        raise ConfigurationError(
            f"postgresVersion is '{configuration.postgres_version}' and must be one of Aurora's, "
            "such as 16.8."
        )
    return names


def _require_tls(configuration: FargateAuroraConfiguration, environment: Environment) -> None:
    if configuration.certificate_arn is not None:
        return
    if not environment.allows_http:
        raise ConfigurationError(
            f"{environment.name} speaks HTTPS only: set certificateArn to a certificate in "
            "AWS Certificate Manager."
        )
    if not configuration.allow_http:
        raise ConfigurationError(
            "Set certificateArn, or allowHttp to true for a stack without TLS."
        )
