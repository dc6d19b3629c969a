"""What every topology keeps things in, and what the service and its roles are told of that."""

from dataclasses import dataclass

import pulumi

from remit_infra.components.data.aurora import Aurora
from remit_infra.components.data.buckets import Buckets
from remit_infra.components.data.database import NAME, Database
from remit_infra.components.data.topics import Topics
from remit_infra.components.kms_keys import Keys


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Where a topology keeps things, and what opens them."""

    keys: Keys
    database: Database | Aurora
    buckets: Buckets
    topics: Topics

    def settings(self, *, database_ca: str) -> dict[str, pulumi.Input[str]]:
        """The service's settings by field. It finds the authorities of AWS's databases there."""
        return {
            "database_endpoint": self.database.endpoint,
            "database_name": NAME,
            "database_secret_arn": self.database.secret_arn,
            "database_ca": database_ca,
            "notification_topic_arn": self.topics.notifications.arn,
            "alarm_topic_arn": self.topics.alarms.arn,
            "audit_bucket": self.buckets.audit.bucket,
            "card_key_id": self.keys.cards.key_id,
            "fingerprint_key_id": self.keys.fingerprints.key_id,
        }

    def resources(self) -> dict[str, pulumi.Input[str]]:
        """The words of `permissions.py` by the ARNs they stand for."""
        audit = self.buckets.audit
        return {
            "database secret": self.database.secret_arn,
            "fingerprint key": self.keys.fingerprints.arn,
            "card key": self.keys.cards.arn,
            "notification topic": self.topics.notifications.arn,
            "alarm topic": self.topics.alarms.arn,
            "audit bucket": audit.arn,
            "audit objects": pulumi.Output.concat(audit.arn, "/*"),
        }
