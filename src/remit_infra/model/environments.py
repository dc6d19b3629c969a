"""Environments: their sizes, and the names and tags of their resources.

`ENVIRONMENTS` is the only table in which dev, staging and prod differ. All three topologies read
it, so nothing here imports Pulumi or the CDK.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from datetime import date
from types import MappingProxyType

import msgspec

PROJECT = "payment-processing"
MIGRATION_DATE = "2026-11-20"
"""The default of the `MigrationDate` tag. A fixed date keeps two previews of one program equal."""

AUDIT_DAYS = 400
"""How long the audit trail is kept: twelve months (PCI DSS 4.0.1, requirement 10.5.1), and a month
to look at the oldest of them.
"""

MAX_SUFFIX = 24


class ConfigurationError(Exception):
    """The configuration is wrong. The message names the value and what is allowed."""


class RdsSizes(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of lambda-postgres.

    `concurrency` is the reserved concurrency of each function, by its module in
    `remit.entrypoints.lambdas`. Each running copy of a function holds one connection to the
    database, so these numbers bound its connections.
    """

    instance_class: str
    storage_gib: int
    max_storage_gib: int
    concurrency: Mapping[str, int]


class FargateSizes(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of fargate-aurora. A pair is a minimum and a maximum.

    A capacity unit of Aurora is about 2 GiB of memory with its share of processor. With a minimum
    of 0 units, the database pauses after `pause_after_seconds` without a connection.
    """

    api_tasks: tuple[int, int]
    worker_tasks: tuple[int, int]
    is_spot: bool
    capacity_units: tuple[float, float]
    pause_after_seconds: int | None
    backup_days: int
    cache_node: str


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The values that differ between environments. `concurrency` is the reserved concurrency of
    each function of lambda-dynamodb, by its module in `remit.entrypoints.lambdas`.
    """

    name: str
    log_retention_days: int
    deletion_protection: bool
    allows_http: bool
    concurrency: Mapping[str, int]
    rds: RdsSizes
    fargate: FargateSizes


def _dynamodb_concurrency(requests: int) -> Mapping[str, int]:
    """Delivery has two copies, for the stream and for the schedule. Health has one, so that a
    change of state sends one alert.
    """
    return MappingProxyType(
        {"validation": requests, "processing": requests, "delivery": 2, "health": 1}
    )


def _rds_concurrency(requests: int) -> Mapping[str, int]:
    return MappingProxyType(
        {"validation": requests, "processing": requests, "delivery": 2, "health": 2, "operator": 1}
    )


ENVIRONMENTS: Mapping[str, Environment] = MappingProxyType(
    {
        "dev": Environment(
            name="dev",
            log_retention_days=7,
            deletion_protection=False,
            allows_http=True,
            concurrency=_dynamodb_concurrency(10),
            rds=RdsSizes(
                instance_class="db.t4g.micro",
                storage_gib=20,
                max_storage_gib=50,
                concurrency=_rds_concurrency(10),
            ),
            fargate=FargateSizes(
                api_tasks=(1, 10),
                worker_tasks=(1, 4),
                is_spot=True,
                capacity_units=(0, 2),
                pause_after_seconds=300,
                backup_days=1,
                cache_node="cache.t4g.micro",
            ),
        ),
        "staging": Environment(
            name="staging",
            log_retention_days=30,
            deletion_protection=False,
            allows_http=True,
            concurrency=_dynamodb_concurrency(50),
            rds=RdsSizes(
                instance_class="db.t4g.small",
                storage_gib=20,
                max_storage_gib=100,
                concurrency=_rds_concurrency(40),
            ),
            fargate=FargateSizes(
                api_tasks=(1, 10),
                worker_tasks=(1, 10),
                is_spot=True,
                capacity_units=(0.5, 8),
                pause_after_seconds=None,
                backup_days=7,
                cache_node="cache.t4g.micro",
            ),
        ),
        "prod": Environment(
            name="prod",
            log_retention_days=365,
            deletion_protection=True,
            allows_http=False,
            concurrency=_dynamodb_concurrency(200),
            rds=RdsSizes(
                instance_class="db.m7g.large",
                storage_gib=50,
                max_storage_gib=500,
                concurrency=_rds_concurrency(40),
            ),
            fargate=FargateSizes(
                api_tasks=(2, 10),
                worker_tasks=(2, 10),
                is_spot=False,
                capacity_units=(0.5, 32),
                pause_after_seconds=None,
                backup_days=30,
                cache_node="cache.t4g.micro",
            ),
        ),
    }
)


def environment_of(suffix: str) -> Environment:
    """The environment that a suffix begins with: `staging-001` is staging.

    Raises ConfigurationError.
    """
    require_suffix(suffix)
    name = suffix.partition("-")[0]
    if name not in ENVIRONMENTS:
        raise ConfigurationError(
            f"The environment suffix '{suffix}' must begin with one of "
            f"{', '.join(ENVIRONMENTS)}, alone or followed by a dash: staging-001."
        )
    return ENVIRONMENTS[name]


_SUFFIX = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*", re.ASCII)


def require_suffix(suffix: str) -> None:
    """Raises ConfigurationError unless the suffix is valid in the names of every service."""
    if not _SUFFIX.fullmatch(suffix) or len(suffix) > MAX_SUFFIX:
        raise ConfigurationError(
            f"The environment suffix '{suffix}' must be at most {MAX_SUFFIX} small letters, digits "
            "and single dashes, and begin with a letter."
        )


LIMITS: Mapping[str, int] = MappingProxyType(
    {
        "alarm": 255,
        "api": 128,
        "bucket": 63,
        "cache": 40,
        "cache user": 40,
        "cluster": 255,
        "dashboard": 255,
        "database": 63,
        "function": 64,
        "key alias": 256,
        "load balancer": 32,
        "log group": 512,
        "parameter group": 255,
        "queue": 80,
        "release": 100,
        "repository": 256,
        "role": 64,
        "rule": 64,
        "security group": 255,
        "service": 255,
        "stack": 128,
        "subnet group": 255,
        "table": 255,
        "task": 255,
        "target group": 32,
        "topic": 256,
        "usage plan": 255,
        "web acl": 128,
    }
)
"""The length limit of a name, by what it names. From each service's quotas or API reference."""


def resource_name(kind: str, resource: str, suffix: str) -> str:
    """`<resource>-<suffix>`. Raises ConfigurationError if it is longer than `LIMITS` allows."""
    name = f"{resource}-{suffix}"
    limit = LIMITS[kind]
    if len(name) > limit:
        raise ConfigurationError(
            f"The {kind} '{name}' would have {len(name)} characters, and {limit} are allowed: "
            f"the environment suffix can have {limit - len(resource) - 1} here."
        )
    return name


class Names:
    """Names the resources of a deployment. Raises ConfigurationError if a name is too long."""

    def __init__(self, suffix: str) -> None:
        self.environment = environment_of(suffix)
        self.suffix = suffix

    def __call__(self, kind: str, resource: str) -> str:
        return resource_name(kind, resource, self.suffix)

    def bucket(self, resource: str, account: str, region: str) -> str:
        """A bucket's name is unique in all of AWS, so it contains the account and the region.

        Both can be placeholders of a tool, so the length is checked for the longest region.
        """
        resource_name("bucket", f"{resource}-{_LONGEST_ACCOUNT_AND_REGION}", self.suffix)
        return f"{resource}-{self.suffix}-{account}-{region}"

    def require(self, names: Iterable[tuple[str, str]]) -> None:
        """Checks the length of every (kind, resource), before anything is built."""
        for kind, resource in names:
            self(kind, resource)


_LONGEST_ACCOUNT_AND_REGION = f"{'0' * 12}-ap-southeast-1"


def require_date(text: str) -> str:
    """The migration date as given. Raises ConfigurationError if it is no ISO date."""
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != text:
        raise ConfigurationError(f"The migration date '{text}' must be a date such as 2026-11-20.")
    return text


def require_network(cidr: str) -> str:
    """The address block of a network. Raises ConfigurationError unless it is a private /16: each
    subnet is a sixteenth of it.
    """
    try:
        network = ipaddress.ip_network(cidr)
    except ValueError:
        network = None
    if network is None or network.prefixlen != 16 or not network.is_private:
        raise ConfigurationError(
            f"vpcCidr is '{cidr}' and must be a private /16 such as 10.0.0.0/16."
        )
    return cidr


def common_tags(
    environment: Environment, *, migration_date: str, managed_by: str
) -> dict[str, str]:
    """The tags that all resources of a stack share. Each resource has its own `Name` besides."""
    return {
        "Environment": environment.name,
        "ManagedBy": managed_by,
        "MigrationDate": require_date(migration_date),
        "Project": PROJECT,
    }
