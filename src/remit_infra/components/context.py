"""What every component gets: names, account and region, the key for data at rest, log retention."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import pulumi
import pulumi_aws as aws

from remit_infra.model.environments import Names


@dataclass(frozen=True, kw_only=True)
class AwsEnvironment:
    """The account, the region and its availability zones in a stable order."""

    account: str
    region: str
    zones: Sequence[str]
    partition: str = "aws"

    @classmethod
    def lookup(cls, region: str, zones: int = 3) -> Self:
        """Asks AWS with the current credentials, once. The zones are the first of those that need
        no opt-in; local and wavelength zones are left out.
        """
        available = aws.get_availability_zones(
            state="available",
            filters=[
                {"name": "zone-type", "values": ["availability-zone"]},
                {"name": "opt-in-status", "values": ["opt-in-not-required"]},
            ],
        )
        return cls(
            account=aws.get_caller_identity().account_id,
            region=region,
            zones=sorted(available.names)[:zones],
            partition=aws.get_partition().partition,
        )

    @classmethod
    def offline(cls, region: str, zones: int = 3) -> Self:
        """The account of AWS's own examples, to record a program without credentials."""
        names = [f"{region}{letter}" for letter in "abc"[:zones]]
        return cls(account="123456789012", region=region, zones=names)


@dataclass(frozen=True, kw_only=True)
class Context:
    """`key` encrypts data at rest."""

    names: Names
    aws_environment: AwsEnvironment
    key: aws.kms.Key
    log_retention_days: int

    def log_group(
        self,
        name: str,
        full_name: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> aws.cloudwatch.LogGroup:
        """An encrypted log group with the retention of the stack, which is deleted with it."""
        return aws.cloudwatch.LogGroup(
            name,
            name=full_name,
            kms_key_id=self.key.arn,
            retention_in_days=self.log_retention_days,
            skip_destroy=False,
            opts=opts,
        )
