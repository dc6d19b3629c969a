"""What every part of the stack gets: the stack, names, the key for data at rest, log retention."""

from dataclasses import dataclass

from aws_cdk import RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from remit_infra.model.environments import Names

RETENTIONS = {
    7: logs.RetentionDays.ONE_WEEK,
    30: logs.RetentionDays.ONE_MONTH,
    365: logs.RetentionDays.ONE_YEAR,
}


@dataclass(frozen=True, kw_only=True)
class StackContext:
    """`stack` is the scope of every construct. `key` encrypts data at rest."""

    stack: Construct
    names: Names
    key: kms.Key

    def log_group(self, id_: str, full_name: str) -> logs.LogGroup:
        """An encrypted log group with the environment's retention. It is deleted with the stack."""
        return logs.LogGroup(
            self.stack,
            id_,
            log_group_name=full_name,
            encryption_key=self.key,
            retention=RETENTIONS[self.names.environment.log_retention_days],
            removal_policy=RemovalPolicy.DESTROY,
        )
