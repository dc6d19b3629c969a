"""The HTTP API as one ASGI application, without a web framework on the path of a payment.

Routes are a table; bodies are decoded straight into typed requests; every answer, whatever goes
wrong, has the contract's shape and an `X-Request-Id`. Which server runs it is in `serve.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import structlog

from remit.change import Caller
from remit.entrypoints import openapi, wire
from remit.entrypoints.answers import (
    Answer,
    error_answer,
    internal_error,
    json_answer,
    page_answer,
    payment_answer,
    plain_error,
    processed,
    validated,
)
from remit.errors import InvalidRequest, NotFound, RemitError
from remit.health import health
from remit.keys import Authenticator
from remit.outcome import refuse
from remit.ports import App, PageQuery, is_id
from remit.process import enqueue, process
from remit.validate import validate

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

DRAIN_BYTES = 2**20
"""How much of a body that is too large is read and dropped, so that its sender reads our answer."""

PAGE_FIELDS = frozenset({"limit", "cursor", "status", "customer_id", "payment_id"})
DEFAULT_PAGE, MAX_PAGE = 20, 100

log = structlog.get_logger("http")


class ClientGone(Exception):
    """The caller hung up before its request was whole: nobody is left to answer."""


class Request:
    """One request: its head, and its body when asked for."""

    __slots__ = ("_headers", "_receive", "method", "path", "query", "request_id")

    def __init__(self, scope: Scope, receive: Receive, request_id: str) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode("latin-1")
        self.request_id = request_id
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._receive = receive

    def header(self, name: bytes) -> str | None:
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    async def body(self, *, limit_bytes: int, timeout_seconds: float) -> bytes:
        """The whole body. Raises Unreadable when it is too large, too slow or not JSON."""
        media = (self.header(b"content-type") or "").partition(";")[0].strip().lower()
        if media != "application/json":
            raise Unreadable(415, "content_type", "Send JSON with Content-Type: application/json.")
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit_bytes:
            await self._drain(timeout_seconds)
            raise _too_large(limit_bytes)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(timeout_seconds):
                async for chunk in self._chunks():
                    size += len(chunk)
                    if size > limit_bytes:
                        raise _too_large(limit_bytes)
                    chunks.append(chunk)
        except TimeoutError as error:
            raise Unreadable(
                408, "body_timeout", f"The body did not arrive within {timeout_seconds:g} s."
            ) from error
        return b"".join(chunks)

    async def _chunks(self) -> Any:
        while True:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise ClientGone
            yield event.get("body", b"")
            if not event.get("more_body"):
                return

    async def _drain(self, timeout_seconds: float) -> None:
        size = 0
        try:
            async with asyncio.timeout(timeout_seconds):
                async for chunk in self._chunks():
                    size += len(chunk)
                    if size > DRAIN_BYTES:
                        return
        except TimeoutError:
            return


class Unreadable(Exception):
    """A body that cannot be taken as JSON at all, with the status that says so."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def _too_large(limit_bytes: int) -> Unreadable:
    return Unreadable(413, "body_too_large", f"The body is larger than {limit_bytes} bytes.")


Handler = Callable[[Request], Awaitable[Answer]]


