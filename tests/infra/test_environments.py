"""Names, tags and sizes: what can be known to be wrong before anything is built."""

import pytest
from msgspec.structs import asdict

from remit_infra.model.environments import (
    ENVIRONMENTS,
    LIMITS,
    MAX_SUFFIX,
    ConfigurationError,
    Names,
    common_tags,
    environment_of,
    require_date,
    resource_name,
)


@pytest.mark.parametrize(
    ("suffix", "name"),
    [("dev", "dev"), ("dev-test-001", "dev"), ("staging-001", "staging"), ("prod", "prod")],
)
def test_a_suffix_begins_with_its_environment(suffix: str, name: str) -> None:
    assert environment_of(suffix).name == name


@pytest.mark.parametrize("suffix", ["test", "develop", "production-1", "devtest", "x-dev"])
def test_a_suffix_of_no_environment_is_refused(suffix: str) -> None:
    with pytest.raises(ConfigurationError, match="must begin with one of dev, staging, prod"):
        environment_of(suffix)


@pytest.mark.parametrize(
    "suffix", ["", "Dev", "dev_1", "dev-", "dev--1", "-dev", "1dev", "dev 1", "dév", "dev\n"]
)
def test_a_suffix_that_no_name_can_hold_is_refused(suffix: str) -> None:
    with pytest.raises(ConfigurationError, match="at most 24 small letters"):
        environment_of(suffix)


def test_the_longest_suffix_is_taken_and_one_more_is_not() -> None:
    longest = "dev-" + "x" * (MAX_SUFFIX - 4)
    assert environment_of(longest).name == "dev"
    with pytest.raises(ConfigurationError):
        environment_of(longest + "x")


def test_a_name_over_its_limit_is_refused_with_the_limit() -> None:
    assert resource_name("load balancer", "payment-alb", "staging-001") == "payment-alb-staging-001"
    with pytest.raises(ConfigurationError) as refused:
        resource_name("load balancer", "payment-alb", "staging-of-the-north-01")
    assert str(refused.value) == (
        "The load balancer 'payment-alb-staging-of-the-north-01' would have 35 characters, and 32 "
        "are allowed: the environment suffix can have 20 here."
    )


@pytest.mark.parametrize("kind", LIMITS)
def test_every_kind_takes_its_limit_and_no_more(kind: str) -> None:
    resource = "r" * (LIMITS[kind] - len("-dev"))
    assert len(resource_name(kind, resource, "dev")) == LIMITS[kind]
    with pytest.raises(ConfigurationError):
        Names("dev").require([("topic", "short"), (kind, resource + "r")])


def test_a_bucket_holds_its_account_and_region() -> None:
    name = Names("dev").bucket("payment-audit-logs", "123456789012", "us-east-1")
    assert name == "payment-audit-logs-dev-123456789012-us-east-1"
    with pytest.raises(ConfigurationError, match="the environment suffix can have 16 here"):
        Names("staging-of-the-north").bucket("payment-audit-logs", "${account}", "${region}")


def test_environments_differ_in_values_alone() -> None:
    shapes = [[type(value) for value in asdict(e).values()] for e in ENVIRONMENTS.values()]
    assert shapes.count(shapes[0]) == len(shapes)
    assert {name: e.name for name, e in ENVIRONMENTS.items()} == {n: n for n in ENVIRONMENTS}
    assert [e.log_retention_days for e in ENVIRONMENTS.values()] == [7, 30, 365]
    assert [e.deletion_protection for e in ENVIRONMENTS.values()] == [False, False, True]


def test_tags_are_the_same_on_every_day() -> None:
    assert common_tags(ENVIRONMENTS["dev"], migration_date="2026-11-20", managed_by="cdk") == {
        "Environment": "dev",
        "ManagedBy": "cdk",
        "MigrationDate": "2026-11-20",
        "Project": "payment-processing",
    }


@pytest.mark.parametrize("text", ["", "today", "20261120", "2026-13-01", "2026-11-20T00:00:00"])
def test_a_migration_date_is_a_date(text: str) -> None:
    with pytest.raises(ConfigurationError, match="must be a date such as 2026-11-20"):
        require_date(text)
