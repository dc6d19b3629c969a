"""The console's sessions in one process. They end with it."""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

from remit.domain.ids import Clock

MAX_SESSIONS = 10_000


def session_hash(session_id: str) -> str:
    """The hash of a session's id, which is stored. 256 random bits need no slow hash."""
    return hashlib.sha256(session_id.encode()).hexdigest()


class MemorySessions:
    """Sessions. At most `MAX_SESSIONS` are kept, the newest ones."""

    def __init__(self, clock: Clock, new_secret: Callable[[], str]) -> None:
        self._clock = clock
        self._new_secret = new_secret
        self._sessions: dict[str, tuple[str, datetime]] = {}

    async def create(self, subject: str, *, seconds: float) -> str:
        session_id = self._new_secret()
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        until = self._clock() + timedelta(seconds=seconds)
        self._sessions[session_hash(session_id)] = (subject, until)
        return session_id

    async def get(self, session_id: str) -> str | None:
        stored = session_hash(session_id)
        subject, until = self._sessions.get(stored, (None, self._clock()))
        if until <= self._clock():
            self._sessions.pop(stored, None)
            return None
        return subject

    async def end(self, session_id: str) -> None:
        self._sessions.pop(session_hash(session_id), None)
