"""The queue of payments that a worker processes, and its dead-letter queue."""

from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Context
from remit_infra.components.roles import resource_policy, tls_only

VISIBILITY_SECONDS = 300
DAY_SECONDS = 86_400
RETENTION_SECONDS, DEAD_LETTER_RETENTION_SECONDS = 4 * DAY_SECONDS, 14 * DAY_SECONDS
MAX_RECEIVES = 3


class PaymentQueues(pulumi.ComponentResource):
    """Both queues are encrypted and accept TLS only. EventBridge may send to the payment queue."""

    def __init__(self, context: Context) -> None:
        super().__init__("remit:queues:Queues", "queues")
        self._context = context
        self._child = pulumi.ResourceOptions(parent=self)
        self.dead_letters = self._queue("payment-dlq", DEAD_LETTER_RETENTION_SECONDS)
        self.payments = self._queue(
            "payment-queue",
            RETENTION_SECONDS,
            redrive_policy=pulumi.Output.json_dumps(
                {"deadLetterTargetArn": self.dead_letters.arn, "maxReceiveCount": MAX_RECEIVES}
            ),
        )
        aws.sqs.RedriveAllowPolicy(
            "payment-dlq-redrive",
            queue_url=self.dead_letters.url,
            redrive_allow_policy=pulumi.Output.json_dumps(
                {"redrivePermission": "byQueue", "sourceQueueArns": [self.payments.arn]}
            ),
            opts=self._child,
        )
        self._policy("payment-dlq", self.dead_letters)
        self.policy = self._policy(
            "payment-queue", self.payments, _schedule_statement(context.aws_environment.account)
        )
        self.register_outputs({"url": self.payments.url})

    def _queue(
        self,
        name: str,
        retention_seconds: int,
        redrive_policy: pulumi.Output[str] | None = None,
    ) -> aws.sqs.Queue:
        return aws.sqs.Queue(
            name,
            name=self._context.names("queue", name),
            visibility_timeout_seconds=VISIBILITY_SECONDS,
            message_retention_seconds=retention_seconds,
            kms_master_key_id=self._context.key.key_id,
            redrive_policy=redrive_policy,
            opts=self._child,
        )

    def _policy(
        self, name: str, queue: aws.sqs.Queue, *statements: dict[str, Any]
    ) -> aws.sqs.QueuePolicy:
        return aws.sqs.QueuePolicy(
            f"{name}-policy",
            queue_url=queue.url,
            policy=resource_policy(queue.arn, [tls_only("sqs:*"), *statements]),
            opts=self._child,
        )


def _schedule_statement(account: str) -> dict[str, Any]:
    return {
        "Sid": "Schedules",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Condition": {"StringEquals": {"aws:SourceAccount": account}},
    }
