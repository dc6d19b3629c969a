"""What the clock does: a rule for each job, and the permission to call its function, or the queue
that gets its message.
"""

import json

import pulumi
import pulumi_aws as aws

from remit_infra.components.compute.functions import let_call
from remit_infra.model.environments import Names


def schedule_message(
    names: Names, rule: str, queue: aws.sqs.Queue, *, every: str, kind: str, ready: pulumi.Resource
) -> None:
    """Puts a message of work into the queue at a rate such as `1 day`, for one worker to take."""
    made = _rule(names, rule, every)
    aws.cloudwatch.EventTarget(
        f"{rule}-target",
        rule=made.name,
        arn=queue.arn,
        input_transformer={
            "input_paths": {"id": "$.id", "time": "$.time"},
            "input_template": json.dumps(
                {"id": "<id>", "topic": "work", "kind": kind, "created_at": "<time>"}
            ),
        },
        opts=pulumi.ResourceOptions(depends_on=[ready]),
    )


def schedule(
    names: Names,
    rule: str,
    alias: aws.lambda_.Alias,
    *,
    every: str,
    job: str,
) -> None:
    """Calls the alias with `{"job": …}` at a rate such as `1 minute`. What fails is not repeated:
    the clock comes again.
    """
    made = _rule(names, rule, every)
    permission = let_call(rule, alias, caller="events", source_arn=made.arn)
    aws.cloudwatch.EventTarget(
        f"{rule}-target",
        rule=made.name,
        arn=alias.arn,
        input=json.dumps({"job": job}),
        retry_policy={"maximum_retry_attempts": 0, "maximum_event_age_in_seconds": 60},
        opts=pulumi.ResourceOptions(depends_on=[permission]),
    )


def _rule(names: Names, rule: str, every: str) -> aws.cloudwatch.EventRule:
    return aws.cloudwatch.EventRule(
        rule, name=names("rule", rule), schedule_expression=f"rate({every})"
    )
