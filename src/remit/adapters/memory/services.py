"""Topics, a bucket, a signing key and the health monitor's state, in memory."""

import hmac
from collections.abc import Sequence

from remit.domain.change import Message
from remit.domain.health_state import HealthState


class MemoryHealthStates:
    def __init__(self) -> None:
        self.state = HealthState()

    async def latest(self) -> HealthState:
        return self.state

    async def record(self, state: HealthState) -> bool:
        if state.version != self.state.version + 1:
            return False
        self.state = state
        return True


class MemoryPublisher:
    """Publisher that keeps the published messages, as a subscriber would receive them."""

    def __init__(self) -> None:
        self.published: list[Message] = []

    async def publish(self, messages: Sequence[Message]) -> None:
        self.published.extend(messages)


class MemoryBucket:
    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    async def put_new(self, key: str, body: bytes) -> bool:
        return self.objects.setdefault(key, body) is body

    async def get(self, key: str) -> bytes | None:
        return self.objects.get(key)

    async def list(self, prefix: str, after: str, limit: int) -> list[str]:
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        return keys[:limit]


class MemorySigner:
    """Signer by a keyed digest, whose key is its name."""

    def __init__(self, key_id: str = "memory") -> None:
        self.key_id = key_id

    async def sign(self, message: bytes) -> bytes:
        return hmac.digest(self.key_id.encode(), message, "sha256")

    async def is_valid(self, message: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(await self.sign(message), signature)
