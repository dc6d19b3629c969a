"""Creates API keys and authenticates callers by them. Only the hash of a key is stored."""

import hashlib
import re
from datetime import datetime, timedelta

import msgspec

from remit.domain.caller import Caller, Mode
from remit.domain.errors import LiveModeUnavailable, RateLimited, Unauthenticated
from remit.ports.api_keys import ApiKey
from remit.ports.app import App

_KEY = re.compile(r"sk_(test|live)_[A-Za-z0-9_-]{43}", re.ASCII)

MERCHANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
"""A merchant's id. It is part of account names and queue messages, so its characters are few."""


class NewKey(msgspec.Struct, frozen=True):
    """A key that was just created. `secret` is the key itself, and its only copy."""

    secret: str
    key: ApiKey

    def __repr__(self) -> str:
        return f"NewKey({self.key.id})"


async def create_key(app: App, *, merchant_id: str, mode: Mode, label: str, random: str) -> NewKey:
    """Creates a key of one merchant and mode, and stores its hash. `random` is its 256 random bits.

    Raises LiveModeUnavailable where no processor takes payments of that mode.
    """
    require_mode(app, mode)
    secret = f"sk_{mode}_{random}"
    key = ApiKey(
        id=app.new_id(),
        hash=key_hash(secret),
        merchant_id=merchant_id,
        mode=mode,
        label=label,
        last4=secret[-4:],
        created_at=app.clock(),
    )
    await app.database.api_keys.add(key, secret)
    return NewKey(secret, key)


def require_mode(app: App, mode: Mode) -> None:
    """Raises LiveModeUnavailable where no processor takes payments of that mode."""
    if mode not in app.processor.capabilities.modes:
        raise LiveModeUnavailable


def key_hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Authenticator:
    """Authenticates callers by their API key. Caches the keys that it found.

    A revoked key stops working within `api_key_cache_seconds` in every process.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._cache_time = timedelta(seconds=app.settings.api_key_cache_seconds)
        self._cached: dict[str, tuple[ApiKey, datetime]] = {}

    async def __call__(self, secret: str | None, request_id: str) -> Caller:
        """The caller with this key.

        Raises Unauthenticated, LiveModeUnavailable, or RateLimited if the key is over its rate.
        """
        if secret is None:
            raise Unauthenticated("No API key given. Send it in the x-api-key header.")
        key = await self._find(secret)
        require_mode(self._app, key.mode)
        if (wait_seconds := await self._app.process_state.limiter.take(key.id)) is not None:
            raise RateLimited(wait_seconds)
        return Caller(key.merchant_id, key.mode, f"key:{key.id}", request_id)

    async def _find(self, secret: str) -> ApiKey:
        now = self._app.clock()
        key, until = self._cached.get(secret, (None, now))
        if key is None or until <= now:
            if key is not None:
                # This request reads the key again. Meanwhile the others use the cached one, so
                # that they do not all read it at once.
                self._cached[secret] = (key, now + self._cache_time)
                key = None
            if _KEY.fullmatch(secret):
                key = await self._app.database.api_keys.find(key_hash(secret))
            if key is None or key.revoked_at is not None:
                self._cached.pop(secret, None)
                raise Unauthenticated("This API key is not valid.")
            self._cached[secret] = (key, now + self._cache_time)
        return key
