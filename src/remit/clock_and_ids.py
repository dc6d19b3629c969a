"""The real clock, ids and randomness. No other module may read them.

Everything else takes them as arguments, so that tests and simulations control them.
"""

import os
import secrets
from datetime import UTC, datetime
from time import time_ns


def now() -> datetime:
    return datetime.now(UTC)


class Ids:
    """Makes UUIDs of version 7, each greater than the one before (RFC 9562, section 6.2, method 3).

    48 bits are milliseconds, 12 the fraction of a millisecond, and 62 are random. So the ids of one
    process sort in the order in which they were made, even within a millisecond or after the clock
    stepped back.
    """

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        milliseconds, nanoseconds = divmod(time_ns(), 1_000_000)
        self._last = max(self._last + 1, milliseconds << 12 | (nanoseconds << 12) // 1_000_000)
        random = int.from_bytes(os.urandom(8), "big") & (1 << 62) - 1
        high = (self._last >> 12) << 16 | 0x7000 | self._last & 0xFFF
        text = f"{high << 64 | 0x2 << 62 | random:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


new_id = Ids()


def new_secret() -> str:
    """256 random bits, as 43 characters."""
    return secrets.token_urlsafe(32)
