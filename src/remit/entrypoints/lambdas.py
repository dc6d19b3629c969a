"""AWS Lambda: each function is a thin way into the same API and the same use cases.

    http      a request from API Gateway (REST, proxy) or from a load balancer
    deliver   the table's stream: sends each message as it is written
    failed    the failure queue: takes each step again
    tick      the clock: what lapsed, what was left, the audit trail

The service is assembled once per container, and everything of a container runs on one event loop.
"""

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
import structlog

from remit.app import assemble
from remit.audit import Sealer
from remit.change import Message
from remit.deliver import forget, relay, send, sweep, take_step
from remit.entrypoints.answers import headers_of, too_large
from remit.entrypoints.api import Api
from remit.entrypoints.logs import configure_logs
from remit.errors import RemitError
from remit.ports import App
from remit.settings import read_settings

T = TypeVar("T")
Event = Mapping[str, Any]

log = structlog.get_logger("lambda")

_message = msgspec.json.Decoder(Message)


class ProxyRequest:
    """One proxied HTTP request. A load balancer leaves query values as they came; API Gateway
    has decoded them.
    """

    def __init__(self, event: Event, request_id: str) -> None:
        self.method: str = event["httpMethod"]
        self.path: str = event["path"]
        self.request_id = request_id
        self.query = _query(event)
        self._headers = _headers(event)
        self._body: str | None = event.get("body")
        self._is_base64 = bool(event.get("isBase64Encoded"))

    def header(self, name: str) -> str | None:
        return self._headers.get(name)

    async def body(self, *, limit_bytes: int, timeout_seconds: float) -> bytes:
        body = (self._body or "").encode("utf-8", "surrogatepass")
        if self._is_base64:
            body = base64.b64decode(body)
        if len(body) > limit_bytes:
            raise too_large(limit_bytes)
        return body


def _headers(event: Event) -> dict[str, str]:
    """The headers by their names in small letters; of several values the first."""
    if event.get("multiValueHeaders"):
        return {name.lower(): values[0] for name, values in event["multiValueHeaders"].items()}
    return {name.lower(): value for name, value in (event.get("headers") or {}).items()}


def _query(event: Event) -> str:
    several: Mapping[str, list[str]] = event.get("multiValueQueryStringParameters") or {
        name: [value] for name, value in (event.get("queryStringParameters") or {}).items()
    }
    pairs = [(name, value) for name, values in several.items() for value in values]
    if _is_from_load_balancer(event):
        return "&".join(f"{name}={value}" for name, value in pairs)
    return urlencode(pairs)


def _is_from_load_balancer(event: Event) -> bool:
    return "elb" in (event.get("requestContext") or {})


class Functions:
    """What the functions do, over one `App`."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._api = Api(app)
        self._sealer = Sealer(app)

    async def http(self, event: Event) -> dict[str, Any]:
        request = ProxyRequest(event, self._app.new_id())
        answer = await self._api.answer(request)
        proxied: dict[str, Any] = {
            "statusCode": answer.status,
            "isBase64Encoded": False,
            "body": answer.body.decode(),
        }
        headers = headers_of(answer, request.request_id)
        if event.get("multiValueHeaders") and _is_from_load_balancer(event):
            return proxied | {"multiValueHeaders": {name: [value] for name, value in headers}}
        return proxied | {"headers": dict(headers)}

    async def deliver(self, event: Event) -> dict[str, Any]:
        """Sends the messages among the stream's new items. From the first that fails on, the
        stream comes again.
        """
        for record in event["Records"]:
            image = record.get("dynamodb", {}).get("NewImage", {})
            if record["eventName"] != "INSERT" or image.get("kind") != {"S": "message"}:
                continue
            message = _message.decode(image["data"]["S"])
            if not await self._took(self._send(message), message):
                return {
                    "batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]}]
                }
        return {"batchItemFailures": []}

    async def _send(self, message: Message) -> None:
        await send(self._app, message.topic, [message])
        await self._app.outbox.sent([message.id])

    async def failed(self, event: Event) -> dict[str, Any]:
        """Takes the step of each message; those that fail stay in the queue."""
        failures = []
        for record in event["Records"]:
            message = _message.decode(record["body"])
            if not await self._took(self._step(message), message):
                failures.append({"itemIdentifier": record["messageId"]})
        return {"batchItemFailures": failures}

    async def _step(self, message: Message) -> None:
        if (failure := await take_step(self._app, message)) is not None:
            raise failure

    async def _took(self, step: Awaitable[None], message: Message) -> bool:
        """Whether the step was taken. One poisonous message must not stop the others."""
        try:
            await step
        except RemitError as error:
            log.warning(
                "message_failed", message_id=message.id, kind=message.kind, error=error.code
            )
            return False
        except Exception:
            log.exception("message_failed", message_id=message.id, kind=message.kind)
            return False
        return True

    async def tick(self, event: Event) -> dict[str, int]:
        """One round of each of the worker's jobs; how much each found to do."""
        return {
            "swept": await sweep(self._app),
            "relayed": await relay(self._app),
            "sealed": await self._sealer.seal(),
            "forgotten": await forget(self._app),
        }


@cache
def _functions() -> Functions:
    settings = read_settings(os.environ)
    configure_logs(settings.log_level)
    return Functions(assemble(settings))


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _run(function: Callable[[Functions], Awaitable[T]]) -> T:
    async def run() -> T:
        return await function(_functions())

    return _loop().run_until_complete(run())


def http(event: Event, context: object) -> dict[str, Any]:
    return _run(lambda functions: functions.http(event))


def deliver(event: Event, context: object) -> dict[str, Any]:
    return _run(lambda functions: functions.deliver(event))


def failed(event: Event, context: object) -> dict[str, Any]:
    return _run(lambda functions: functions.failed(event))


def tick(event: Event, context: object) -> dict[str, int]:
    return _run(lambda functions: functions.tick(event))