class Api:
    """The ASGI application over one `App`."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._authenticate = Authenticator(app)
        self._document = openapi.document(app.settings)
        self._routes: Mapping[str, Mapping[str, Handler]] = {
            "/validate": {"POST": self._validate},
            "/process": {"POST": self._process},
            "/payments": {"GET": self._list},
            "/health": {"GET": self._health},
            "/openapi.json": {"GET": self._openapi},
            "/docs": {"GET": self._docs},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, self._app.new_id())
        try:
            answer = await self._answer(request)
        except ClientGone:
            return
        headers = [
            (b"content-type", b"application/json"),
            (b"x-request-id", request.request_id.encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
        ]
        for name, value in answer.headers:
            if name == "content-type":
                headers[0] = (b"content-type", value.encode())
            else:
                headers.append((name.encode(), value.encode()))
        headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, request: Request) -> Answer:
        """The answer to any request: the one place that catches what nobody foresaw."""
        try:
            methods = self._routes.get(request.path)
            if methods is None and request.path.startswith("/payments/"):
                methods = {"GET": self._show}
            if methods is None:
                return _problem(request, 404, "route_unknown", "There is nothing at this path.")
            handler = methods.get(request.method)
            if handler is None:
                return _not_allowed(request, methods)
            return await handler(request)
        except RemitError as error:
            return error_answer(error, request.request_id)
        except ClientGone:
            raise
        except Exception:
            log.exception("request_failed", request_id=request.request_id, path=request.path)
            return internal_error(request.request_id)

    async def _caller(self, request: Request) -> Caller:
        secret = wire.api_key(request.header(b"x-api-key"), request.header(b"authorization"))
        return await self._authenticate(secret, request.request_id)

    async def _body(self, request: Request, caller: Caller, action: str) -> bytes | Answer:
        """The body, or the answer to one that is unreadable, which the audit trail keeps too."""
        settings = self._app.settings
        try:
            return await request.body(
                limit_bytes=settings.max_body_bytes, timeout_seconds=settings.body_timeout_seconds
            )
        except Unreadable as unreadable:
            error = InvalidRequest(unreadable.message, param=None, code=unreadable.code)
            await refuse(self._app, caller, action, error)
            return _problem(request, unreadable.status, unreadable.code, unreadable.message)

    async def _validate(self, request: Request) -> Answer:
        caller = await self._caller(request)
        body = await self._body(request, caller, "validate")
        if isinstance(body, Answer):
            return body
        try:
            key = wire.read_idempotency_key(request.header(b"idempotency-key"))
            wanted = wire.read_payment_request(body)
        except InvalidRequest as error:
            await refuse(self._app, caller, "validate", error)
            raise
        return validated(await validate(self._app, caller, wanted, key), request.request_id)

    async def _process(self, request: Request) -> Answer:
        caller = await self._caller(request)
        body = await self._body(request, caller, "process")
        if isinstance(body, Answer):
            return body
        try:
            key = wire.read_idempotency_key(request.header(b"idempotency-key"))
            wanted = wire.read_process_request(body)
        except InvalidRequest as error:
            await refuse(self._app, caller, "process", error)
            raise
        later = wire.prefers_async(request.header(b"prefer"))
        outcome = await (enqueue if later else process)(self._app, caller, wanted, key)
        return processed(outcome, request.request_id)

    async def _show(self, request: Request) -> Answer:
        caller = await self._caller(request)
        payment_id = request.path.removeprefix("/payments/")
        payment = await self._app.store.payment(payment_id) if is_id(payment_id) else None
        if payment is None or (payment.merchant_id, payment.mode) != (
            caller.merchant_id,
            caller.mode,
        ):
            raise NotFound("payment", param="transaction_id")
        return payment_answer(payment)

    async def _list(self, request: Request) -> Answer:
        caller = await self._caller(request)
        fields = wire.read_query(request.query, PAGE_FIELDS)
        limit = wire.read_limit(fields.get("limit"), default=DEFAULT_PAGE, maximum=MAX_PAGE)
        query = PageQuery(
            merchant_id=caller.merchant_id,
            mode=caller.mode,
            limit=limit + 1,
            cursor=wire.read_cursor(fields.get("cursor")),
            state=wire.read_status(fields.get("status")),
            customer_id=fields.get("customer_id"),
            reference=fields.get("payment_id"),
        )
        return page_answer(await self._app.reader.page(query), limit)

    async def _health(self, request: Request) -> Answer:
        seen = await health(self._app)
        return json_answer(seen, 200 if seen.status == "healthy" else 503)

    async def _openapi(self, request: Request) -> Answer:
        return json_answer(self._document)

    async def _docs(self, request: Request) -> Answer:
        page = openapi.page(self._document).encode()
        return Answer(
            200,
            page,
            (
                ("content-type", "text/html; charset=utf-8"),
                ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'"),
            ),
        )


def _problem(request: Request, status: int, code: str, message: str) -> Answer:
    return plain_error(status, "invalid_request_error", code, message, request.request_id)


def _not_allowed(request: Request, methods: Mapping[str, Handler]) -> Answer:
    allowed = ", ".join(methods)
    problem = _problem(request, 405, "method_not_allowed", f"This path takes {allowed}.")
    return Answer(problem.status, problem.body, (("allow", allowed),))
