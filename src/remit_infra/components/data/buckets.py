"""The bucket of the audit trail, and the one for logs of who used it and the load balancer."""

from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Ground
from remit_infra.components.roles import VERSION, tls_only

AUDIT_DAYS = 90


class Buckets(pulumi.ComponentResource):
    """`audit` is versioned and encrypted with the customer's key. `logs` is encrypted with S3's,
    for that is all that the services which write there can use.
    """

    def __init__(self, ground: Ground, *, object_lock: bool) -> None:
        super().__init__("remit:buckets:Buckets", "buckets")
        self._ground = ground
        self._under = pulumi.ResourceOptions(parent=self)
        self.audit = self._bucket(
            "payment-audit-logs", key=ground.key.arn, days=AUDIT_DAYS, lock=object_lock
        )
        self._policy("payment-audit-logs", self.audit)
        self.logs = self._bucket("payment-access-logs", key=None, days=ground.log_days)
        self.logs_policy = self._policy("payment-access-logs", self.logs, *self._writers())
        aws.s3.BucketLogging(
            "payment-audit-logs-logging",
            bucket=self.audit.bucket,
            target_bucket=self.logs.bucket,
            target_prefix="audit/",
            opts=self._under,
        )
        if object_lock:
            aws.s3.BucketObjectLockConfiguration(
                "payment-audit-logs-lock",
                bucket=self.audit.bucket,
                rule={"default_retention": {"mode": "GOVERNANCE", "days": AUDIT_DAYS}},
                opts=self._under,
            )
        self.register_outputs({"audit": self.audit.bucket})

    def _bucket(
        self, name: str, *, key: pulumi.Input[str] | None, days: int, lock: bool = False
    ) -> aws.s3.Bucket:
        place = self._ground.place
        bucket = aws.s3.Bucket(
            name,
            bucket=self._ground.names.bucket(name, place.account, place.region),
            force_destroy=True,
            object_lock_enabled=lock,
            opts=self._under,
        )
        aws.s3.BucketVersioning(
            f"{name}-versioning",
            bucket=bucket.bucket,
            versioning_configuration={"status": "Enabled"},
            opts=self._under,
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            f"{name}-encryption",
            bucket=bucket.bucket,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "AES256" if key is None else "aws:kms",
                        "kms_master_key_id": key,
                    },
                    "bucket_key_enabled": key is not None,
                }
            ],
            opts=self._under,
        )
        aws.s3.BucketPublicAccessBlock(
            f"{name}-private",
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._under,
        )
        aws.s3.BucketOwnershipControls(
            f"{name}-owner",
            bucket=bucket.bucket,
            rule={"object_ownership": "BucketOwnerEnforced"},
            opts=self._under,
        )
        aws.s3.BucketLifecycleConfiguration(
            f"{name}-lifecycle",
            bucket=bucket.bucket,
            rules=[
                {
                    "id": "expire",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "expiration": {"days": days},
                    "noncurrent_version_expiration": {"noncurrent_days": days},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": 1},
                }
            ],
            opts=self._under,
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
            *({**one, "Resource": objects} for one in more),
        ]
        return aws.s3.BucketPolicy(
            f"{name}-policy",
            bucket=bucket.bucket,
            policy=pulumi.Output.json_dumps({"Version": VERSION, "Statement": statements}),
            opts=self._under,
        )

    def _writers(self) -> list[dict[str, Any]]:
        """The services that log here, for this account alone."""
        ours = {"StringEquals": {"aws:SourceAccount": self._ground.place.account}}
        return [
            {
                "Sid": sid,
                "Effect": "Allow",
                "Principal": {"Service": service},
                "Action": "s3:PutObject",
                "Condition": ours,
            }
            for sid, service in (
                ("LoadBalancer", "logdelivery.elasticloadbalancing.amazonaws.com"),
                ("BucketAccess", "logging.s3.amazonaws.com"),
            )
        ]
