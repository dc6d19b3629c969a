"""The environment variables that configure the service: fields of `Settings`, by topology."""

from collections.abc import Mapping
from typing import TypeVar

from remit.settings import PREFIX, Settings

T = TypeVar("T")
"""A text, or an output that a tool resolves later."""

AWS_SETTINGS = (
    "notification_topic_arn",
    "alarm_topic_arn",
    "audit_bucket",
    "audit_key_id",
    "card_key_id",
    "fingerprint_key_id",
)
"""The settings that the service requires in every topology in AWS."""

DYNAMODB_SETTINGS = (
    "transactions_table",
    "work_queue_url",
    "work_dead_letter_url",
    *AWS_SETTINGS,
)
"""The settings that the service requires with DynamoDB."""

RDS_SETTINGS = ("database_secret_arn", "database_endpoint", *AWS_SETTINGS)
"""The settings that the service requires with RDS."""

ELASTICACHE_SETTINGS = ("cache_endpoint", "cache_name", "cache_user")
"""The settings with which processes share limits, payment summaries and sessions in Redis."""

AURORA_SETTINGS = (*RDS_SETTINGS, "work_queue_url", "work_dead_letter_url")
"""The settings that the service requires with Aurora."""


def service_environment(settings: Mapping[str, T]) -> dict[str, T]:
    """The variables for these settings. Raises ValueError for a name that is no setting."""
    unknown = sorted(settings.keys() - set(Settings.__struct_fields__))
    if unknown:
        raise ValueError(f"The service has no setting '{unknown[0]}'.")
    return {f"{PREFIX}{name.upper()}": value for name, value in sorted(settings.items())}
