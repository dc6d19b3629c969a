"""API keys: stored as a hash, shown once, authenticated, limited, and revoked in time."""

import msgspec
import pytest

from remit.clock_and_ids import new_secret
from remit.domain.caller import Caller, Mode
from remit.domain.errors import RateLimited, Unauthenticated
from remit.oversight.api_keys import MERCHANT, Authenticator, NewKey, create_key, key_hash
from remit.ports.app import App
from remit.settings import Settings
from tests.builders import AppFactory, clock_of
from tests.unit.steps import store_of


async def a_key(app: App, merchant_id: str = "acme", mode: Mode = "test") -> NewKey:
    return await create_key(
        app, merchant_id=merchant_id, mode=mode, label="shop", random=new_secret()
    )


async def test_only_the_hash_of_a_key_is_stored(in_memory: App) -> None:
    made = await a_key(in_memory)
    stored = store_of(in_memory).api_keys
    assert stored == {made.key.id: made.key}
    assert made.key.hash == key_hash(made.secret)
    assert made.secret not in msgspec.json.encode(list(stored.values())).decode()
    assert (made.key.label, made.key.last4, made.key.revoked_at) == (
        "shop",
        made.secret[-4:],
        None,
    )


async def test_the_representation_of_a_new_key_does_not_show_it(in_memory: App) -> None:
    made = await a_key(in_memory)
    assert repr(made) == f"NewKey({made.key.id})"
    assert made.secret not in f"{made} {made.key!r}"


def test_a_secret_holds_256_bits_and_no_two_are_alike() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert {len(secret) for secret in secrets} == {43}


@pytest.mark.parametrize("mode", ["test", "live"])
async def test_a_key_identifies_its_merchant_and_mode(in_memory: App, mode: Mode) -> None:
    made = await a_key(in_memory, "zenith", mode)
    assert made.secret.startswith(f"sk_{mode}_")
    authenticated = await Authenticator(in_memory)(made.secret, "req-1")
    assert authenticated == Caller("zenith", mode, f"key:{made.key.id}", "req-1")


async def test_a_key_does_not_work_in_the_other_mode(in_memory: App) -> None:
    made = await a_key(in_memory, mode="test")
    forged = made.secret.replace("sk_test_", "sk_live_")
    with pytest.raises(Unauthenticated):
        await Authenticator(in_memory)(forged, "req")


async def test_text_that_is_no_known_key_is_rejected(in_memory: App) -> None:
    made = await a_key(in_memory)
    authenticate = Authenticator(in_memory)
    for secret in (
        None,
        "",
        "sk_test_",
        made.secret[:-1],
        made.secret + "x",
        made.secret.upper(),
        f" {made.secret}",
        f"{made.secret}\n",
        made.key.hash,
        made.key.id,
        f"sk_test_{new_secret()}",
    ):
        with pytest.raises(Unauthenticated) as rejected:
            await authenticate(secret, "req")
        assert made.secret not in rejected.value.message


async def test_a_revoked_key_stops_within_the_cache_time(new_app: AppFactory) -> None:
    app = new_app(settings=Settings(api_key_cache_seconds=5.0))
    made = await a_key(app)
    authenticate = Authenticator(app)
    await authenticate(made.secret, "req")
    assert await app.database.api_keys.revoke(made.key.id, clock_of(app).now)
    clock_of(app).advance(4.9)
    await authenticate(made.secret, "req")
    clock_of(app).advance(0.1)
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await authenticate(made.secret, "req")
    with pytest.raises(Unauthenticated):
        await Authenticator(app)(made.secret, "req")


async def test_a_revoked_key_in_constant_use_stops_too(in_memory: App) -> None:
    made = await a_key(in_memory)
    authenticate = Authenticator(in_memory)
    await authenticate(made.secret, "req")
    await in_memory.database.api_keys.revoke(made.key.id, clock_of(in_memory).now)
    for _ in range(9):
        clock_of(in_memory).advance(0.1)
        await authenticate(made.secret, "req")
    clock_of(in_memory).advance(0.1)
    with pytest.raises(Unauthenticated):
        await authenticate(made.secret, "req")


async def test_another_key_of_the_merchant_works_after_one_is_revoked(in_memory: App) -> None:
    lost, kept = await a_key(in_memory), await a_key(in_memory)
    await in_memory.database.api_keys.revoke(lost.key.id, clock_of(in_memory).now)
    assert (await Authenticator(in_memory)(kept.secret, "req")).merchant_id == "acme"


async def test_a_key_over_its_rate_is_limited_and_others_are_not(new_app: AppFactory) -> None:
    app = new_app(settings=Settings(rate_per_second=1, rate_burst=2))
    busy, calm = await a_key(app), await a_key(app)
    authenticate = Authenticator(app)
    await authenticate(busy.secret, "req")
    await authenticate(busy.secret, "req")
    with pytest.raises(RateLimited) as limited:
        await authenticate(busy.secret, "req")
    assert limited.value.retry_after_seconds == 1
    await authenticate(calm.secret, "req")
    clock_of(app).advance(1)
    await authenticate(busy.secret, "req")


@pytest.mark.parametrize("name", ["acme", "a", "0", "acme-eu_1", "a" * 63])
def test_a_merchants_id_is_accepted(name: str) -> None:
    assert MERCHANT.fullmatch(name)


@pytest.mark.parametrize("name", ["", "-acme", "_a", "Acme", "a/b", "a b", "a\n", "é", "a" * 64])
def test_a_merchants_id_of_another_form_is_rejected(name: str) -> None:
    assert MERCHANT.fullmatch(name) is None
