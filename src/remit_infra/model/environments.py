"""What an environment is: its sizes, and how everything in it is named and tagged.

For every topology, whatever tool builds it; so nothing here imports one. Environments differ by the
values in one table and by nothing else.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from datetime import date
from types import MappingProxyType

import msgspec

PROJECT = "payment-processing"
MIGRATION_DATE = "2026-11-20"
"""Unless configuration says another. Never today's, so that two previews are the same."""

MAX_SUFFIX = 24


class ConfigurationError(Exception):
    """A suffix, a name or a date cannot be used. The message says what is allowed."""


class RdsSizes(msgspec.Struct, frozen=True, kw_only=True):
    """The size of a PostgreSQL instance, and how many requests each function answers at once: a
    container of a function holds one connection.
    """

    instance_class: str
    storage_gib: int
    max_storage_gib: int
    requests: int


class FargateSizes(msgspec.Struct, frozen=True, kw_only=True):
    """How many tasks there are at least and at most, and what their database and cache may have.

    A capacity unit of Aurora is about 2 GiB of memory with its share of processor. With none at
    least, the database pauses once nobody has asked it anything for `pause_after_seconds`.
    """

    api_tasks: tuple[int, int]
    worker_tasks: tuple[int, int]
    is_spot: bool
    capacity_units: tuple[float, float]
    pause_after_seconds: int | None
    backup_days: int
    cache_node: str


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The values that differ between environments. Concurrency is a function's reserved limit."""

    name: str
    log_retention_days: int
    deletion_protection: bool
    allows_http: bool
    concurrency: Mapping[str, int]
    rds: RdsSizes
    fargate: FargateSizes


def _concurrency(requests: int) -> Mapping[str, int]:
    """By function. One monitor at a time sends one alert; two deliverers take stream and clock."""
    return MappingProxyType(
        {
            "payment-validation": requests,
            "payment-processing": requests,
            "payment-delivery": 2,
            "health-monitor": 1,
        }
    )


ENVIRONMENTS: Mapping[str, Environment] = MappingProxyType(
    {
        "dev": Environment(
            name="dev",
            log_retention_days=7,
            deletion_protection=False,
            allows_http=True,
            concurrency=_concurrency(10),
            rds=RdsSizes(
                instance_class="db.t4g.micro", storage_gib=20, max_storage_gib=50, requests=10
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
            concurrency=_concurrency(50),
            rds=RdsSizes(
                instance_class="db.t4g.small", storage_gib=20, max_storage_gib=100, requests=40
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
            concurrency=_concurrency(200),
            rds=RdsSizes(
                instance_class="db.m7g.large", storage_gib=50, max_storage_gib=500, requests=40
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
    """The environment that a suffix begins with: `staging-001` is staging. Raises Refused."""
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
    """Raises Refused unless the suffix fits into the names of every service."""
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
"""How long a name may be, by what it names. From each service's quotas or API reference."""


def resource_name(kind: str, resource: str, suffix: str) -> str:
    """`<resource>-<suffix>`, within the limit of its kind. Raises Refused, and says the limit."""
    name = f"{resource}-{suffix}"
    limit = LIMITS[kind]
    if len(name) > limit:
        raise ConfigurationError(
            f"The {kind} '{name}' would have {len(name)} characters, and {limit} are allowed: "
            f"the environment suffix can have {limit - len(resource) - 1} here."
        )
    return name


class Names:
    """Names every resource of one deployment. Raises Refused where a name would be too long."""

    def __init__(self, suffix: str) -> None:
        self.environment = environment_of(suffix)
        self.suffix = suffix

    def __call__(self, kind: str, resource: str) -> str:
        return resource_name(kind, resource, self.suffix)

    def bucket(self, resource: str, account: str, region: str) -> str:
        """A bucket's name is unique in all of AWS, so it holds the account and the region too.

        Both may be placeholders that are known when it is made: the length is that of the longest.
        """
        resource_name("bucket", f"{resource}-{_LONGEST_PLACE}", self.suffix)
        return f"{resource}-{self.suffix}-{account}-{region}"

    def require(self, names: Iterable[tuple[str, str]]) -> None:
        """Checks every (kind, resource) of a topology, before anything is built."""
        for kind, resource in names:
            self(kind, resource)


_LONGEST_PLACE = f"{'0' * 12}-ap-southeast-1"


def require_date(text: str) -> str:
    """The migration date, which is configuration and never today. Raises Refused."""
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != text:
        raise ConfigurationError(f"The migration date '{text}' must be a date such as 2026-11-20.")
    return text


def require_network(cidr: str) -> str:
    """The addresses of a network: a private /16, of which each subnet is a sixteenth. Raises
    Refused.
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
    """The tags of everything in a stack. `Name` is added to each resource by itself."""
    return {
        "Environment": environment.name,
        "ManagedBy": managed_by,
        "MigrationDate": require_date(migration_date),
        "Project": PROJECT,
    }
