"""What can be configured, and what is fixed: functions, schedules, limits, names."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from remit_infra.build.lambda_package import ARCHITECTURE, PYTHON
from remit_infra.model.environments import (
    MIGRATION_DATE,
    ConfigurationError,
    Names,
    require_date,
    require_network,
)

TOPOLOGY, PROJECT = "lambda-postgres", "payment-processing-staging"
LOG_DAYS = 30
REQUESTS_PER_SECOND, BURST, REQUESTS_PER_DAY = 50, 100, 10_000
REQUESTS_PER_ADDRESS = REQUESTS_PER_SECOND * 300
"""In five minutes: one caller may use all of the API's rate, for a merchant's server is one."""

REQUEST_SECONDS, JOB_SECONDS = 28, 900
MEMORY_MIB = 1_024
ZONES = 3
THROUGH = ("lambda", "s3", "secretsmanager", "sns")
"""The services through which functions use the key for data at rest."""

MODULES: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "payment-validator": ("validation", REQUEST_SECONDS),
        "payment-processing": ("processing", REQUEST_SECONDS),
        "payment-delivery": ("delivery", JOB_SECONDS),
        "health-monitor": ("health", REQUEST_SECONDS),
        "payment-operator": ("operator", JOB_SECONDS),
    }
)
"""Each function by its module and its timeout: for requests below API Gateway's 29 seconds."""

SCHEDULES = (
    ("payment-delivery-work", "payment-delivery", "1 minute", "work"),
    ("payment-delivery-reconcile", "payment-delivery", "1 day", "reconcile"),
    ("payment-health-monitor", "health-monitor", "1 minute", "watch"),
)
"""Rule, function, how often, and the job."""

JOBS: Mapping[str, int] = MappingProxyType(
    {"payment-delivery": 2, "health-monitor": 2, "payment-operator": 1}
)
"""How many of those that answer no callers may run at once; the others as the database allows."""

NAMES = (
    *((kind, function) for kind in ("function", "role") for function in MODULES),
    *(("rule", rule) for rule, *_ in SCHEDULES),
    ("api", "payment-api"),
    ("dashboard", "payment-dashboard"),
    ("database", "payment-db"),
    ("load balancer", "payment-alb"),
    ("role", "payment-db-monitoring"),
    ("target group", "payment-tg-proc"),
    ("topic", "payment-notifications"),
    ("web acl", "payment-waf"),
)
"""The longest name of each kind."""


class LambdaPostgresConfiguration(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """What a stack's configuration file says; there the names are in camel case."""

    environment_suffix: str
    aws_region: str = "us-east-1"
    migration_date: str = MIGRATION_DATE
    vpc_cidr: str = "10.0.0.0/16"
    certificate_arn: str | None = None
    allow_http: bool = False
    alarm_email: str | None = None
    interface_endpoints: tuple[str, ...] = ()
    object_lock: bool = False
    postgres_version: str = "14"
    code_path: str = "dist/function.zip"
    python: str = PYTHON
    architecture: str = ARCHITECTURE
    settings: dict[str, str] = {}


def check_configuration(configuration: LambdaPostgresConfiguration) -> Names:
    """The names of the stack. Raises Refused for what cannot be built, before anything is."""
    names = Names(configuration.environment_suffix)
    names.require(NAMES)
    names.bucket("payment-access-logs", "", "")
    require_date(configuration.migration_date)
    environment = names.environment
    require_network(configuration.vpc_cidr)
    if configuration.certificate_arn is None:
        if not environment.allows_http:
            raise ConfigurationError(
                f"{environment.name} speaks HTTPS only: set certificateArn to a certificate in "
                "AWS Certificate Manager."
            )
        if not configuration.allow_http:
            raise ConfigurationError(
                "Set certificateArn, or allowHttp to true for a stack without TLS."
            )
    return names
