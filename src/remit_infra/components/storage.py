"""What stores a topology's data, with the service's settings and permissions for it."""

from dataclasses import dataclass

import pulumi

from remit_infra.components.data.aurora import AuroraDatabase
from remit_infra.components.data.buckets import Buckets
from remit_infra.components.data.postgres import DATABASE
from remit_infra.components.data.rds import RdsDatabase
from remit_infra.components.data.topics import Topics
from remit_infra.components.kms_keys import KmsKeys


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The stores that both Pulumi topologies have."""

    keys: KmsKeys
    database: RdsDatabase | AuroraDatabase
    buckets: Buckets
    topics: Topics

    def settings(self, *, database_ca: str) -> dict[str, pulumi.Input[str]]:
        """The service's settings, by field. `database_ca` is the path of the certificates with
        which the service checks the database's.
        """
        return {
            "database_endpoint": self.database.endpoint,
            "database_name": DATABASE,
            "database_secret_arn": self.database.secret_arn,
            "database_ca": database_ca,
            "notification_topic_arn": self.topics.notifications.arn,
            "alarm_topic_arn": self.topics.alarms.arn,
            "audit_bucket": self.buckets.audit.bucket,
            "audit_key_id": self.keys.audit.key_id,
            "audit_retention_days": str(self.buckets.audit_days),
            "card_key_id": self.keys.cards.key_id,
            "fingerprint_key_id": self.keys.fingerprints.key_id,
        }

    def resources(self) -> dict[str, pulumi.Input[str]]:
        """The ARNs for the words in `model/permissions.py`."""
        audit = self.buckets.audit
        return {
            "*": "*",
            "database secret": self.database.secret_arn,
            "fingerprint key": self.keys.fingerprints.arn,
            "card key": self.keys.cards.arn,
            "audit key": self.keys.audit.arn,
            "notification topic": self.topics.notifications.arn,
            "alarm topic": self.topics.alarms.arn,
            "audit bucket": audit.arn,
            "audit objects": pulumi.Output.concat(audit.arn, "/*"),
        }
