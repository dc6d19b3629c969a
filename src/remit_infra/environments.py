"""What an environment is: its sizes, and how everything in it is named and tagged.

For every topology, whatever tool builds it; so nothing here imports one. Environments differ by the
values in one table and by nothing else.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from types import MappingProxyType

import msgspec

PROJECT = "payment-processing"
MAX_SUFFIX = 24


class Refused(Exception):
    """A suffix, a name or a date cannot be used. The message says what is allowed."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The values that differ between environments. Concurrency is a function's reserved limit."""

    name: str
    log_retention_days: int
    deletion_protection: bool
    validation_concurrency: int
    processing_concurrency: int
    monitor_concurrency: int


ENVIRONMENTS: Mapping[str, Environment] = MappingProxyType(
    {
        "dev": Environment(
            name="dev",
            log_retention_days=7,
            deletion_protection=False,
            validation_concurrency=10,
            processing_concurrency=10,
            monitor_concurrency=1,
        ),
        "staging": Environment(
            name="staging",
            log_retention_days=30,
            deletion_protection=False,
            validation_concurrency=50,
            processing_concurrency=50,
            monitor_concurrency=1,
        ),
        "prod": Environment(
            name="prod",
            log_retention_days=365,
            deletion_protection=True,
            validation_concurrency=200,
            processing_concurrency=200,
            monitor_concurrency=2,
        ),
    }
)


def environment_of(suffix: str) -> Environment:
    """The environment that a suffix begins with: `staging-001` is staging. Raises Refused."""
    require_suffix(suffix)
    name = suffix.partition("-")[0]
    if name not in ENVIRONMENTS:
        raise Refused(
            f"The environment suffix '{suffix}' must begin with one of "
            f"{', '.join(ENVIRONMENTS)}, alone or followed by a dash: staging-001."
        )
    return ENVIRONMENTS[name]


_SUFFIX = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*", re.ASCII)


def require_suffix(suffix: str) -> None:
    """Raises Refused unless the suffix fits into the names of every service."""
    if not _SUFFIX.fullmatch(suffix) or len(suffix) > MAX_SUFFIX:
        raise Refused(
            f"The environment suffix '{suffix}' must be at most {MAX_SUFFIX} small letters, digits "
            "and single dashes, and begin with a letter."
        )


LIMITS: Mapping[str, int] = MappingProxyType(
    {
        "alarm": 255,
        "bucket": 63,
        "cache": 40,
        "dashboard": 255,
        "database": 63,
        "function": 64,
        "key alias": 256,
        "load balancer": 32,
        "log group": 512,
        "queue": 80,
        "role": 64,
        "rule": 64,
        "table": 255,
        "target group": 32,
        "topic": 256,
        "web acl": 128,
    }
)
"""How long a name may be, by what it names. From each service's quotas or API reference."""


def named(kind: str, resource: str, suffix: str) -> str:
    """`<resource>-<suffix>`, within the limit of its kind. Raises Refused, and says the limit."""
    name = f"{resource}-{suffix}"
    limit = LIMITS[kind]
    if len(name) > limit:
        raise Refused(
            f"The {kind} '{name}' would have {len(name)} characters, and {limit} are allowed: "
            f"the environment suffix can have {limit - len(resource) - 1} here."
        )
    return name


def bucket_named(resource: str, suffix: str, account: str, region: str) -> str:
    """A bucket's name is unique in all of AWS, so it holds the account and the region too."""
    return named("bucket", resource, f"{suffix}-{account}-{region}")


def require_names(names: Iterable[tuple[str, str]], suffix: str) -> None:
    """Checks every (kind, resource) of a topology, before anything is built. Raises Refused."""
    require_suffix(suffix)
    for kind, resource in names:
        named(kind, resource, suffix)


def require_date(text: str) -> str:
    """The migration date, which is configuration and never today. Raises Refused."""
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != text:
        raise Refused(f"The migration date '{text}' must be a date such as 2026-11-20.")
    return text


def tags(environment: Environment, *, migration_date: str, managed_by: str) -> dict[str, str]:
    """The tags of everything in a stack. `Name` is added to each resource by itself."""
    return {
        "Environment": environment.name,
        "ManagedBy": managed_by,
        "MigrationDate": require_date(migration_date),
        "Project": PROJECT,
    }
