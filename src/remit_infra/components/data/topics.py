"""The SNS topics: alerts for operators, and notifications of payments for subscribers."""

from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Context
from remit_infra.components.roles import resource_policy, tls_only


class Topics(pulumi.ComponentResource):
    """`alarms` gets CloudWatch's alarms and the health monitor's alerts, `notifications` every
    change of a payment. Both are encrypted and accept TLS only.
    """

    def __init__(self, context: Context, *, alarm_email: str | None) -> None:
        super().__init__("remit:topics:Topics", "topics")
        self._context = context
        self._child = pulumi.ResourceOptions(parent=self)
        account = context.aws_environment.account
        self.alarms = self._topic("payment-alarms", _cloudwatch_statement(account))
        self.notifications = self._topic("payment-notifications")
        if alarm_email is not None:
            aws.sns.TopicSubscription(
                "payment-alarms-email",
                topic=self.alarms.arn,
                protocol="email",
                endpoint=alarm_email,
                opts=self._child,
            )
        self.register_outputs({"alarms": self.alarms.arn})

    def _topic(self, name: str, *more: dict[str, Any]) -> aws.sns.Topic:
        aws_environment = self._context.aws_environment
        topic = aws.sns.Topic(
            name,
            name=self._context.names("topic", name),
            kms_master_key_id=self._context.key.key_id,
            opts=self._child,
        )
        root = f"arn:{aws_environment.partition}:iam::{aws_environment.account}:root"
        statements = [
            {
                "Sid": "OwnAccount",
                "Effect": "Allow",
                "Principal": {"AWS": root},
                "Action": ["sns:Publish", "sns:Subscribe"],
            },
            tls_only("sns:Publish"),
            *more,
        ]
        aws.sns.TopicPolicy(
            f"{name}-policy",
            arn=topic.arn,
            policy=resource_policy(topic.arn, statements),
            opts=self._child,
        )
        return topic


def _cloudwatch_statement(account: str) -> dict[str, Any]:
    return {
        "Sid": "Alarms",
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": "sns:Publish",
        "Condition": {"StringEquals": {"aws:SourceAccount": account}},
    }
