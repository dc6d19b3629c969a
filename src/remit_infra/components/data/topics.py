"""Two topics: for operators, and for whoever wants to know of payments. Encrypted, TLS only."""

from typing import Any

import pulumi
import pulumi_aws as aws

from remit_infra.components.context import Ground, Place
from remit_infra.components.roles import policy_on, tls_only


class Topics(pulumi.ComponentResource):
    """`alarms` gets CloudWatch's alarms and the health monitor's alerts, `notifications` every
    change of a payment.
    """

    def __init__(self, ground: Ground, *, alarm_email: str | None) -> None:
        super().__init__("remit:topics:Topics", "topics")
        self._ground = ground
        self.alarms = self._topic("payment-alarms", _alarms(ground.place))
        self.notifications = self._topic("payment-notifications")
        if alarm_email is not None:
            aws.sns.TopicSubscription(
                "payment-alarms-email",
                topic=self.alarms.arn,
                protocol="email",
                endpoint=alarm_email,
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({"alarms": self.alarms.arn})

    def _topic(self, name: str, *more: dict[str, Any]) -> aws.sns.Topic:
        under = pulumi.ResourceOptions(parent=self)
        place = self._ground.place
        topic = aws.sns.Topic(
            name,
            name=self._ground.names("topic", name),
            kms_master_key_id=self._ground.key.key_id,
            opts=under,
        )
        statements = [
            {
                "Sid": "OwnAccount",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:{place.partition}:iam::{place.account}:root"},
                "Action": ["sns:Publish", "sns:Subscribe"],
            },
            tls_only("sns:Publish"),
            *more,
        ]
        aws.sns.TopicPolicy(
            f"{name}-policy",
            arn=topic.arn,
            policy=policy_on(topic.arn, statements),
            opts=under,
        )
        return topic


def _alarms(place: Place) -> dict[str, Any]:
    return {
        "Sid": "Alarms",
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": "sns:Publish",
        "Condition": {"StringEquals": {"aws:SourceAccount": place.account}},
    }
