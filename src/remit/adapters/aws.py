"""Calls to AWS from an event loop: boto3 in a thread, and its failures in the service's words.

Clients may be shared by threads.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from remit.errors import Unavailable

_UNAVAILABLE = frozenset(
    {
        "InternalError",
        "InternalServerError",
        "InternalServiceError",
        "KMSInternalException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TransactionInProgressException",
    }
)


def client(service: str) -> Any:
    """A client with the region and credentials of where this runs. Made once per process."""
    return boto3.client(service)  # type: ignore[call-overload]


async def call(method: Callable[..., Any], **asked: Any) -> Any:
    """The answer of one call. Raises Unavailable when AWS cannot answer now, else ClientError."""
    try:
        return await asyncio.to_thread(functools.partial(method, **asked))
    except ClientError as error:
        if error.response["Error"]["Code"] in _UNAVAILABLE:
            raise Unavailable("AWS is too busy. Try again.") from error
        raise
    except BotoCoreError as error:
        raise Unavailable("AWS cannot be reached. Try again.") from error
