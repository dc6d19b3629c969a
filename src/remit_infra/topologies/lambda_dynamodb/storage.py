"""Where the topology keeps things: keys, the table, queues, topics, the audit bucket."""

from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from remit.adapters.dynamodb.table import INDEXES, PARTITION_KEY, TIME_TO_LIVE
from remit_infra.model.environments import Names

MAX_RECEIVES = 5
RETRY_SECONDS = 180
AUDIT_DAYS = 90
THROUGH = ("dynamodb", "lambda", "s3", "sns", "sqs")
"""The services through which functions use the key for data at rest."""


@dataclass(frozen=True, kw_only=True)
class Keys:
    """One key for data at rest, used through the services that store it; one that wraps the data
    keys of cards; one that fingerprints requests.
    """

    data: kms.Key
    cards: kms.Key
    fingerprints: kms.Key


@dataclass(frozen=True, kw_only=True)
class Storage:
    table: dynamodb.Table
    failed: sqs.Queue
    dead_letters: sqs.Queue
    alarms: sns.Topic
    notifications: sns.Topic
    audit: s3.Bucket


def make_keys(scope: Construct, names: Names, roles: Mapping[str, iam.Role]) -> Keys:
    data = _key(scope, names, "data", "Data at rest: table, queues, topics, bucket, logs.")
    logged = f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:*"
    ours = {"aws:SourceAccount": Aws.ACCOUNT_ID}
    through = [f"{service}.{Aws.REGION}.amazonaws.com" for service in THROUGH]
    for sid, principals, actions, conditions in (
        (
            "FunctionsThroughServices",
            [iam.ArnPrincipal(role.role_arn) for role in roles.values()],
            [
                *("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt"),
                *("kms:GenerateDataKey*", "kms:ReEncrypt*"),
            ],
            {"StringEquals": {"kms:ViaService": through}},
        ),
        (
            "LogGroups",
            [iam.ServicePrincipal(f"logs.{Aws.REGION}.amazonaws.com")],
            ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*"],
            {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logged}},
        ),
        (
            "AlarmsToTopic",
            [iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            ["kms:Decrypt", "kms:GenerateDataKey*"],
            {"StringEquals": ours},
        ),
    ):
        data.add_to_resource_policy(
            iam.PolicyStatement(
                sid=sid,
                principals=principals,
                actions=actions,
                resources=["*"],  # of a key policy: the key itself
                conditions=conditions,
            )
        )
    return Keys(
        data=data,
        cards=_key(scope, names, "cards", "Wraps the data keys of cards that wait."),
        fingerprints=kms.Key(
            scope,
            "fingerprints-key",
            alias=f"alias/{names('key alias', 'payment-fingerprints')}",
            description="Keyed digests of requests.",
            key_spec=kms.KeySpec.HMAC_256,
            key_usage=kms.KeyUsage.GENERATE_VERIFY_MAC,
            removal_policy=RemovalPolicy.DESTROY,
        ),
    )


def _key(scope: Construct, names: Names, purpose: str, description: str) -> kms.Key:
    return kms.Key(
        scope,
        f"{purpose}-key",
        alias=f"alias/{names('key alias', f'payment-{purpose}')}",
        description=description,
        enable_key_rotation=True,
        removal_policy=RemovalPolicy.DESTROY,
    )


def make_storage(scope: Construct, names: Names, key: kms.Key) -> Storage:
    dead_letters = _queue(scope, names, key, "failed-transactions-dlq", Duration.days(14))
    failed = _queue(
        scope,
        names,
        key,
        "failed-transactions",
        Duration.days(4),
        visibility_timeout=Duration.seconds(RETRY_SECONDS),
        dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=MAX_RECEIVES),
    )
    alarms = _topic(scope, names, key, "payment-alarms")
    alarms.add_to_resource_policy(
        iam.PolicyStatement(
            sid="Alarms",
            principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            actions=["sns:Publish"],
            resources=[alarms.topic_arn],
            conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
        )
    )
    return Storage(
        table=_table(scope, names, key),
        failed=failed,
        dead_letters=dead_letters,
        alarms=alarms,
        notifications=_topic(scope, names, key, "payment-notifications"),
        audit=_audit_bucket(scope, names, key),
    )


def _table(scope: Construct, names: Names, key: kms.Key) -> dynamodb.Table:
    def text(name: str) -> dynamodb.Attribute:
        return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)

    table = dynamodb.Table(
        scope,
        "transactions",
        table_name=names("table", "transactions"),
        partition_key=text(PARTITION_KEY),
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
        encryption_key=key,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        stream=dynamodb.StreamViewType.NEW_IMAGE,
        time_to_live_attribute=TIME_TO_LIVE,
        deletion_protection=names.environment.deletion_protection,
        removal_policy=RemovalPolicy.DESTROY,
    )
    for index, (partition, sort) in INDEXES.items():
        table.add_global_secondary_index(
            index_name=index, partition_key=text(partition), sort_key=text(sort)
        )
    return table


def _queue(
    scope: Construct,
    names: Names,
    key: kms.Key,
    name: str,
    retention: Duration,
    *,
    visibility_timeout: Duration | None = None,
    dead_letter_queue: sqs.DeadLetterQueue | None = None,
) -> sqs.Queue:
    return sqs.Queue(
        scope,
        name,
        queue_name=names("queue", name),
        retention_period=retention,
        encryption=sqs.QueueEncryption.KMS,
        encryption_master_key=key,
        enforce_ssl=True,
        visibility_timeout=visibility_timeout,
        dead_letter_queue=dead_letter_queue,
        removal_policy=RemovalPolicy.DESTROY,
    )


def _topic(scope: Construct, names: Names, key: kms.Key, name: str) -> sns.Topic:
    return sns.Topic(scope, name, topic_name=names("topic", name), master_key=key, enforce_ssl=True)


def _audit_bucket(scope: Construct, names: Names, key: kms.Key) -> s3.Bucket:
    return s3.Bucket(
        scope,
        "audit",
        bucket_name=names.bucket("payment-audit-logs", Aws.ACCOUNT_ID, Aws.REGION),
        versioned=True,
        encryption=s3.BucketEncryption.KMS,
        encryption_key=key,
        bucket_key_enabled=True,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        lifecycle_rules=[
            s3.LifecycleRule(
                id="expire",
                expiration=Duration.days(AUDIT_DAYS),
                noncurrent_version_expiration=Duration.days(AUDIT_DAYS),
                abort_incomplete_multipart_upload_after=Duration.days(1),
            )
        ],
        removal_policy=RemovalPolicy.DESTROY,
    )
