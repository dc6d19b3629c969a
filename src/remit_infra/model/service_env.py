"""What a deployment tells the service: `Settings` by field, as the environment it is read from."""

from collections.abc import Mapping
from typing import TypeVar

from remit.settings import PREFIX, Settings

T = TypeVar("T")
"""Text, or what a tool knows later."""

AWS_SETTINGS = (
    "notification_topic_arn",
    "alarm_topic_arn",
    "audit_bucket",
    "card_key_id",
    "fingerprint_key_id",
)
DYNAMODB_SETTINGS = ("transactions_table", "work_queue_url", "work_dead_letter_url", *AWS_SETTINGS)
"""The settings that the service on DynamoDB cannot do without."""

RDS_SETTINGS = ("database_secret_arn", "database_endpoint", *AWS_SETTINGS)
"""The settings that the service on RDS cannot do without."""

ELASTICACHE_SETTINGS = ("cache_endpoint", "cache_name", "cache_user")
"""The settings that the service needs to share limits, shown payments and sessions in Redis."""

AURORA_SETTINGS = (*RDS_SETTINGS, "work_queue_url", "work_dead_letter_url")
"""The settings that the service on Aurora cannot do without."""


def service_environment(settings: Mapping[str, T]) -> dict[str, T]:
    """The variables for these settings. Raises ValueError for one that the service has not."""
    unknown = sorted(settings.keys() - set(Settings.__struct_fields__))
    if unknown:
        raise ValueError(f"The service has no setting '{unknown[0]}'.")
    return {f"{PREFIX}{name.upper()}": value for name, value in sorted(settings.items())}
