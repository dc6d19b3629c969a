"""The type of a route, and of the call that its handler gets."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from remit.domain.caller import Caller, KeyScope
from remit.domain.change import Change, Conflict, IdempotencyRecord
from remit.http.responses import Response, encode_response
from remit.ports.app import App


class Request(Protocol):
    """A request from any server or gateway. Its body is read when it is needed."""

    method: str
    path: str
    query: str
    request_id: str

    def header(self, name: str) -> str | None:
        """The value of the header, whose name is given in small letters."""
        ...

    async def body(self, *, limit_bytes: int, timeout_seconds: float) -> bytes:
        """The whole body. Raises UnreadableBody if it is too large or too slow, and
        ClientDisconnected.
        """
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """A request to one route, after it was authenticated, limited and decoded.

    `body` has the route's type. `routes` is the table that is served. `scope` and `fingerprint` are
    set if the caller sent an Idempotency-Key.
    """

    request: Request
    caller: Caller
    params: Mapping[str, str]
    query: Mapping[str, Any]
    routes: "tuple[Route, ...]"
    body: Any = None
    scope: KeyScope | None = None
    fingerprint: str = ""

    def record(self, app: App, response: Response) -> IdempotencyRecord | None:
        """The idempotency record that a handler commits with its change, to replay `response`.

        For a route that `stores_response`. None if the caller sent no key.
        """
        if self.scope is None:
            return None
        return IdempotencyRecord(
            scope=self.scope,
            fingerprint=self.fingerprint,
            at=app.clock(),
            response=encode_response(response),
        )


class ClientDisconnected(Exception):
    """The caller disconnected before its request was complete, so no response can be sent."""


class KeyTaken(Exception):
    """Another request under the same idempotency key was committed first."""


async def commit_once(app: App, change: Change) -> None:
    """Commits the change of a route that stores its response.

    Raises KeyTaken, which makes the router replay the first response.
    """
    match await app.store.commit(change):
        case None:
            return
        case Conflict.KEY_TAKEN:
            raise KeyTaken
        case conflict:
            raise AssertionError(f"a change without a payment cannot conflict by {conflict}")


Handler = Callable[[App, Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class QueryField:
    """One query parameter. `read` takes its text, or None if it is absent."""

    name: str
    schema: Mapping[str, Any]
    read: Callable[[str | None], Any]
    description: str = ""


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """One header that a route reads, for the OpenAPI document."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ResponseSpec:
    """One response of a route: its meaning, the type of its body, and an example of a body."""

    description: str
    body: type
    example: Any = None


@dataclass(frozen=True, slots=True)
class Tag:
    """A chapter of the documents: routes with one tag stand together."""

    name: str
    description: str


Function = Literal["validation", "processing", "health"]
"""The Lambda function that answers a route, by the name of its module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path.

    `path` has parameters in braces, each a whole segment. Without `function` only the service's own
    server answers the route, and no gateway knows it. `action` is the audit trail's word for it: if
    given, a refusal of the body is recorded under it. A caller needs a key unless `is_public`.
    A route without a `tag` is in no document. With `stores_response` a repeat under one
    Idempotency-Key is answered with the stored response; other idempotent routes replay from the
    payment's own record.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    name: str
    handler: Handler
    summary: str
    tag: Tag | None
    description: str = ""
    responses: Mapping[int, ResponseSpec]
    function: Function | None = None
    action: str | None = None
    body: type | None = None
    decode: Callable[[bytes], Any] | None = None
    example: Any = None
    query: tuple[QueryField, ...] = ()
    headers: tuple[RequestHeader, ...] = ()
    is_public: bool = False
    is_idempotent: bool = False
    stores_response: bool = False
    params: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        if (self.body is None) != (self.decode is None):
            raise AssertionError(f"{self.path}: a body needs its decoder")
        names = tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))
        object.__setattr__(self, "params", names)
