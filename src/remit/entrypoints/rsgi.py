"""The API over HTTP, as an RSGI application. `entrypoints/serve.py` runs it on Granian."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from granian.rsgi import (  # type: ignore[attr-defined]
    HTTPProtocol,
    ProtocolClosed,
    ProtocolError,
    Scope,
)

from remit.entrypoints.tracing import StartSpan, no_span
from remit.http.responses import (
    Response,
    UnreadableBody,
    body_too_large,
    json_response,
    response_headers,
)
from remit.http.route import ClientDisconnected
from remit.http.router import Api
from remit.ports.app import App

LIVE = "/live"
"""The path of a platform's liveness check. It is no route of the API, and is not documented."""

DRAIN_BYTES = 2**20
"""How much of a body that is too large is read and dropped. A caller that is still sending would
not read the response.
"""

NO_TEXT = "\ufffd"
"""Replaces a header's value that is not ASCII. It is no valid value of any header."""


OnResponse = Callable[[str, str, int, timedelta], None]
"""Takes the method and path of a request, the status of its response, and how long it took."""


class HttpRequest:
    """A Request from Granian."""

    __slots__ = ("_headers", "_protocol", "method", "path", "query", "request_id")

    def __init__(self, scope: Scope, protocol: HTTPProtocol, request_id: str) -> None:
        self.method = scope.method
        self.path = scope.path
        self.query = scope.query_string
        self._headers = scope.headers
        self.request_id = request_id
        self._protocol = protocol

    def header(self, name: str) -> str | None:
        """The header's value. One that is not ASCII is `NO_TEXT`, so that it is not taken for
        absent.
        """
        value: str | None = self._headers.get(name)
        return NO_TEXT if value is None and name in self._headers else value

    async def body(self, *, limit_bytes: int, timeout_seconds: float) -> bytes:
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._read(limit_bytes)
        except TimeoutError as error:
            raise UnreadableBody(
                "body_timeout", f"The body did not arrive within {timeout_seconds:g} s."
            ) from error
        except (ProtocolClosed, ProtocolError) as error:
            raise ClientDisconnected from error

    async def _read(self, limit_bytes: int) -> bytes:
        declared = self.header("content-length")
        if declared is not None and declared.isdigit() and int(declared) <= limit_bytes:
            return await self._protocol()
        chunks: list[bytes] = []
        size = 0
        async for chunk in self._protocol:
            size += len(chunk)
            if size > DRAIN_BYTES:
                break
            if size <= limit_bytes:
                chunks.append(chunk)
        if size > limit_bytes:
            raise body_too_large(limit_bytes)
        return b"".join(chunks)


class HttpApi:
    """The RSGI application over one `App`."""

    def __init__(
        self, app: App, start_span: StartSpan = no_span, on_response: OnResponse | None = None
    ) -> None:
        """Calls `on_response` after each response."""
        self._app = app
        self._api = Api(app)
        self._start_span = None if start_span is no_span else start_span
        self._on_response = on_response
        self._draining = False

    def drain(self) -> None:
        """Makes `/live` fail, so that a load balancer stops sending requests. They are still
        answered.
        """
        self._draining = True

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        request = HttpRequest(scope, protocol, self._app.new_id())
        started_at = None if self._on_response is None else self._app.clock()
        try:
            if scope.path == LIVE:
                response = self._live()
            elif self._start_span is None:
                response = await self._api.respond(request)
            else:
                with self._start_span(_span_name(request), request.header("x-amzn-trace-id")):
                    response = await self._api.respond(request)
        except ClientDisconnected:
            return
        headers = response_headers(response, request.request_id)
        if self._draining:
            headers.append(("connection", "close"))
        if response.file is None:
            protocol.response_bytes(response.status, headers, response.body)
        else:
            protocol.response_file(response.status, headers, response.file)
        if self._on_response is not None and started_at is not None:
            took = self._app.clock() - started_at
            self._on_response(scope.method, scope.path, response.status, took)

    def _live(self) -> Response:
        """Whether this process takes requests.

        It checks no dependency, because one that is down is down for every other process too.
        """
        if self._draining:
            return json_response({"status": "draining"}, 503)
        return json_response({"status": "live"})


def _span_name(request: HttpRequest) -> str:
    """The method and the first segment of the path, so that all payments have one name."""
    return f"{request.method} /{request.path[1:].partition('/')[0][:40]}"
