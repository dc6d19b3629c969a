"""A request for the router, as any server hands it over."""

from dataclasses import dataclass, field


@dataclass
class Sent:
    """One request; names of headers are in small letters."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    text: bytes = b""
    query: str = ""
    request_id: str = "req-1"

    def header(self, name: str) -> str | None:
        return self.headers.get(name)

    async def body(self, *, limit_bytes: int, timeout_seconds: float) -> bytes:
        return self.text
