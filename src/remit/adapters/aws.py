"""Calls to AWS from an event loop: boto3 in a thread, and its failures in the service's words.

A client is made once per process by `app.py`; boto3 clients may be shared by threads.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

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
