"""The KMS keys of the stack, and who uses the one for data at rest."""

from collections.abc import Mapping

from aws_cdk import Aws, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from remit_infra.model.environments import Names
from remit_infra.topologies.lambda_dynamodb.configuration import KMS_VIA_SERVICES


def make_data_key(stack: Construct, names: Names, roles: Mapping[str, iam.Role]) -> kms.Key:
    """The key for data at rest, which the roles use only through the services that store it."""
    key = make_key(stack, names, "data", "Data at rest: table, queues, topics, bucket, logs.")
    for statement in (
        iam.PolicyStatement(
            sid="FunctionsThroughServices",
            principals=[iam.ArnPrincipal(role.role_arn) for role in roles.values()],
            actions=[
                *("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt"),
                *("kms:GenerateDataKey*", "kms:ReEncrypt*"),
            ],
            resources=["*"],  # in a key policy, the key itself
            conditions={
                "StringEquals": {
                    "kms:ViaService": [
                        f"{service}.{Aws.REGION}.amazonaws.com" for service in KMS_VIA_SERVICES
                    ]
                }
            },
        ),
        iam.PolicyStatement(
            sid="LogGroups",
            principals=[iam.ServicePrincipal(f"logs.{Aws.REGION}.amazonaws.com")],
            actions=["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*"],
            resources=["*"],
            conditions={
                "ArnLike": {
                    "kms:EncryptionContext:aws:logs:arn": (
                        f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:*"
                    )
                }
            },
        ),
        iam.PolicyStatement(
            sid="AlarmsToTopic",
            principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            actions=["kms:Decrypt", "kms:GenerateDataKey*"],
            resources=["*"],
            conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
        ),
    ):
        key.add_to_resource_policy(statement)
    return key


def make_key(
    stack: Construct,
    names: Names,
    purpose: str,
    description: str,
    *,
    spec: kms.KeySpec = kms.KeySpec.SYMMETRIC_DEFAULT,
    usage: kms.KeyUsage = kms.KeyUsage.ENCRYPT_DECRYPT,
) -> kms.Key:
    """A key. KMS rotates it by itself if it is symmetric, and no other."""
    return kms.Key(
        stack,
        f"{purpose}-key",
        alias=f"alias/{names('key alias', f'payment-{purpose}')}",
        description=description,
        key_spec=spec,
        key_usage=usage,
        enable_key_rotation=True if spec is kms.KeySpec.SYMMETRIC_DEFAULT else None,
        removal_policy=RemovalPolicy.DESTROY,
    )
