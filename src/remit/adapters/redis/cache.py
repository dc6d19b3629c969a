"""Summaries of payments, cached in Redis for a few seconds."""

import msgspec

from remit.adapters.redis.connection import LuaScript, RedisConnection
from remit.domain.errors import Unavailable
from remit.domain.payment import Payment
from remit.domain.payment_summary import PaymentSummary, payment_summary

LATE_SECONDS = 60.0
"""How long the version is kept after the summary has expired. A process that read an older version
from the store puts it here sooner than that, because the store's calls time out sooner.
"""

PUT = LuaScript("""
local held = tonumber(redis.call('GET', KEYS[2]) or '0')
if held > tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[4])
return 1
""")
"""Caches the summary of a version, unless a later version was cached before."""

_encode = msgspec.json.Encoder().encode
_summary = msgspec.json.Decoder(PaymentSummary)


class RedisCache:
    """Cache. A summary expires after `seconds`, also one that a failed put did not replace."""

    def __init__(self, redis: RedisConnection, *, seconds: float) -> None:
        self._redis = redis
        self._seconds = seconds

    async def payment(self, payment_id: str) -> PaymentSummary | None:
        try:
            summary = await self._redis.execute("GET", _keys(payment_id)[0])
            return None if summary is None else _summary.decode(summary)
        except (Unavailable, msgspec.DecodeError):
            return None

    async def put(self, payment: Payment) -> None:
        summary_ms = max(1, round(self._seconds * 1_000))
        version_ms = summary_ms + round(LATE_SECONDS * 1_000)
        body = _encode(payment_summary(payment))
        try:
            await self._redis.run_script(
                PUT, _keys(payment.id), payment.version, body, summary_ms, version_ms
            )
        except Unavailable:
            return

    async def ping(self) -> bool:
        await self._redis.ping()
        return True


def _keys(payment_id: str) -> tuple[str, str]:
    """The keys of the summary and of its version. The braces put both in one slot of a cluster."""
    return f"payment:{{{payment_id}}}", f"payment:{{{payment_id}}}:version"
