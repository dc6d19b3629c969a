"""The queue of payments that are processed later, and where goes what failed too often."""

from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Ground
from remit_infra.components.roles import policy_on, tls_only

VISIBILITY_SECONDS = 300
DAY_SECONDS = 86_400
KEPT_SECONDS, DEAD_KEPT_SECONDS = 4 * DAY_SECONDS, 14 * DAY_SECONDS
MAX_RECEIVES = 3


class Queues(pulumi.ComponentResource):
    """Both encrypted, TLS only, and used by roles of this account that are allowed to."""

    def __init__(self, ground: Ground) -> None:
        super().__init__("remit:queues:Queues", "queues")
        self._ground = ground
        self._under = pulumi.ResourceOptions(parent=self)
        self.dead = self._queue("payment-dlq", kept_seconds=DEAD_KEPT_SECONDS)
        self.work = self._queue(
            "payment-queue",
            kept_seconds=KEPT_SECONDS,
            redrive_policy=pulumi.Output.json_dumps(
                {"deadLetterTargetArn": self.dead.arn, "maxReceiveCount": MAX_RECEIVES}
            ),
        )
        aws.sqs.RedriveAllowPolicy(
            "payment-dlq-redrive",
            queue_url=self.dead.url,
            redrive_allow_policy=pulumi.Output.json_dumps(
                {"redrivePermission": "byQueue", "sourceQueueArns": [self.work.arn]}
            ),
            opts=self._under,
        )
        self._policy("payment-dlq", self.dead)
        self.policy = self._policy("payment-queue", self.work, _clock(ground.place.account))
        self.register_outputs({"url": self.work.url})

    def _queue(self, name: str, *, kept_seconds: int, **more: Any) -> aws.sqs.Queue:
        return aws.sqs.Queue(
            name,
            name=self._ground.names("queue", name),
            visibility_timeout_seconds=VISIBILITY_SECONDS,
            message_retention_seconds=kept_seconds,
            kms_master_key_id=self._ground.key.key_id,
            **more,
            opts=self._under,
        )

    def _policy(
        self, name: str, queue: aws.sqs.Queue, *more: dict[str, Any]
    ) -> aws.sqs.QueuePolicy:
        return aws.sqs.QueuePolicy(
            f"{name}-policy",
            queue_url=queue.url,
            policy=policy_on(queue.arn, [tls_only("sqs:*"), *more]),
            opts=self._under,
        )


def _clock(account: str) -> dict[str, Any]:
    return {
        "Sid": "Clock",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Condition": {"StringEquals": {"aws:SourceAccount": account}},
    }
