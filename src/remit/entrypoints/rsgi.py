"""The API over HTTP, as an RSGI application for Granian. Which server runs it is in `serve.py`."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from granian.rsgi import (  # type: ignore[attr-defined]
    HTTPProtocol,
    ProtocolClosed,
    ProtocolError,
    Scope,
)

from remit.entrypoints.tracing import BeginSpan, untraced
from remit.http.responses import Response, Unreadable, json_response, response_headers, too_large
from remit.http.route import ClientGone
from remit.http.router import Api
from remit.ports.app import App

LIVE = "/live"
"""For a platform's own checks: of no merchant's concern, and in no document for them."""

DRAIN_BYTES = 2**20
"""How much of a body that is too large is read and dropped, so that its sender reads our answer."""

NO_TEXT = "\ufffd"
"""Stands for a header's value that is no ASCII text: right for nothing, and refused as wrong."""


Responded = Callable[[str, str, int, timedelta], None]
"""Takes method and path of a request, the status it was answered with, and how long that took."""


class HttpRequest:
    """One request: its head, and its body when asked for."""

    __slots__ = ("_headers", "_protocol", "method", "path", "query", "request_id")

    def __init__(self, scope: Scope, protocol: HTTPProtocol, request_id: str) -> None:
        self.method = scope.method
        self.path = scope.path
        self.query = scope.query_string
        self._headers = scope.headers
        self.request_id = request_id
        self._protocol = protocol

    def header(self, name: str) -> str | None:
        """The header's value; one that is there and is no ASCII text is never taken for absent."""
        value: str | None = self._headers.get(name)
        return NO_TEXT if value is None and name in self._headers else value

    async def body(self, *, limit_bytes: int, timeout_seconds: float) -> bytes:
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._read(limit_bytes)
        except TimeoutError as error:
            raise Unreadable(
                "body_timeout", f"The body did not arrive within {timeout_seconds:g} s."
            ) from error
        except (ProtocolClosed, ProtocolError) as error:
            raise ClientGone from error

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
            raise too_large(limit_bytes)
        return b"".join(chunks)


class HttpApi:
    """The RSGI application over one `App`."""

    def __init__(
        self, app: App, begin: BeginSpan = untraced, responded: Responded | None = None
    ) -> None:
        """Calls `responded`, if given, after each response."""
        self._app = app
        self._api = Api(app)
        self._begin = None if begin is untraced else begin
        self._responded = responded
        self._draining = False

    def drain(self) -> None:
        """From now on whoever balances the load is told to go elsewhere. Requests are answered."""
        self._draining = True

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        request = HttpRequest(scope, protocol, self._app.new_id())
        began = None if self._responded is None else self._app.clock()
        try:
            if scope.path == LIVE:
                answer = self._live()
            elif self._begin is None:
                answer = await self._api.answer(request)
            else:
                with self._begin(_span_name(request), request.header("x-amzn-trace-id")):
                    answer = await self._api.answer(request)
        except ClientGone:
            return
        headers = response_headers(answer, request.request_id)
        if self._draining:
            headers.append(("connection", "close"))
        if answer.file is None:
            protocol.response_bytes(answer.status, headers, answer.body)
        else:
            protocol.response_file(answer.status, headers, answer.file)
        if self._responded is not None and began is not None:
            self._responded(scope.method, scope.path, answer.status, self._app.clock() - began)

    def _live(self) -> Response:
        """Whether this process takes requests. Asks nobody else: what is down behind it is down
        for every other process too.
        """
        if self._draining:
            return json_response({"status": "draining"}, 503)
        return json_response({"status": "live"})


def _span_name(request: HttpRequest) -> str:
    """Without ids, which would make each payment a kind of request of its own."""
    return f"{request.method} /{request.path[1:].partition('/')[0][:40]}"
