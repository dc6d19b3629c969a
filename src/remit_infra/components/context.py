"""What every part stands on: where the program runs, how it names things, the key, the logs."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from remit_infra.model.environments import Names


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a program runs: facts of the account, asked for once."""

    account: str
    region: str
    zones: Sequence[str]
    partition: str = "aws"


def here(region: str, zones: int = 3) -> Place:
    """The account that the credentials are of, and the region's first zones in a stable order:
    those of type availability-zone for which nobody has to opt in.
    """
    found = aws.get_availability_zones(
        state="available",
        filters=[
            {"name": "zone-type", "values": ["availability-zone"]},
            {"name": "opt-in-status", "values": ["opt-in-not-required"]},
        ],
    )
    return Place(
        account=aws.get_caller_identity().account_id,
        region=region,
        zones=sorted(found.names)[:zones],
        partition=aws.get_partition().partition,
    )


def nowhere(region: str, zones: int = 3) -> Place:
    """The account of AWS's own examples, for looking at a program without one."""
    first = [f"{region}{letter}" for letter in "abc"[:zones]]
    return Place(account="123456789012", region=region, zones=first)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """`key` encrypts data at rest. Log groups keep what they have for `log_days`."""

    names: Names
    place: Place
    key: aws.kms.Key
    log_days: int

    def log_group(
        self,
        name: str,
        full_name: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> aws.cloudwatch.LogGroup:
        """Encrypted, with an end to what it keeps, and gone with the stack."""
        return aws.cloudwatch.LogGroup(
            name,
            name=full_name,
            kms_key_id=self.key.arn,
            retention_in_days=self.log_days,
            skip_destroy=False,
            opts=opts,
        )
