"""The AWS account that the credentials belong to: clients for it, and its limits."""

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from remit.adapters.aws.client import region

UNRESERVED_CONCURRENCY = 100
"""The concurrency that Lambda keeps for functions without a reservation (Lambda quotas)."""

Clients = Callable[[str], Any]
"""Returns a boto3 client, by the service's name."""


class DeployError(Exception):
    """The deployment cannot start, or failed. The message names the resource and the cause."""


class Problem(msgspec.Struct, frozen=True):
    """An obstacle to a deployment, with what to do about it."""

    check: str
    problem: str


def aws_clients() -> tuple[Clients, str]:
    """Clients with the credentials and region of the environment, and the region.

    Raises DeployError where there are no credentials or no region. Asks AWS nothing.
    """
    try:
        session: Any = boto3.Session(region_name=region())
        if session.region_name is None:
            raise DeployError("No region is set: export AWS_REGION=us-east-1, or name another.")
        credentials = session.get_credentials()
    except BotoCoreError as error:
        raise DeployError(f"AWS's settings on this machine cannot be used: {error}.") from error
    if credentials is None:
        raise DeployError(
            "There are no AWS credentials here: run `aws configure` or `aws sso login`, or export "
            "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    return session.client, session.region_name


def account_of(clients: Clients) -> str:
    """The account's id. Raises DeployError where AWS rejects the credentials."""
    try:
        account: str = clients("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise DeployError(f"AWS does not take these credentials: {error}") from error
    return account


def account_problems(client: Clients, reserved: int) -> Iterator[Problem]:
    """The obstacles in the account to a deployment that reserves so much more concurrency."""
    limit = client("lambda").get_account_settings()["AccountLimit"]
    unreserved = limit.get("UnreservedConcurrentExecutions", limit["ConcurrentExecutions"])
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
