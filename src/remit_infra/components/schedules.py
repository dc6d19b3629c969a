"""EventBridge schedules: each invokes a function or sends a message to a queue."""

import json

import pulumi
import pulumi_aws as aws

from remit_infra.components.compute.functions import allow_invoke
from remit_infra.model.environments import Names


def schedule_message(
    names: Names,
    rule_name: str,
    queue: aws.sqs.Queue,
    *,
    rate: str,
    kind: str,
    depends_on: pulumi.Resource,
) -> None:
    """Sends a work message of this kind at a rate such as `1 day`. One worker receives it."""
    rule = _rule(names, rule_name, rate)
    aws.cloudwatch.EventTarget(
        f"{rule_name}-target",
        rule=rule.name,
        arn=queue.arn,
        input_transformer={
            "input_paths": {"id": "$.id", "time": "$.time"},
            "input_template": json.dumps(
                {"id": "<id>", "topic": "work", "kind": kind, "created_at": "<time>"}
            ),
        },
        opts=pulumi.ResourceOptions(depends_on=[depends_on]),
    )


def schedule_function(
    names: Names, rule_name: str, alias: aws.lambda_.Alias, *, rate: str, job: str
) -> None:
    """Invokes the alias with `{"job": …}` at a rate such as `1 minute`. A failed call is not
    retried, because the next one follows.
    """
    rule = _rule(names, rule_name, rate)
    permission = allow_invoke(rule_name, alias, service="events", source_arn=rule.arn)
    aws.cloudwatch.EventTarget(
        f"{rule_name}-target",
        rule=rule.name,
        arn=alias.arn,
        input=json.dumps({"job": job}),
        retry_policy={"maximum_retry_attempts": 0, "maximum_event_age_in_seconds": 60},
        opts=pulumi.ResourceOptions(depends_on=[permission]),
    )


def _rule(names: Names, rule_name: str, rate: str) -> aws.cloudwatch.EventRule:
    return aws.cloudwatch.EventRule(
        rule_name, name=names("rule", rule_name), schedule_expression=f"rate({rate})"
    )
