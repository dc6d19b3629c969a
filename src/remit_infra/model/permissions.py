"""The permissions of each role, for every topology: least-privilege statements as data.

A resource is a word, which the topology replaces with an ARN. `*` is only for actions that accept
nothing else, and gives the reason. The key for data at rest needs no statement: its key policy
names the roles and the services through which they use it.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """Allows `actions` on `resources`, under `conditions` (operator, key, value). `why_any` is the
    reason for a resource of `*`.
    """

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[tuple[str, str, str], ...] = ()
    why_any: str | None = None

    def __post_init__(self) -> None:
        if ("*" in self.resources) != (self.why_any is not None):
            raise ValueError(f"{self.sid}: a resource of * needs a reason, and nothing else does.")


READ_ITEMS = Statement(
    sid="ReadItems",
    actions=("dynamodb:GetItem",),
    resources=("table",),
)
WRITE_ITEMS = Statement(
    sid="WriteItems",
    actions=("dynamodb:PutItem",),
    resources=("table",),
)
DELETE_ITEMS = Statement(
    sid="ReleaseKeys",
    actions=("dynamodb:DeleteItem",),
    resources=("table",),
)
TRACE = Statement(
    sid="Trace",
    actions=("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
    resources=("*",),
    why_any="X-Ray has no resources to name.",
)
LOG = Statement(
    sid="Log",
    actions=("logs:CreateLogStream", "logs:PutLogEvents"),
    resources=("log group",),
)
DESCRIBE_TABLE = Statement(
    sid="DescribeTable",
    actions=("dynamodb:DescribeTable",),
    resources=("table",),
)
WRITE_FLOW_LOGS = Statement(
    sid="WriteFlowLogs",
    actions=("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"),
    resources=("log group",),
)
JOIN_NETWORK = Statement(
    sid="JoinNetwork",
    actions=(
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:AssignPrivateIpAddresses",
        "ec2:UnassignPrivateIpAddresses",
    ),
    resources=("*",),
    why_any="Lambda creates the interfaces with this role, before they have an ARN.",
)
READ_DATABASE_SECRET = Statement(
    sid="LogIn",
    actions=("secretsmanager:GetSecretValue",),
    resources=("database secret",),
)
ENCRYPT_CARDS = Statement(
    sid="EncryptCards",
    actions=("kms:GenerateDataKey",),
    resources=("card key",),
)
DECRYPT_CARDS = Statement(
    sid="DecryptCards",
    actions=("kms:Decrypt",),
    resources=("card key",),
)
PUBLISH_NOTIFICATIONS = Statement(
    sid="Notify",
    actions=("sns:Publish",),
    resources=("notification topic",),
)
ARCHIVE_TRAIL = Statement(
    sid="ArchiveTrail",
    actions=("s3:GetObject", "s3:PutObject"),
    resources=("audit objects",),
)
LIST_TRAIL = Statement(
    sid="ListTrail",
    actions=("s3:ListBucket",),
    resources=("audit bucket",),
)
SIGN_TRAIL = Statement(
    sid="SignTrail",
    actions=("kms:Sign", "kms:Verify"),
    resources=("audit key",),
)
READ_METRICS = Statement(
    sid="ReadMetrics",
    actions=("cloudwatch:GetMetricData",),
    resources=("*",),
    why_any="CloudWatch's metrics have no ARNs.",
)
PUBLISH_ALERTS = Statement(
    sid="Alert",
    actions=("sns:Publish",),
    resources=("alarm topic",),
)
FINGERPRINT = Statement(
    sid="Fingerprint",
    actions=("kms:GenerateMac",),
    resources=("fingerprint key",),
)

REGISTRY_LOGIN = Statement(
    sid="SignInToRegistry",
    actions=("ecr:GetAuthorizationToken",),
    resources=("*",),
    why_any="A login is for the whole registry of the account.",
)
FETCH_IMAGE = Statement(
    sid="FetchImage",
    actions=(
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
    ),
    resources=("repository",),
)
CONNECT_CACHE = Statement(
    sid="ConnectCache",
    actions=("elasticache:Connect",),
    resources=("cache", "cache user"),
)
SEND_WORK = Statement(
    sid="SendWork",
    actions=("sqs:SendMessage",),
    resources=("payment queue",),
)
RECEIVE_WORK = Statement(
    sid="TakeWork",
    actions=("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"),
    resources=("payment queue",),
)
COUNT_DEAD_LETTERS = Statement(
    sid="CountDeadLetters",
    actions=("sqs:GetQueueAttributes",),
    resources=("dead letter queue",),
)
PUT_METRICS = Statement(
    sid="Count",
    actions=("cloudwatch:PutMetricData",),
    resources=("*",),
    conditions=(("StringEquals", "cloudwatch:namespace", "Remit"),),
    why_any="CloudWatch's metrics have no ARNs; the condition names the service's own.",
)
SEND_TRACES = Statement(
    sid="SendTraces",
    actions=("xray:PutTraceSegments",),
    resources=("*",),
    why_any="X-Ray has no resources to name.",
)

LAMBDA_DYNAMODB: Mapping[str, tuple[Statement, ...]] = MappingProxyType(
    {
        "payment-validation": (
            READ_ITEMS,
            WRITE_ITEMS,
            FINGERPRINT,
            ENCRYPT_CARDS,
            LOG,
            TRACE,
        ),
        "payment-processing": (
            READ_ITEMS,
            WRITE_ITEMS,
            DELETE_ITEMS,
            Statement(
                sid="ListPayments",
                actions=("dynamodb:Query",),
                resources=("index by_owner",),
            ),
            FINGERPRINT,
            DECRYPT_CARDS,
            Statement(
                sid="TakeFailedWork",
                actions=("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
                resources=("failed queue",),
            ),
            LOG,
            TRACE,
        ),
        "payment-delivery": (
            READ_ITEMS,
            WRITE_ITEMS,
            Statement(
                sid="ChangeItems",
                actions=("dynamodb:DeleteItem", "dynamodb:UpdateItem"),
                resources=("table",),
            ),
            Statement(
                sid="FindWhatWaits",
                actions=("dynamodb:Query",),
                resources=("index by_task",),
            ),
            Statement(
                sid="ReadStream",
                actions=(
                    "dynamodb:DescribeStream",
                    "dynamodb:GetRecords",
                    "dynamodb:GetShardIterator",
                    "dynamodb:ListStreams",
                ),
                resources=("stream",),
            ),
            Statement(
                sid="SendWork",
                actions=("sqs:SendMessage",),
                resources=("failed queue",),
            ),
            PUBLISH_NOTIFICATIONS,
            ARCHIVE_TRAIL,
            LIST_TRAIL,
            SIGN_TRAIL,
            Statement(
                sid="ReconcileBooks",
                actions=("dynamodb:BatchGetItem", "dynamodb:Scan"),
                resources=("table",),
            ),
            Statement(
                sid="ReconcilePayments",
                actions=("dynamodb:Query",),
                resources=("index by_payment",),
            ),
            LOG,
            TRACE,
        ),
        "health-monitor": (
            DESCRIBE_TABLE,
            Statement(
                sid="FindWhatWaits",
                actions=("dynamodb:Query",),
                resources=("index by_task",),
            ),
            Statement(
                sid="KeepHealthState",
                actions=("dynamodb:GetItem", "dynamodb:PutItem"),
                resources=("table",),
                conditions=(("ForAllValues:StringEquals", "dynamodb:LeadingKeys", "health"),),
            ),
            COUNT_DEAD_LETTERS,
            READ_METRICS,
            PUBLISH_ALERTS,
            LOG,
            TRACE,
        ),
    }
)
"""By function. Only validation and processing decide about a payment. Delivery reschedules payments
whose lease has expired, erases their cards, and deletes what it has sent and archived.
"""

LAMBDA_POSTGRES: Mapping[str, tuple[Statement, ...]] = MappingProxyType(
    {
        "payment-validator": (
            READ_DATABASE_SECRET,
            FINGERPRINT,
            ENCRYPT_CARDS,
            JOIN_NETWORK,
            LOG,
            TRACE,
        ),
        "payment-processing": (
            READ_DATABASE_SECRET,
            FINGERPRINT,
            DECRYPT_CARDS,
            JOIN_NETWORK,
            LOG,
            TRACE,
        ),
        "payment-delivery": (
            READ_DATABASE_SECRET,
            DECRYPT_CARDS,
            PUBLISH_NOTIFICATIONS,
            ARCHIVE_TRAIL,
            LIST_TRAIL,
            SIGN_TRAIL,
            JOIN_NETWORK,
            LOG,
            TRACE,
        ),
        "health-monitor": (
            READ_DATABASE_SECRET,
            READ_METRICS,
            PUBLISH_ALERTS,
            JOIN_NETWORK,
            LOG,
            TRACE,
        ),
        "payment-operator": (READ_DATABASE_SECRET, JOIN_NETWORK, LOG, TRACE),
    }
)
"""By function. PostgreSQL's own privileges say what a function may do in the database."""

