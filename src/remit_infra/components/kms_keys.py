"""The keys: one for data at rest, one that wraps the data keys of cards, one for fingerprints.

Data at rest is opened only through the services that store it; no role is given the key itself.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Place
from remit_infra.components.roles import VERSION
from remit_infra.model.environments import Names

DELETION_DAYS = 7


class Keys(pulumi.ComponentResource):
    """`users` are the roles that read and write data at rest, `through` the services it is in,
    `senders` those that put messages of their own into encrypted topics and queues.
    """

    def __init__(
        self,
        names: Names,
        place: Place,
        *,
        users: Mapping[str, aws.iam.Role],
        through: Sequence[str],
        senders: Sequence[str] = ("cloudwatch",),
    ) -> None:
        super().__init__("remit:keys:Keys", "keys")
        self._names = names
        self._under = pulumi.ResourceOptions(parent=self)
        administered = _administered(place)
        self.data = self._key(
            "data",
            "Data at rest: database, topics, bucket, logs, secrets.",
            pulumi.Output.json_dumps(
                {
                    "Version": VERSION,
                    "Statement": [administered, *_through_services(place, users, through, senders)],
                }
            ),
        )
        alone = json.dumps({"Version": VERSION, "Statement": [administered]})
        self.cards = self._key("cards", "Wraps the data keys of cards that wait.", alone)
        self.fingerprints = self._key("fingerprints", "Keyed digests of requests.", alone, mac=True)
        self.register_outputs({"data": self.data.arn})

    def _key(
        self, purpose: str, description: str, policy: pulumi.Input[str], *, mac: bool = False
    ) -> aws.kms.Key:
        key = aws.kms.Key(
            f"payment-{purpose}-key",
            description=description,
            # AWS does not rotate HMAC keys.
            enable_key_rotation=not mac,
            key_usage="GENERATE_VERIFY_MAC" if mac else "ENCRYPT_DECRYPT",
            customer_master_key_spec="HMAC_256" if mac else "SYMMETRIC_DEFAULT",
            deletion_window_in_days=DELETION_DAYS,
            policy=policy,
            opts=self._under,
        )
        aws.kms.Alias(
            f"payment-{purpose}-alias",
            name=f"alias/{self._names('key alias', f'payment-{purpose}')}",
            target_key_id=key.key_id,
            opts=self._under,
        )
        return key


def _administered(place: Place) -> dict[str, Any]:
    """The account decides by IAM who administers and who uses the key, as AWS's own keys do."""
    return {
        "Sid": "Account",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:{place.partition}:iam::{place.account}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }


def _through_services(
    place: Place, users: Mapping[str, aws.iam.Role], through: Sequence[str], senders: Sequence[str]
) -> list[dict[str, Any]]:
    region = place.region
    logged = f"arn:{place.partition}:logs:{region}:{place.account}:log-group:*"
    return [
        {
            "Sid": "RolesThroughServices",
            "Effect": "Allow",
            "Principal": {"AWS": [role.arn for role in users.values()]},
            "Action": [
                *("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt"),
                *("kms:GenerateDataKey*", "kms:ReEncrypt*"),
            ],
            "Resource": "*",
            "Condition": {
                "StringEquals": {
                    "kms:ViaService": [f"{service}.{region}.amazonaws.com" for service in through]
                }
            },
        },
        {
            "Sid": "LogGroups",
            "Effect": "Allow",
            "Principal": {"Service": f"logs.{region}.amazonaws.com"},
            "Action": ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*"],
            "Resource": "*",
            "Condition": {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logged}},
        },
        {
            "Sid": "MessagesOfServices",
            "Effect": "Allow",
            "Principal": {"Service": [f"{sender}.amazonaws.com" for sender in senders]},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:SourceAccount": place.account}},
        },
    ]
