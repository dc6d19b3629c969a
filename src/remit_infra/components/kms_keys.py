"""The KMS keys: for data at rest, for the data keys of cards, for fingerprints, and for signatures
of the audit trail.

A role uses the key for data at rest only through the services that store the data.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import AwsEnvironment
from remit_infra.components.roles import POLICY_VERSION
from remit_infra.model.environments import Names

DELETION_DAYS = 7
SYMMETRIC = "SYMMETRIC_DEFAULT"


class KmsKeys(pulumi.ComponentResource):
    """`roles` read and write data at rest, through the services `via_services`. `senders` are the
    services of AWS that put messages of their own into encrypted topics and queues.
    """

    def __init__(
        self,
        names: Names,
        aws_environment: AwsEnvironment,
        *,
        roles: Mapping[str, aws.iam.Role],
        via_services: Sequence[str],
        senders: Sequence[str] = ("cloudwatch",),
    ) -> None:
        super().__init__("remit:keys:Keys", "keys")
        self._names = names
        self._child = pulumi.ResourceOptions(parent=self)
        account = _account_statement(aws_environment)
        self.data = self._key(
            "data",
            "Data at rest: database, topics, bucket, logs, secrets.",
            pulumi.Output.json_dumps(
                {
                    "Version": POLICY_VERSION,
                    "Statement": [
                        account,
                        _roles_statement(aws_environment, roles, via_services),
                        _logs_statement(aws_environment),
                        _senders_statement(aws_environment, senders),
                    ],
                }
            ),
        )
        account_only = json.dumps({"Version": POLICY_VERSION, "Statement": [account]})
        self.cards = self._key("cards", "Wraps the data keys of cards that wait.", account_only)
        self.fingerprints = self._key(
            "fingerprints",
            "Keyed digests of requests.",
            account_only,
            spec="HMAC_256",
            usage="GENERATE_VERIFY_MAC",
        )
        self.audit = self._key(
            "audit",
            "Signs the audit trail.",
            account_only,
            spec="ECC_NIST_P256",
            usage="SIGN_VERIFY",
        )
        self.register_outputs({"data": self.data.arn})

    def _key(
        self,
        purpose: str,
        description: str,
        policy: pulumi.Input[str],
        *,
        spec: str = SYMMETRIC,
        usage: str = "ENCRYPT_DECRYPT",
    ) -> aws.kms.Key:
        key = aws.kms.Key(
            f"payment-{purpose}-key",
            description=description,
            # KMS rotates no other keys.
            enable_key_rotation=spec == SYMMETRIC,
            key_usage=usage,
            customer_master_key_spec=spec,
            deletion_window_in_days=DELETION_DAYS,
            policy=policy,
            opts=self._child,
        )
        aws.kms.Alias(
            f"payment-{purpose}-alias",
            name=f"alias/{self._names('key alias', f'payment-{purpose}')}",
            target_key_id=key.key_id,
            opts=self._child,
        )
        return key


def _account_statement(aws_environment: AwsEnvironment) -> dict[str, Any]:
    """The account's IAM policies say who administers and who uses the key (KMS, "Default key
    policy").
    """
    return {
        "Sid": "Account",
        "Effect": "Allow",
        "Principal": {
            "AWS": f"arn:{aws_environment.partition}:iam::{aws_environment.account}:root"
        },
        "Action": "kms:*",
        "Resource": "*",
    }


def _roles_statement(
    aws_environment: AwsEnvironment, roles: Mapping[str, aws.iam.Role], via_services: Sequence[str]
) -> dict[str, Any]:
    hosts = [f"{service}.{aws_environment.region}.amazonaws.com" for service in via_services]
    return {
        "Sid": "RolesThroughServices",
        "Effect": "Allow",
        "Principal": {"AWS": [role.arn for role in roles.values()]},
        "Action": [
            *("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt"),
            *("kms:GenerateDataKey*", "kms:ReEncrypt*"),
        ],
        "Resource": "*",
        "Condition": {"StringEquals": {"kms:ViaService": hosts}},
    }


def _logs_statement(aws_environment: AwsEnvironment) -> dict[str, Any]:
    region, account = aws_environment.region, aws_environment.account
    groups = f"arn:{aws_environment.partition}:logs:{region}:{account}:log-group:*"
    return {
        "Sid": "LogGroups",
        "Effect": "Allow",
        "Principal": {"Service": f"logs.{region}.amazonaws.com"},
        "Action": ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*"],
        "Resource": "*",
        "Condition": {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}},
    }


def _senders_statement(aws_environment: AwsEnvironment, senders: Sequence[str]) -> dict[str, Any]:
    return {
        "Sid": "MessagesOfServices",
        "Effect": "Allow",
        "Principal": {"Service": [f"{sender}.amazonaws.com" for sender in senders]},
        "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:SourceAccount": aws_environment.account}},
    }
