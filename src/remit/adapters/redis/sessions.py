"""The console's sessions in Redis, which all processes share."""

from collections.abc import Callable

from remit.adapters.memory.sessions import session_hash
from remit.adapters.redis.connection import RedisConnection


class RedisSessions:
    """Sessions. Raises Unavailable while Redis is down, because then no session can be checked."""

    def __init__(self, redis: RedisConnection, new_secret: Callable[[], str]) -> None:
        self._redis = redis
        self._new_secret = new_secret

    async def create(self, subject: str, *, seconds: float) -> str:
        session_id = self._new_secret()
        milliseconds = max(1, round(seconds * 1_000))
        await self._redis.execute("SET", _key(session_id), subject, "PX", milliseconds)
        return session_id

    async def get(self, session_id: str) -> str | None:
        subject: bytes | None = await self._redis.execute("GET", _key(session_id))
        return None if subject is None else subject.decode()

    async def end(self, session_id: str) -> None:
        await self._redis.execute("DEL", _key(session_id))


def _key(session_id: str) -> str:
    return f"session:{session_hash(session_id)}"
