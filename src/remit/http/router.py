"""Routes requests by the table of routes, for every server and gateway.

For every route it authenticates the caller, reads and decodes the body within its limits, audits a
body that is rejected, and replays a repeat under one Idempotency-Key. Every error response has the
same form.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from remit.domain.caller import Caller, KeyScope
from remit.domain.errors import InvalidRequest, RemitError
from remit.http import requests
from remit.http.responses import (
    Response,
    as_replay,
    decode_response,
    error_response,
    http_error,
)
from remit.http.route import Call, ClientDisconnected, KeyTaken, Request, Route
from remit.http.routes import ROUTES
from remit.oversight.api_keys import Authenticator
from remit.payments.results import check_same_request, reject
from remit.ports.app import App

log = structlog.get_logger("api")

PUBLIC_CALLER = Caller("", "test", "public", "")
"""The caller of a route that needs no API key."""


class RouteTable:
    """Finds routes by path and method. A parameter matches one whole segment of a path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._fixed: dict[str, dict[str, Route]] = {}
        self._patterns: dict[tuple[int, str], list[tuple[tuple[str, ...], dict[str, Route]]]] = {}
        for route in routes:
            methods = self._methods(route)
            if route.method in methods:
                raise AssertionError(f"{route.method} {route.path} is in the table twice")
            methods[route.method] = route

    def _methods(self, route: Route) -> dict[str, Route]:
        if not route.params:
            return self._fixed.setdefault(route.path, {})
        parts = tuple(route.path.split("/"))
        known = self._patterns.setdefault((len(parts), parts[1]), [])
        for pattern, methods in known:
            if pattern == parts:
                return methods
        known.append((parts, {}))
        return known[-1][1]

    def find(self, path: str) -> tuple[Mapping[str, Route], tuple[str, ...]] | None:
        """The routes of a path by method, and the values of its parameters in order."""
        if (methods := self._fixed.get(path)) is not None:
            return methods, ()
        parts = path.split("/")
        if len(parts) < 3:
            return None
        for pattern, routes in self._patterns.get((len(parts), parts[1]), ()):
            values = _values(pattern, parts)
            if values is not None:
                return routes, values
        return None


def _values(pattern: tuple[str, ...], parts: list[str]) -> tuple[str, ...] | None:
    values = []
    for expected, part in zip(pattern, parts, strict=True):
        if expected.startswith("{"):
            values.append(part)
        elif expected != part:
            return None
    return tuple(values)


class Api:
    """The HTTP API of one `App`."""

    def __init__(self, app: App, routes: Iterable[Route] = ROUTES) -> None:
        self._app = app
        self._authenticate = Authenticator(app)
        self._routes = tuple(routes)
        self._table = RouteTable(self._routes)

    async def respond(self, request: Request) -> Response:
        """The response to any request. An unexpected error is logged, with status 500.

        Raises ClientDisconnected.
        """
        try:
            match = self._table.find(request.path)
            if match is None:
                return http_error("route_unknown", request.request_id)
            methods, values = match
            route = methods.get(request.method)
            if route is None:
                return _not_allowed(request, methods)
            return await self._handle(route, request, values)
        except RemitError as error:
            return error_response(error, request.request_id)
        except ClientDisconnected:
            raise
        except Exception:
            log.exception("request_failed", request_id=request.request_id, path=request.path)
            return http_error("internal", request.request_id)

    async def _handle(self, route: Route, request: Request, values: tuple[str, ...]) -> Response:
        caller = PUBLIC_CALLER
        if not route.is_public:
            secret = requests.read_api_key(
                request.header("x-api-key"), request.header("authorization")
            )
            caller = await self._authenticate(secret, request.request_id)
            self._app.idle.record_work()
        call = await self._read(
            route, request, caller, dict(zip(route.params, values, strict=True))
        )
        if not route.stores_response or call.scope is None:
            return await route.handler(self._app, call)
        return await self._respond_once(route, call, call.scope)

    async def _respond_once(self, route: Route, call: Call, scope: KeyScope) -> Response:
        """The response that is stored under the key, or the handler's, which is stored in the
        commit of its change.
        """
        if (earlier := await self._replay(call, scope)) is not None:
            return earlier
        try:
            return await route.handler(self._app, call)
        except KeyTaken:
            first = await self._replay(call, scope)
            if first is None:
                raise AssertionError("a key that is taken has its record") from None
            return first

    async def _replay(self, call: Call, scope: KeyScope) -> Response | None:
        record = await self._app.store.record(scope)
        if record is None:
            return None
        check_same_request(record, call.fingerprint)
        if record.response is None:
            raise AssertionError(f"{scope.operation} stores its response with its change")
        return as_replay(decode_response(record.response))

    async def _read(
        self, route: Route, request: Request, caller: Caller, params: Mapping[str, str]
    ) -> Call:
        """Reads the request. A body that is rejected leaves an audit entry of the route's action.

        Raises InvalidRequest.
        """
        try:
            if route.decode is None:
                return Call(request, caller, params, self._query(route, request), self._routes)
            body = await self._body(request)
            scope = _scope(route, request, caller)
            fingerprint = self._app.vault.fingerprint(body) if route.stores_response else ""
            return Call(
                request, caller, params, {}, self._routes, route.decode(body), scope, fingerprint
            )
        except InvalidRequest as error:
            if route.action is not None:
                await reject(self._app, caller, route.action, error)
            raise

    async def _body(self, request: Request) -> bytes:
        settings = self._app.settings
        requests.require_json(request.header("content-type"))
        return await request.body(
            limit_bytes=settings.max_body_bytes, timeout_seconds=settings.body_timeout_seconds
        )

    def _query(self, route: Route, request: Request) -> Mapping[str, Any]:
        if not route.query:
            return {}
        fields = requests.read_query(request.query, [field.name for field in route.query])
        return {field.name: field.read(fields.get(field.name)) for field in route.query}


def _scope(route: Route, request: Request, caller: Caller) -> KeyScope | None:
    """The request's Idempotency-Key, within its merchant, mode and path. Raises InvalidRequest."""
    key = requests.read_idempotency_key(request.header("idempotency-key"))
    if key is None or not (route.is_idempotent or route.stores_response):
        return None
    return KeyScope(caller.merchant_id, caller.mode, f"{request.method} {request.path}", key)


def _not_allowed(request: Request, methods: Mapping[str, Route]) -> Response:
    allowed = ", ".join(methods)
    response = http_error("method_not_allowed", request.request_id, f"This path takes {allowed}.")
    return Response(response.status, response.body, (("allow", allowed),))
