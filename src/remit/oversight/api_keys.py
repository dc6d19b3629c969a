"""API keys: made, recognised, revoked. The key itself is shown once and stored nowhere."""

import hashlib
import re
from datetime import datetime, timedelta

import msgspec

from remit.domain.change import Caller
from remit.domain.errors import LiveModeUnavailable, RateLimited, Unauthenticated
from remit.domain.payment import Mode
from remit.ports.api_keys import ApiKey
from remit.ports.app import App

_KEY = re.compile(r"sk_(test|live)_[A-Za-z0-9_-]{43}", re.ASCII)

MERCHANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
"""What a merchant may be called: it stands in account names and queue messages."""


class NewKey(msgspec.Struct, frozen=True):
    """A key just made. `secret` is the only copy there will ever be."""

    secret: str
    key: ApiKey

    def __repr__(self) -> str:
        return f"NewKey({self.key.id})"


async def create_key(app: App, *, merchant_id: str, mode: Mode, label: str, random: str) -> NewKey:
    """Stores the hash of a new key of one merchant and mode. `random` holds its 256 random bits.

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
    if mode not in app.processor.modes:
        raise LiveModeUnavailable


def key_hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Authenticator:
    """Recognises keys, and remembers those it knows for a moment.

    A revoked key stops working within `api_key_cache_seconds` in every process.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._remember = timedelta(seconds=app.settings.api_key_cache_seconds)
        self._known: dict[str, tuple[ApiKey, datetime]] = {}

    async def __call__(self, secret: str | None, request_id: str) -> Caller:
        """Who is calling. Raises Unauthenticated, or RateLimited if the key is over its rate."""
        if secret is None:
            raise Unauthenticated("No API key given. Send it in the x-api-key header.")
        key = await self._find(secret)
        require_mode(self._app, key.mode)
        if (wait_seconds := await self._app.process_state.limiter.take(key.id)) is not None:
            raise RateLimited(wait_seconds)
        return Caller(key.merchant_id, key.mode, f"key:{key.id}", request_id)

    async def _find(self, secret: str) -> ApiKey:
        now = self._app.clock()
        key, until = self._known.get(secret, (None, now))
        if key is None or until <= now:
            if key is not None:
                # One request asks again. The others go on meanwhile, and do not all ask at once.
                self._known[secret] = (key, now + self._remember)
                key = None
            if _KEY.fullmatch(secret):
                key = await self._app.database.api_keys.find(key_hash(secret))
            if key is None or key.revoked_at is not None:
                self._known.pop(secret, None)
                raise Unauthenticated("This API key is not valid.")
            self._known[secret] = (key, now + self._remember)
        return key
