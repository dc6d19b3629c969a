"""Who takes a step, and under which idempotency key."""

from typing import Literal

import msgspec

Mode = Literal["test", "live"]


class Caller(msgspec.Struct, frozen=True):
    """Who takes a step: a merchant's API key, or a process of ours that acts for the merchant."""

    merchant_id: str
    mode: Mode
    actor: str
    request_id: str


class KeyScope(msgspec.Struct, frozen=True):
    """An idempotency key and what it is unique within: a merchant, a mode and an operation."""

    merchant_id: str
    mode: Mode
    operation: str
    key: str
