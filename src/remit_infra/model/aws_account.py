"""The AWS account of the credentials: clients for it, and what it lacks for a deployment."""

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import msgspec
from botocore.exceptions import BotoCoreError, ClientError

UNRESERVED_CONCURRENCY = 100
"""How much of an account's concurrency Lambda keeps for functions that reserve none."""

Clients = Callable[[str], Any]
"""Makes a client of a service of AWS."""


class DeployError(Exception):
    """The deployment cannot begin, or failed. The message says which resource and why."""


class Problem(msgspec.Struct, frozen=True):
    """What stands in the way of a deployment, and what to do about it."""

    check: str
    problem: str


def aws_clients() -> tuple[Clients, str]:
    """Clients with the credentials and region that the environment names. Raises DeployError."""
    session: Any = boto3.Session()
    if session.region_name is None:
        raise DeployError("No region is set: export AWS_REGION=us-east-1, or name another.")
    return session.client, session.region_name


def account_of(clients: Clients) -> str:
    """The account of the credentials. Raises DeployError where AWS does not take them."""
    try:
        account: str = clients("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise DeployError(f"AWS does not take these credentials: {error}") from error
    return account


def account_problems(client: Clients, reserved: int) -> Iterator[Problem]:
    """What of an account would make a deployment fail that reserves so much more concurrency."""
    free = client("lambda").get_account_settings()["AccountLimit"]
    unreserved = free.get("UnreservedConcurrentExecutions", free["ConcurrentExecutions"])
    if reserved and unreserved - reserved < UNRESERVED_CONCURRENCY:
        yield Problem(
            "concurrency",
            f"The functions reserve a concurrency of {reserved}, {unreserved} is left in this "
            f"account, and Lambda keeps {UNRESERVED_CONCURRENCY}: ask AWS for a higher quota.",
        )
    if not client("apigateway").get_account().get("cloudwatchRoleArn"):
        yield Problem(
            "logs",
            "API Gateway may not write logs in this account and region: see "
            "docs/lambda-dynamodb.md, 'Once per account'.",
        )
