"""Rate limits in Redis, which all processes of the service share."""

import math

from remit.adapters.redis.connection import LuaScript, RedisConnection
from remit.domain.errors import Unavailable
from remit.ports.process_state import Limiter

PARTS = 20
"""The number of parts of a window. A key has at most one field for each part, and one more."""

TAKE = LuaScript("""
local part, parts, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local current = math.floor(now / part)
local taken, oldest = 0, current
local held = redis.call('HGETALL', KEYS[1])
for i = 1, #held, 2 do
  local at = tonumber(held[i])
  if at < current - parts or at > current + parts then
    redis.call('HDEL', KEYS[1], held[i])
  else
    taken = taken + tonumber(held[i + 1])
    oldest = math.min(oldest, at)
  end
end
if taken >= burst then
  return (oldest + parts + 1) * part - now
end
redis.call('HINCRBY', KEYS[1], string.format('%.0f', current), 1)
redis.call('PEXPIRE', KEYS[1], math.ceil((parts + 2) * part / 1000))
return 0
""")
"""Counts one request in the current part of the window, by Redis's own clock.

Returns 0, or the microseconds until the oldest part has left the window. A part counts as a whole
while any of it is in the window, so no window has more than `burst` requests, whenever it starts.
"""


class RedisLimiter:
    """Limiter. Allows at most `burst` requests of a key in any `burst / per_second` seconds.

    This holds over all processes. A key in constant use gets at least 95 % of `per_second`. While
    Redis is down, `fallback` limits the requests of this process alone.
    """

    def __init__(
        self, redis: RedisConnection, *, per_second: int, burst: int, fallback: Limiter
    ) -> None:
        self._redis = redis
        self._part_us = math.ceil(1_000_000 * burst / (per_second * PARTS))
        self._burst = burst
        self._fallback = fallback

    async def take(self, key: str) -> int | None:
        try:
            wait_us = await self._redis.run_script(
                TAKE, [f"limit:{key}"], self._part_us, PARTS, self._burst
            )
        except Unavailable:
            return await self._fallback.take(key)
        return math.ceil(wait_us / 1_000_000) if wait_us else None
