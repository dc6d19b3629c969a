"""The bucket of the audit trail, and the bucket of access logs: its own and the load balancer's."""

from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Context
from remit_infra.components.roles import POLICY_VERSION, tls_only


class Buckets(pulumi.ComponentResource):
    """Both buckets are versioned and accept TLS 1.2 or later only. `audit` is encrypted with the
    stack's key. `access_logs` is encrypted with S3's own key, because load balancers can write to
    no other.
    """

    def __init__(self, context: Context, *, audit_days: int, object_lock: bool) -> None:
        super().__init__("remit:buckets:Buckets", "buckets")
        self.audit_days = audit_days
        self._context = context
        self._child = pulumi.ResourceOptions(parent=self)
        self.audit = self._bucket(
            "payment-audit-logs",
            key_arn=context.key.arn,
            retention_days=audit_days,
            object_lock=object_lock,
        )
        self._policy("payment-audit-logs", self.audit)
        self.access_logs = self._bucket(
            "payment-access-logs", key_arn=None, retention_days=context.log_retention_days
        )
        self.access_logs_policy = self._policy(
            "payment-access-logs", self.access_logs, *self._log_statements()
        )
        aws.s3.BucketLogging(
            "payment-audit-logs-logging",
            bucket=self.audit.bucket,
            target_bucket=self.access_logs.bucket,
            target_prefix="audit/",
            opts=self._child,
        )
        if object_lock:
            aws.s3.BucketObjectLockConfiguration(
                "payment-audit-logs-lock",
                bucket=self.audit.bucket,
                rule={"default_retention": {"mode": "GOVERNANCE", "days": audit_days}},
                opts=self._child,
            )
        self.register_outputs({"audit": self.audit.bucket})

    def _bucket(
        self,
        name: str,
        *,
        key_arn: pulumi.Input[str] | None,
        retention_days: int,
        object_lock: bool = False,
    ) -> aws.s3.Bucket:
        aws_environment = self._context.aws_environment
        bucket = aws.s3.Bucket(
            name,
            bucket=self._context.names.bucket(
                name, aws_environment.account, aws_environment.region
            ),
            force_destroy=True,
            object_lock_enabled=object_lock,
            opts=self._child,
        )
        aws.s3.BucketVersioning(
            f"{name}-versioning",
            bucket=bucket.bucket,
            versioning_configuration={"status": "Enabled"},
            opts=self._child,
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            f"{name}-encryption",
            bucket=bucket.bucket,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "AES256" if key_arn is None else "aws:kms",
                        "kms_master_key_id": key_arn,
                    },
                    "bucket_key_enabled": key_arn is not None,
                }
            ],
            opts=self._child,
        )
        aws.s3.BucketPublicAccessBlock(
            f"{name}-private",
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._child,
        )
        aws.s3.BucketOwnershipControls(
            f"{name}-owner",
            bucket=bucket.bucket,
            rule={"object_ownership": "BucketOwnerEnforced"},
            opts=self._child,
        )
        aws.s3.BucketLifecycleConfiguration(
            f"{name}-lifecycle",
            bucket=bucket.bucket,
            rules=[
                {
                    "id": "expire",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "expiration": {"days": retention_days},
                    "noncurrent_version_expiration": {"noncurrent_days": retention_days},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": 1},
                }
            ],
            opts=self._child,
        )
        return bucket

    def _policy(
        self, name: str, bucket: aws.s3.Bucket, *more: dict[str, Any]
    ) -> aws.s3.BucketPolicy:
        objects = pulumi.Output.concat(bucket.arn, "/*")
        statements: list[dict[str, Any]] = [
            {**tls_only("s3:*"), "Resource": [bucket.arn, objects]},
            {
                "Sid": "ModernTlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [bucket.arn, objects],
                "Condition": {"NumericLessThan": {"s3:TlsVersion": "1.2"}},
            },
            *({**statement, "Resource": objects} for statement in more),
        ]
        return aws.s3.BucketPolicy(
            f"{name}-policy",
            bucket=bucket.bucket,
            policy=pulumi.Output.json_dumps({"Version": POLICY_VERSION, "Statement": statements}),
            opts=self._child,
        )

    def _log_statements(self) -> list[dict[str, Any]]:
        """Let the logging services write, on behalf of this account only."""
        account = self._context.aws_environment.account
        return [
            {
                "Sid": sid,
                "Effect": "Allow",
                "Principal": {"Service": service},
                "Action": "s3:PutObject",
                "Condition": {"StringEquals": {"aws:SourceAccount": account}},
            }
            for sid, service in (
                ("LoadBalancer", "logdelivery.elasticloadbalancing.amazonaws.com"),
                ("BucketAccess", "logging.s3.amazonaws.com"),
            )
        ]
