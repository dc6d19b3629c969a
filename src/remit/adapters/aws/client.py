"""Calls to AWS from an event loop: boto3 in a thread, and its failures in the service's words.

Clients may be shared by threads.
"""

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from opentelemetry import trace

from remit.domain.errors import Unavailable

T = TypeVar("T")

CALLS_AT_ONCE = 4
"""Of one kind: a client keeps ten connections, and others want some."""

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


def region() -> str | None:
    """The region that the environment names as people and AWS's other tools do. None leaves it to
    boto3, which reads AWS_DEFAULT_REGION and the profile, and does not know AWS_REGION.
    """
    return os.environ.get("AWS_REGION") or None


def client(service: str) -> Any:
    """A client with the region and credentials of where this runs. Made once per process."""
    return boto3.client(service, region_name=region())  # type: ignore[call-overload]


class LazyClient:
    """A client that is made when first used: that costs 20 ms, and no function needs them all."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)

    @functools.cached_property
    def _made(self) -> Any:
        return client(self._service)


_tracer = trace.get_tracer("remit")


def _attributes(method: Any) -> dict[str, str]:
    """By these X-Ray draws the service that was called as a node of its own."""
    if (meta := getattr(method.__self__, "meta", None)) is None:
        return {}  # the body of an answer, being read
    service = meta.service_model.service_id
    return {"rpc.system": "aws-api", "rpc.service": service, "rpc.method": method.__name__}


async def in_batches(
    items: Sequence[T], send: Callable[[Sequence[T]], Awaitable[None]], *, size: int
) -> None:
    """Sends all, `size` to a call and a few calls at once. When one fails the others still end,
    and then it is raised.
    """
    free = asyncio.Semaphore(CALLS_AT_ONCE)

    async def one(first: int) -> None:
        async with free:
            await send(items[first : first + size])

    starts = range(0, len(items), size)
    ended = await asyncio.gather(*(one(first) for first in starts), return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, BaseException):
            raise outcome


async def call(method: Callable[..., Any], **asked: Any) -> Any:
    """The answer of one call. Raises Unavailable when AWS cannot answer now, else ClientError."""
    try:
        with _tracer.start_as_current_span(
            method.__name__, kind=trace.SpanKind.CLIENT, attributes=_attributes(method)
        ):
            return await asyncio.to_thread(functools.partial(method, **asked))
    except ClientError as error:
        if error.response["Error"]["Code"] in _UNAVAILABLE:
            raise Unavailable("AWS is too busy. Try again.") from error
        raise
    except NoCredentialsError as error:
        raise Unavailable("There are no AWS credentials here.") from error
    except BotoCoreError as error:
        raise Unavailable("AWS cannot be reached. Try again.") from error
