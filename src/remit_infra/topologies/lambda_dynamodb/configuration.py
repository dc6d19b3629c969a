"""The options of lambda-dynamodb, its functions and schedules."""

from collections.abc import Mapping

import msgspec

from remit_infra.build.lambda_package import ARCHITECTURE, PYTHON
from remit_infra.model.compute import JOB_SECONDS, FunctionSpec, JobSchedule
from remit_infra.model.environments import MIGRATION_DATE, Names, require_date
from remit_infra.topologies.lambda_dynamodb import STACK_NAME

KMS_VIA_SERVICES = ("dynamodb", "lambda", "s3", "sns", "sqs")
"""The services through which functions use the key for data at rest."""

FUNCTIONS = (
    FunctionSpec("payment-validation", "validation"),
    FunctionSpec("payment-processing", "processing"),
    FunctionSpec("payment-delivery", "delivery", JOB_SECONDS),
    FunctionSpec("health-monitor", "health"),
)

SCHEDULES = (
    JobSchedule("payment-delivery-tick", "payment-delivery", "1 minute", "tick"),
    JobSchedule("payment-delivery-reconcile", "payment-delivery", "1 day", "reconcile"),
    JobSchedule("payment-health-monitor", "health-monitor", "1 minute", "watch"),
)

LONGEST_NAMES = (
    ("stack", STACK_NAME),
    *((kind, function.name) for kind in ("function", "role") for function in FUNCTIONS),
    *(("rule", schedule.rule) for schedule in SCHEDULES),
    ("queue", "failed-transactions-dlq"),
    ("topic", "payment-notifications"),
    ("table", "transactions"),
    ("api", "payment-api"),
    ("web acl", "payment-api"),
    ("dashboard", "payment-dashboard"),
)
"""Of each kind, at least the longest name in the topology."""


class LambdaDynamodbConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the stack. `settings` are further settings of the service, by field.

    Creating one raises ConfigurationError for what cannot be deployed.
    """

    suffix: str = "dev"
    migration_date: str = MIGRATION_DATE
    alarm_email: str | None = None
    settings: Mapping[str, str] = {}
    architecture: str = ARCHITECTURE
    python: str = PYTHON

    @property
    def names(self) -> Names:
        return Names(self.suffix)

    def __post_init__(self) -> None:
        names = self.names
        names.require(LONGEST_NAMES)
        names.bucket("payment-audit-logs", "", "")
        require_date(self.migration_date)
