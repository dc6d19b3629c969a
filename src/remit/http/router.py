"""The API, whoever carries it: routes, authentication, bodies decoded into typed requests.

Every answer, whatever goes wrong, has the contract's shape and an `X-Request-Id`. What carries it
is elsewhere: a server in `http.py`.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

import structlog

from remit.domain.change import Caller
from remit.domain.errors import InvalidRequest, NotFound, RemitError
from remit.domain.ids import is_id
from remit.domain.payment import Payment
from remit.domain.payment_summary import PaymentSummary
from remit.http import requests
from remit.http.responses import (
    Response,
    error_of,
    error_response,
    internal_error_response,
    json_response,
    page_response,
    payment_response,
    process_response,
    validate_response,
)
from remit.oversight.api_keys import Authenticator
from remit.oversight.health import health
from remit.payments.process import enqueue, process
from remit.payments.results import reject
from remit.payments.validate import validate
from remit.ports.app import App
from remit.ports.store import PageQuery

T = TypeVar("T")

PAGE_FIELDS = frozenset({"limit", "cursor", "status", "customer_id", "payment_id"})
DEFAULT_PAGE, MAX_PAGE = 20, 100

log = structlog.get_logger("api")


class ClientGone(Exception):
    """The caller hung up before its request was whole: nobody is left to answer."""


class Request(Protocol):
    """One request: its head, and its body when asked for."""

    method: str
    path: str
    query: str
    request_id: str

    def header(self, name: str) -> str | None:
        """The header's value, found by its name in small letters."""
        ...

    async def body(self, *, limit_bytes: int, timeout_seconds: float) -> bytes:
        """The whole body. Raises Unreadable when it is too large or too slow, or ClientGone."""
        ...


Handler = Callable[[Request], Awaitable[Response]]


class Api:
    """Answers requests over one `App`."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._authenticate = Authenticator(app)
        self._routes: Mapping[str, Mapping[str, Handler]] = {
            "/validate": {"POST": self._validate},
            "/process": {"POST": self._process},
            "/payments": {"GET": self._list},
            "/health": {"GET": self._health},
            "/openapi.json": {"GET": self._openapi},
            "/docs": {"GET": self._docs},
        }

    async def answer(self, request: Request) -> Response:
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
            return error_response(error, request.request_id)
        except ClientGone:
            raise
        except Exception:
            log.exception("request_failed", request_id=request.request_id, path=request.path)
            return internal_error_response(request.request_id)

    async def _caller(self, request: Request) -> Caller:
        secret = requests.api_key(request.header("x-api-key"), request.header("authorization"))
        return await self._authenticate(secret, request.request_id)

    async def _read(
        self, request: Request, caller: Caller, action: str, decode: Callable[[bytes], T]
    ) -> tuple[T, str | None]:
        """What is asked for, and under which key. The audit trail keeps what cannot be read."""
        settings = self._app.settings
        try:
            requests.require_json(request.header("content-type"))
            body = await request.body(
                limit_bytes=settings.max_body_bytes, timeout_seconds=settings.body_timeout_seconds
            )
            key = requests.read_idempotency_key(request.header("idempotency-key"))
            return decode(body), key
        except InvalidRequest as error:
            await reject(self._app, caller, action, error)
            raise

    async def _validate(self, request: Request) -> Response:
        caller = await self._caller(request)
        wanted, key = await self._read(request, caller, "validate", requests.read_payment_request)
        return validate_response(await validate(self._app, caller, wanted, key), request.request_id)

    async def _process(self, request: Request) -> Response:
        caller = await self._caller(request)
        wanted, key = await self._read(request, caller, "process", requests.read_process_request)
        take = enqueue if requests.prefers_async(request.header("prefer")) else process
        return process_response(await take(self._app, caller, wanted, key), request.request_id)

    async def _show(self, request: Request) -> Response:
        caller = await self._caller(request)
        payment_id = request.path.removeprefix("/payments/")
        payment = await self._look_up(payment_id) if is_id(payment_id) else None
        if payment is None or (payment.merchant_id, payment.mode) != (
            caller.merchant_id,
            caller.mode,
        ):
            raise NotFound("payment", param="transaction_id")
        return payment_response(payment)

    async def _look_up(self, payment_id: str) -> Payment | PaymentSummary | None:
        """To be shown, as it is or was a moment ago. Whose it is, is for the caller to ask."""
        known = await self._app.process_state.cache.payment(payment_id)
        if known is not None:
            return known
        payment = await self._app.store.payment(payment_id)
        if payment is not None:
            await self._app.process_state.cache.put(payment)
        return payment

    async def _list(self, request: Request) -> Response:
        caller = await self._caller(request)
        fields = requests.read_query(request.query, PAGE_FIELDS)
        limit = requests.read_limit(fields.get("limit"), default=DEFAULT_PAGE, maximum=MAX_PAGE)
        query = PageQuery(
            merchant_id=caller.merchant_id,
            mode=caller.mode,
            limit=limit + 1,
            cursor=requests.read_cursor(fields.get("cursor")),
            state=requests.read_status(fields.get("status")),
            customer_id=fields.get("customer_id"),
            reference=fields.get("payment_id"),
        )
        return page_response(await self._app.database.reader.page(query), limit)

    async def _health(self, request: Request) -> Response:
        seen = await health(self._app)
        return json_response(seen, 200 if seen.status == "healthy" else 503)

    async def _openapi(self, request: Request) -> Response:
        # Imported here: a function that only takes payments does not describe them.
        from remit.http.openapi import document

        return json_response(document(self._app.settings))

    async def _docs(self, request: Request) -> Response:
        from remit.http.openapi import document, page

        policy = ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'")
        shown = page(document(self._app.settings)).encode()
        return Response(200, shown, (policy,), media_type="text/html; charset=utf-8")


def _problem(request: Request, status: int, code: str, message: str) -> Response:
    return error_of(status, "invalid_request_error", code, message, request.request_id)


def _not_allowed(request: Request, methods: Mapping[str, Handler]) -> Response:
    allowed = ", ".join(methods)
    problem = _problem(request, 405, "method_not_allowed", f"This path takes {allowed}.")
    return Response(problem.status, problem.body, (("allow", allowed),))
