"""What a route is: all that the service, its documents and its gateways need to know of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from remit.domain.change import Caller, Change, Conflict, IdempotencyRecord, KeyScope
from remit.http.responses import Response, keep
from remit.ports.app import App


class Request(Protocol):
    """One request as a server or a gateway hands it over: its head, and its body when asked for."""

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


@dataclass(frozen=True, slots=True)
class Call:
    """A request to one route, read: authenticated, decoded and within every limit.

    `body` is of the route's type, and `routes` is the table that is served. `scope` and
    `fingerprint` are there if the caller sent an Idempotency-Key.
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
        """What a handler commits with its change, so that a repeat is answered with `response`.

        For a route that `keeps_response`; None where the caller sent no key.
        """
        if self.scope is None:
            return None
        return IdempotencyRecord(
            scope=self.scope,
            fingerprint=self.fingerprint,
            at=app.clock(),
            response=keep(response),
        )


class ClientGone(Exception):
    """The caller hung up before its request was whole: there is nobody to answer."""


class KeyTaken(Exception):
    """Another request under the same key was committed first."""


async def commit_once(app: App, change: Change) -> None:
    """Commits the change of a route that keeps its response. Raises KeyTaken, which the router
    answers with the first request's response.
    """
    match await app.store.commit(change):
        case None:
            return
        case Conflict.KEY_TAKEN:
            raise KeyTaken
        case conflict:
            raise AssertionError(f"a change of its own cannot conflict by {conflict}")


Handler = Callable[[App, Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class QueryField:
    """One query parameter: how it is read (None where it is absent), and how it is documented."""

    name: str
    schema: Mapping[str, Any]
    read: Callable[[str | None], Any]
    description: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """One header that a route takes note of, for its documents."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a status means, the type of its body, and a body as the service really sends it."""

    description: str
    body: type
    example: Any = None


@dataclass(frozen=True, slots=True)
class Tag:
    """A chapter of the documents: routes with one tag stand together."""

    name: str
    description: str


Function = Literal["validation", "processing", "health"]
"""Which Lambda function answers a route, by the name of its module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path.

    `path` has parameters in braces, each a whole segment. Without `function` only the service's own
    server answers the route, and no gateway knows it. `action` is the audit trail's word for it: if
    given, a refusal of the body is recorded under it. A caller needs a key unless `is_public`.
    A route without a `tag` is in no document. With `keeps_response` a repeat under one
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
    answers: Mapping[int, Answer]
    function: Function | None = None
    action: str | None = None
    body: type | None = None
    decode: Callable[[bytes], Any] | None = None
    example: Any = None
    query: tuple[QueryField, ...] = ()
    headers: tuple[Header, ...] = ()
    is_public: bool = False
    is_idempotent: bool = False
    keeps_response: bool = False
    params: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        if (self.body is None) != (self.decode is None):
            raise AssertionError(f"{self.path}: a body needs its decoder")
        names = tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))
        object.__setattr__(self, "params", names)
