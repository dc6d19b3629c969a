"""Payments as they are shown, in Redis for a few seconds."""

import msgspec

from remit.adapters.redis.connection import RedisConnection, Script
from remit.domain.errors import Unavailable
from remit.domain.payment import Payment
from remit.domain.payment_summary import PaymentSummary, payment_summary

LATE_SECONDS = 60.0
"""Longer than anybody who has read a payment takes to put it here: the store's calls give up
sooner. For so long a version is remembered after what was shown of it is gone.
"""

PUT = Script("""
local held = tonumber(redis.call('GET', KEYS[2]) or '0')
if held > tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[4])
return 1
""")
"""Keeps what is shown of a version, unless a later one has been here."""

_encode = msgspec.json.Encoder().encode
_shown = msgspec.json.Decoder(PaymentSummary)


class RedisCache:
    """Cache. What a put that failed leaves behind is gone after `seconds`."""

    def __init__(self, redis: RedisConnection, *, seconds: float) -> None:
        self._redis = redis
        self._seconds = seconds

    async def payment(self, payment_id: str) -> PaymentSummary | None:
        try:
            found = await self._redis.ask("GET", _keys(payment_id)[0])
            return None if found is None else _shown.decode(found)
        except (Unavailable, msgspec.DecodeError):
            return None

    async def put(self, payment: Payment) -> None:
        kept_ms = max(1, round(self._seconds * 1_000))
        remembered_ms = kept_ms + round(LATE_SECONDS * 1_000)
        body = _encode(payment_summary(payment))
        try:
            await self._redis.run(
                PUT, _keys(payment.id), payment.version, body, kept_ms, remembered_ms
            )
        except Unavailable:
            return

    async def ping(self) -> bool:
        await self._redis.ping()
        return True


def _keys(payment_id: str) -> tuple[str, str]:
    """What is shown, and its version: in braces, so that a cluster keeps both in one place."""
    return f"payment:{{{payment_id}}}", f"payment:{{{payment_id}}}:version"
