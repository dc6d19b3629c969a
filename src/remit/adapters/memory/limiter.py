"""Rate limits of one process: a token bucket for each key. Each process allows the full rate."""

import math
from datetime import datetime

from remit.domain.ids import Clock

MAX_KEYS = 100_000


class LocalLimiter:
    """Limiter. Allows `per_second` on average and `burst` at once."""

    def __init__(self, clock: Clock, *, per_second: int, burst: int) -> None:
        self._clock = clock
        self._per_second = per_second
        self._burst = burst
        self._buckets: dict[str, tuple[float, datetime]] = {}

    async def take(self, key: str) -> int | None:
        now = self._clock()
        tokens, since = self._buckets.get(key, (float(self._burst), now))
        elapsed = max(0.0, (now - since).total_seconds())
        tokens = min(float(self._burst), tokens + elapsed * self._per_second)
        if tokens < 1:
            return math.ceil((1 - tokens) / self._per_second)
        if len(self._buckets) >= MAX_KEYS:
            self._buckets.clear()
        self._buckets[key] = (tokens - 1, now)
        return None