FARGATE_AURORA: Mapping[str, tuple[Statement, ...]] = MappingProxyType(
    {
        "payment-api": (
            READ_DATABASE_SECRET,
            CONNECT_CACHE,
            FINGERPRINT,
            ENCRYPT_CARDS,
            DECRYPT_CARDS,
            SEND_WORK,
            COUNT_DEAD_LETTERS,
            SEND_TRACES,
        ),
        "payment-worker": (
            READ_DATABASE_SECRET,
            CONNECT_CACHE,
            DECRYPT_CARDS,
            SEND_WORK,
            RECEIVE_WORK,
            COUNT_DEAD_LETTERS,
            PUBLISH_NOTIFICATIONS,
            PUBLISH_ALERTS,
            ARCHIVE_TRAIL,
            LIST_TRAIL,
            SIGN_TRAIL,
            READ_METRICS,
            PUT_METRICS,
            SEND_TRACES,
        ),
        "payment-migration": (READ_DATABASE_SECRET,),
    }
)
"""By task. Another role, the cluster's, starts the tasks: it fetches the image and writes logs."""

CACHE_ACCESS = (
    "on ~limit:* ~payment:* ~session:* -@all"
    " +ping +get +set +del +eval +evalsha +time +hgetall +hincrby +hdel +pexpire"
)
"""What the service's user may do in Redis, in the syntax of Redis' ACL SETUSER."""
