"""Calls AWS from an event loop: boto3 runs in a thread, and its failures become the service's own.

Threads may share a client.
"""

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import boto3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
)
from opentelemetry import trace

from remit.domain.change import Message
from remit.domain.errors import ConnectionLost, NotAllSent, Unavailable

CALLS_AT_ONCE = 4
"""How many batches are sent at once. A client has ten connections, which other calls need too."""

_UNAVAILABLE = frozenset(
    {
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

_MAYBE_DONE = frozenset({"InternalError", "InternalServerError", "InternalServiceError"})


def region() -> str | None:
    """The region in AWS_REGION, the variable that AWS's other tools read.

    None leaves the choice to boto3, which reads AWS_DEFAULT_REGION and the profile, and does not
    read AWS_REGION.
    """
    return os.environ.get("AWS_REGION") or None


def client(service: str) -> Any:
    """A client with the environment's region and credentials."""
    return boto3.client(service, region_name=region())  # type: ignore[call-overload]


class LazyClient:
    """A client that is made at its first use, which costs 20 ms. No function uses every client."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    @functools.cached_property
    def _client(self) -> Any:
        return client(self._service)


_tracer = trace.get_tracer("remit")


def _attributes(method: Any) -> dict[str, str]:
    """The attributes by which X-Ray shows the called service as a node of its own."""
    if (meta := getattr(method.__self__, "meta", None)) is None:
        return {}  # the method reads the body of a response, and is no call to a service
    service = meta.service_model.service_id
    return {"rpc.system": "aws-api", "rpc.service": service, "rpc.method": method.__name__}


async def send_in_batches(
    messages: Sequence[Message],
    send: Callable[[Sequence[Message]], Awaitable[Iterable[str]]],
    *,
    size: int,
) -> None:
    """Sends all messages, `size` in a call and a few calls at once. `send` returns the ids of those
    that were refused.

    A call that fails delays no other. Raises Unavailable if no message was taken, and NotAllSent if
    only some were.
    """
    free = asyncio.Semaphore(CALLS_AT_ONCE)

    async def send_batch(batch: Sequence[Message]) -> Iterable[str]:
        async with free:
            return await send(batch)

    batches = [messages[first : first + size] for first in range(0, len(messages), size)]
    results = await asyncio.gather(*map(send_batch, batches), return_exceptions=True)
    refused: set[str] = set()
    failure = Unavailable("No message was taken. Try again.")
    for batch, result in zip(batches, results, strict=True):
        if isinstance(result, Unavailable):
            failure = result
            refused.update(message.id for message in batch)
        elif isinstance(result, BaseException):
            raise result
        else:
            refused.update(result)
    if refused and len(refused) == len(messages):
        raise failure
    if refused:
        raise NotAllSent(frozenset(refused))


async def call(method: Callable[..., Any], **parameters: Any) -> Any:
    """The response to one call. Raises Unavailable if AWS cannot serve it now, ConnectionLost if it
    may have been done, else ClientError.
    """
    try:
        with _tracer.start_as_current_span(
            method.__name__, kind=trace.SpanKind.CLIENT, attributes=_attributes(method)
        ):
            return await asyncio.to_thread(functools.partial(method, **parameters))
    except ClientError as error:
        if error.response["Error"]["Code"] in _UNAVAILABLE:
            raise Unavailable("AWS is too busy. Try again.") from error
        if error.response["Error"]["Code"] in _MAYBE_DONE:
            raise ConnectionLost("AWS failed. Try again.") from error
        raise
    except NoCredentialsError as error:
        raise Unavailable("There are no AWS credentials here.") from error
    except (ConnectTimeoutError, EndpointConnectionError) as error:
        raise Unavailable("AWS cannot be reached. Try again.") from error
    except BotoCoreError as error:
        raise ConnectionLost("AWS cannot be reached. Try again.") from error
