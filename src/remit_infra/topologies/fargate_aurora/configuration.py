"""The configuration of fargate-aurora, its tasks, and its fixed limits."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from remit_infra.model.compute import TaskSpec
from remit_infra.model.environments import ConfigurationError, Environment, Names
from remit_infra.model.stack_config import StackConfiguration

TOPOLOGY, PROJECT = "fargate-aurora", "payment-processing"
REQUESTS_PER_ADDRESS = 100_000
"""In five minutes. A merchant's server is one address; the service limits each API key besides."""

KMS_VIA_SERVICES = ("ecr", "s3", "secretsmanager", "sns", "sqs")
"""The services through which tasks use the key for data at rest."""

KMS_SENDERS = ("cloudwatch", "events")
"""The services that put messages of their own into encrypted topics and queues."""

API = TaskSpec(name="payment-api", family="payment-task", command="serve", is_server=True)
WORKER = TaskSpec(name="payment-worker", family="payment-worker-task", command="work")
MIGRATION = TaskSpec(
    name="payment-migration",
    family="payment-migration-task",
    command="migrate",
    is_long_running=False,
)
TASKS = (API, WORKER, MIGRATION)

DRAIN_SECONDS = 10
"""How long a task still serves requests after SIGTERM, until the load balancer sends it no
more.
"""

DEREGISTRATION_SECONDS = 30
"""Longer than any request: the service waits ten seconds for a processor."""

HEALTH_SECONDS = 30
TRACE_RATIO = 0.05
RECONCILE_RATE = "1 day"

LONGEST_NAMES = (
    *(("role", task.name) for task in TASKS),
    ("role", "payment-execution"),
    ("role", "payment-db-monitoring"),
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

ReaderCount = Annotated[int, msgspec.Meta(ge=0, le=15)]
"""A cluster of Aurora has at most fifteen readers."""

TargetValue = Annotated[float, msgspec.Meta(gt=0)]
Percent = Annotated[float, msgspec.Meta(gt=0, le=100)]
TaskCount = Annotated[int, msgspec.Meta(ge=1, le=1_000)]


class FargateAuroraConfiguration(StackConfiguration, frozen=True, kw_only=True):
    """Further keys of this topology. In the file, names are in camel case."""

    longest_names = LONGEST_NAMES

    environment: Literal["dev", "staging", "prod"]
    enable_multi_az: bool = msgspec.field(default=False, name="enableMultiAZ")
    image: str | None = None
    architecture: Literal["arm64", "x86_64"] = "arm64"
    domain_name: str | None = None
    hosted_zone_id: str | None = None
    nat_gateways: Annotated[int, msgspec.Meta(ge=0, le=3)] = 0
    reader_count: ReaderCount | None = None
    postgres_version: str = "16.8"
    min_tasks: TaskCount | None = None
    max_tasks: TaskCount | None = None
    cpu_target: Percent = 70
    requests_target: TargetValue = 6_000
    queue_depth_target: TargetValue = 100
    thresholds: Mapping[str, float] = {}

    @property
    def zones(self) -> int:
        """The number of availability zones, and of subnets in each tier."""
        return 3 if self.enable_multi_az else 2

    @property
    def readers(self) -> int:
        return int(self.enable_multi_az) if self.reader_count is None else self.reader_count

    def task_range(self, default: tuple[int, int]) -> tuple[int, int]:
        """The minimum and maximum of a service's tasks: `default` is the environment's."""
        minimum, maximum = default
        return self.min_tasks or minimum, self.max_tasks or maximum

    def check(self, names: Names) -> None:
        environment = names.environment
        if self.environment != environment.name:
            raise ConfigurationError(
                f"environment is {self.environment}, and the suffix "
                f"'{names.suffix}' is one of {environment.name}: they must agree."
            )
        if (self.domain_name is None) != (self.hosted_zone_id is None):
            raise ConfigurationError(
                "domainName and hostedZoneId belong together: set both or none."
            )
        self._require_task_ranges(environment)
        if self.nat_gateways > self.zones:
            raise ConfigurationError(
                f"natGateways is {self.nat_gateways}, and there are {self.zones} zones."
            )
        if not re.fullmatch(r"\d{2}\.\d{1,2}", self.postgres_version):
            raise ConfigurationError(
                f"postgresVersion is '{self.postgres_version}' and must be one of Aurora's, "
                "such as 16.8."
            )

    def _require_task_ranges(self, environment: Environment) -> None:
        for default in (environment.fargate.api_tasks, environment.fargate.worker_tasks):
            minimum, maximum = self.task_range(default)
            if minimum > maximum:
                raise ConfigurationError(
                    f"minTasks is {minimum}, which is more than maxTasks, {maximum}."
                )
