"""What stores the stack's data: the table, queues, topics, the audit bucket, and cards' keys."""

from dataclasses import dataclass

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs

from remit.adapters.dynamodb.table import INDEXES, PARTITION_KEY, TIME_TO_LIVE
from remit_infra.model.environments import AUDIT_DAYS
from remit_infra.topologies.lambda_dynamodb.context import StackContext
from remit_infra.topologies.lambda_dynamodb.keys import make_key

MAX_RECEIVES = 5
RETRY_SECONDS = 180


@dataclass(frozen=True, kw_only=True)
class StackStorage:
    """The stores, with the service's settings and permissions for them."""

    card_key: kms.Key
    fingerprint_key: kms.Key
    audit_key: kms.Key
    table: dynamodb.Table
    failed: sqs.Queue
    dead_letters: sqs.Queue
    alarms: sns.Topic
    notifications: sns.Topic
    audit: s3.Bucket

    def settings(self) -> dict[str, str]:
        """The service's settings, by field."""
        return {
            "transactions_table": self.table.table_name,
            "work_queue_url": self.failed.queue_url,
            "work_dead_letter_url": self.dead_letters.queue_url,
            "notification_topic_arn": self.notifications.topic_arn,
            "alarm_topic_arn": self.alarms.topic_arn,
            "audit_bucket": self.audit.bucket_name,
            "audit_key_id": self.audit_key.key_id,
            "audit_retention_days": str(AUDIT_DAYS),
            "card_key_id": self.card_key.key_id,
            "fingerprint_key_id": self.fingerprint_key.key_id,
        }

    def resources(self) -> dict[str, str]:
        """The ARNs for the words in `model/permissions.py`."""
        table = self.table.table_arn
        return {
            "*": "*",
            "table": table,
            "stream": str(self.table.table_stream_arn),
            **{f"index {name}": f"{table}/index/{name}" for name in INDEXES},
            "failed queue": self.failed.queue_arn,
            "dead letter queue": self.dead_letters.queue_arn,
            "alarm topic": self.alarms.topic_arn,
            "notification topic": self.notifications.topic_arn,
            "audit bucket": self.audit.bucket_arn,
            "audit objects": self.audit.arn_for_objects("*"),
            "card key": self.card_key.key_arn,
            "fingerprint key": self.fingerprint_key.key_arn,
            "audit key": self.audit_key.key_arn,
        }


def make_storage(context: StackContext) -> StackStorage:
    dead_letters = _queue(context, "failed-transactions-dlq", Duration.days(14))
    failed = _queue(
        context,
        "failed-transactions",
        Duration.days(4),
        visibility_timeout=Duration.seconds(RETRY_SECONDS),
        dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=MAX_RECEIVES),
    )
    alarms = _topic(context, "payment-alarms")
    alarms.add_to_resource_policy(
        iam.PolicyStatement(
            sid="Alarms",
            principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            actions=["sns:Publish"],
            resources=[alarms.topic_arn],
            conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
        )
    )
    return StackStorage(
        card_key=make_key(
            context.stack, context.names, "cards", "Wraps the data keys of cards that wait."
        ),
        fingerprint_key=make_key(
            context.stack,
            context.names,
            "fingerprints",
            "Keyed digests of requests.",
            spec=kms.KeySpec.HMAC_256,
            usage=kms.KeyUsage.GENERATE_VERIFY_MAC,
        ),
        audit_key=make_key(
            context.stack,
            context.names,
            "audit",
            "Signs the audit trail.",
            spec=kms.KeySpec.ECC_NIST_P256,
            usage=kms.KeyUsage.SIGN_VERIFY,
        ),
        table=_table(context),
        failed=failed,
        dead_letters=dead_letters,
        alarms=alarms,
        notifications=_topic(context, "payment-notifications"),
        audit=_audit_bucket(context),
    )


def _table(context: StackContext) -> dynamodb.Table:
    def text(name: str) -> dynamodb.Attribute:
        return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)

    names = context.names
    table = dynamodb.Table(
        context.stack,
        "transactions",
        table_name=names("table", "transactions"),
        partition_key=text(PARTITION_KEY),
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
        encryption_key=context.key,
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
    context: StackContext,
    name: str,
    retention: Duration,
    *,
    visibility_timeout: Duration | None = None,
    dead_letter_queue: sqs.DeadLetterQueue | None = None,
) -> sqs.Queue:
    return sqs.Queue(
        context.stack,
        name,
        queue_name=context.names("queue", name),
        retention_period=retention,
        encryption=sqs.QueueEncryption.KMS,
        encryption_master_key=context.key,
        enforce_ssl=True,
        visibility_timeout=visibility_timeout,
        dead_letter_queue=dead_letter_queue,
        removal_policy=RemovalPolicy.DESTROY,
    )


def _topic(context: StackContext, name: str) -> sns.Topic:
    return sns.Topic(
        context.stack,
        name,
        topic_name=context.names("topic", name),
        master_key=context.key,
        enforce_ssl=True,
    )


def _audit_bucket(context: StackContext) -> s3.Bucket:
    return s3.Bucket(
        context.stack,
        "audit",
        bucket_name=context.names.bucket("payment-audit-logs", Aws.ACCOUNT_ID, Aws.REGION),
        versioned=True,
        encryption=s3.BucketEncryption.KMS,
        encryption_key=context.key,
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
