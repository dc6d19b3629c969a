"""The configuration of lambda-postgres, its functions and schedules, and its fixed limits."""

from remit_infra.build.lambda_package import ARCHITECTURE, PYTHON
from remit_infra.model.compute import JOB_SECONDS, FunctionSpec, JobSchedule
from remit_infra.model.stack_config import StackConfiguration

TOPOLOGY, PROJECT = "lambda-postgres", "payment-processing-staging"
LOG_RETENTION_DAYS = 30
AUDIT_DAYS = 90
"""As short as the requirement for this topology asks. PCI DSS wants twelve months: copy the bucket,
or raise this, where that applies.
"""

REQUESTS_PER_SECOND, BURST, REQUESTS_PER_DAY = 50, 100, 10_000
REQUESTS_PER_ADDRESS = REQUESTS_PER_SECOND * 300
"""In five minutes. A merchant's server is one address, which may use the whole rate of the API."""

ZONES = 3
KMS_VIA_SERVICES = ("lambda", "s3", "secretsmanager", "sns")
"""The services through which functions use the key for data at rest."""

FUNCTIONS = (
    FunctionSpec("payment-validator", "validation"),
    FunctionSpec("payment-processing", "processing"),
    FunctionSpec("payment-delivery", "delivery", JOB_SECONDS),
    FunctionSpec("health-monitor", "health"),
    FunctionSpec("payment-operator", "operator", JOB_SECONDS),
)

SCHEDULES = (
    JobSchedule("payment-delivery-work", "payment-delivery", "1 minute", "work"),
    JobSchedule("payment-delivery-reconcile", "payment-delivery", "1 day", "reconcile"),
    JobSchedule("payment-health-monitor", "health-monitor", "1 minute", "watch"),
)

LONGEST_NAMES = (
    *((kind, function.name) for kind in ("function", "role") for function in FUNCTIONS),
    *(("rule", schedule.rule) for schedule in SCHEDULES),
    ("api", "payment-api"),
    ("dashboard", "payment-dashboard"),
    ("database", "payment-db"),
    ("load balancer", "payment-alb"),
    ("role", "payment-db-monitoring"),
    ("target group", "payment-tg-proc"),
    ("topic", "payment-notifications"),
    ("web acl", "payment-waf"),
)


class LambdaPostgresConfiguration(StackConfiguration, frozen=True, kw_only=True):
    """Further keys of this topology. In the file, names are in camel case."""

    longest_names = LONGEST_NAMES

    interface_endpoints: tuple[str, ...] = ()
    postgres_version: str = "14"
    code_path: str = "dist/function.zip"
    python: str = PYTHON
    architecture: str = ARCHITECTURE
