"""Payments shown out of Redis: new enough, to their merchants alone, and never decided on."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from remit.adapters.memory.store import MemoryStore
from remit.adapters.redis.cache import RedisCache
from remit.assembly.service import assemble
from remit.domain.change import Change, Conflict
from remit.domain.payment import Payment, State
from remit.domain.payment_summary import PaymentSummary, payment_summary
from remit.http.two_step.views import payment_view
from remit.payments.process import ProcessRequest, process
from remit.payments.results import Accepted
from remit.ports.app import App
from remit.settings import Secret, SettingsError
from remit_infra.emulated.cache import EmulatedCache
from remit_infra.emulated.ports import free_port
from remit_infra.model.service_env import ELASTICACHE_SETTINGS
from tests.builders import (
    DECLINED_CARD,
    GOOD_CARD,
    StoppedClock,
    caller,
    clock_of,
    memory_app,
    postgres_app,
    redis_connection,
    redis_settings,
)
from tests.integration.http_server import HttpServer
from tests.unit.steps import a_processed_payment, a_refund, a_validated_payment, current

ORDER = {
    "amount": "12.34",
    "currency": "USD",
    "customer_id": "c-1",
    "metadata": {"order": "7"},
    "card": {"number": GOOD_CARD, "exp_month": 12, "exp_year": 2030, "cvc": "123"},
}


@pytest.fixture
async def app(cache: EmulatedCache, tmp_path: Path) -> AsyncIterator[App]:
    made = memory_app(tmp_path, settings=redis_settings(cache))
    yield made
    await made.close()


@pytest.fixture
def server(cache: EmulatedCache, tmp_path: Path) -> Iterator[HttpServer]:
    """The service on a port, over memory and Redis."""
    settings = redis_settings(cache, port=free_port(), cache_seconds=600.0)
    with HttpServer(memory_app(tmp_path, settings=settings)) as running:
        yield running


def stored(app: App) -> dict[str, Payment]:
    """What the store holds, for tests that alter it behind the cache's back."""
    assert isinstance(app.database.reader, MemoryStore)
    return app.database.reader.payments


def a_made(server: HttpServer) -> str:
    made = server.post("/validate", ORDER)
    assert made.status == 200
    payment_id: str = made.body["transaction_id"]
    return payment_id


def test_a_payment_is_shown_from_the_cache_and_else_from_the_store(
    server: HttpServer, cache: EmulatedCache
) -> None:
    payment_id = a_made(server)
    path = f"/payments/{payment_id}"
    before = server.get(path)
    assert (before.status, before.body["status"]) == (200, "validated")
    payments = stored(server.app)
    payments[payment_id] = replace(payments[payment_id], customer_id="c-2")
    assert server.get(path).body == before.body
    with cache.owner() as owner:
        owner.flushall()
    assert server.get(path).body == before.body | {"customer_id": "c-2"}
    payments[payment_id] = replace(payments[payment_id], customer_id="c-3")
    assert server.get(path).body["customer_id"] == "c-2"


def test_a_cached_payment_is_shown_as_the_stored_one(server: HttpServer) -> None:
    payment_id = a_made(server)
    server.post("/process", {"transaction_id": payment_id})
    payment = stored(server.app)[payment_id]
    known = server.run(server.app.process_state.cache.payment(payment_id))
    assert known is not None
    assert payment_view(known) == payment_view(payment)
    assert known.state is State.CAPTURED


def test_a_cached_payment_is_not_shown_to_another_merchant_or_mode(server: HttpServer) -> None:
    path = f"/payments/{a_made(server)}"
    assert server.get(path).status == 200
    unknown = server.get(f"/payments/{'0' * 8}-0000-7000-8000-{'f' * 12}").body["error"]
    for key in (server.new_key("other"), server.new_key("acme", "live")):
        for _ in range(2):
            response = server.get(path, key)
            assert (response.status, response.body["error"]) == (404, unknown)
    assert server.get(path).status == 200


async def test_every_commit_is_cached_before_its_response(app: App) -> None:
    payment = await a_validated_payment(app)
    assert await app.process_state.cache.payment(payment.id) == payment_summary(payment)
    for _ in range(2):
        payment = await current(app, payment)
        renewed = replace(payment, version=payment.version + 1, due_at=None)
        assert await app.store.commit(Change(payment=renewed, audit=())) is None
        assert await app.process_state.cache.payment(payment.id) == payment_summary(renewed)
    captured = await a_processed_payment(app)
    assert await app.process_state.cache.payment(captured.id) == payment_summary(captured)
    await a_refund(app, captured, 40)
    known = await app.process_state.cache.payment(captured.id)
    assert known == payment_summary(await current(app, captured))
    assert known is not None
    assert known.refunded_minor == 40


async def test_a_change_that_was_not_committed_is_not_cached(app: App) -> None:
    payment = await a_validated_payment(app)
    late = replace(payment, version=9, state=State.CAPTURED)
    assert await app.store.commit(Change(payment=late, audit=())) is Conflict.STALE
    assert await app.process_state.cache.payment(payment.id) == payment_summary(payment)


async def test_a_late_reader_cannot_overwrite_a_newer_version(app: App) -> None:
    first = await a_validated_payment(app)
    last = await current(app, await a_processed_payment(app))
    await asyncio.gather(
        *(app.process_state.cache.put(replace(last, version=n)) for n in range(9, 0, -1))
    )
    known = await app.process_state.cache.payment(last.id)
    assert known is not None
    assert known.version == 9
    assert await app.process_state.cache.payment(first.id) == payment_summary(first)


async def test_a_late_reader_cannot_cache_an_old_version_after_a_newer_one_expired(
    app: App, cache: EmulatedCache
) -> None:
    payment = await a_validated_payment(app)
    connection = redis_connection(cache, StoppedClock())
    brief = RedisCache(connection, seconds=0.001)
    await brief.put(replace(payment, version=2))
    while await brief.payment(payment.id) is not None:  # noqa: ASYNC110 - Redis sends no event
        await asyncio.sleep(0.001)
    await app.process_state.cache.put(payment)
    assert await app.process_state.cache.payment(payment.id) is None
    await app.process_state.cache.put(replace(payment, version=2))
    assert await app.process_state.cache.payment(payment.id) == payment_summary(
        replace(payment, version=2)
    )
    await connection.close()


async def test_no_summary_is_cached_longer_than_its_time(app: App, cache: EmulatedCache) -> None:
    payment = await a_validated_payment(app)
    with cache.owner() as owner:
        assert 0 < owner.pttl(f"payment:{{{payment.id}}}") <= 5_000
        lives_ms = [owner.pttl(key) for key in owner.scan_iter()]
    assert all(0 < life_ms <= 65_000 for life_ms in lives_ms)


async def test_no_card_and_no_secret_is_in_redis(app: App, cache: EmulatedCache) -> None:
    waiting = await a_validated_payment(app)
    captured = await a_processed_payment(app)
    declined = await a_processed_payment(app, card=DECLINED_CARD)
    await a_refund(app, captured, 10)
    await app.process_state.limiter.take("00000000-0000-7000-8000-000000000001")
    kept = await current(app, waiting)
    everything = str(cache.contents())
    assert all(payment.id in everything for payment in (waiting, captured, declined))
    assert kept.encrypted_card is not None
    for hidden in (GOOD_CARD, DECLINED_CARD, kept.encrypted_card, kept.fingerprint):
        assert hidden not in everything
    assert captured.processor_reference is not None
    assert captured.processor_reference not in everything


def test_only_the_fields_of_a_response_are_cached() -> None:
    answered = {
        "id",
        "amount_minor",
        "currency",
        "created_at",
        "state",
        "customer_id",
        "reference",
        "metadata",
        "card",
        "captured_minor",
        "refunded_minor",
        "failure",
        "processed_at",
        "next_action",
    }
    assert set(PaymentSummary.__struct_fields__) == answered | {"merchant_id", "mode", "version"}
    kinds = {field.name: field for field in msgspec.structs.fields(Payment)}
    for field in msgspec.structs.fields(PaymentSummary):
        assert field.type == kinds[field.name].type


async def test_use_cases_do_not_read_the_cache(app: App, cache: EmulatedCache) -> None:
    payment = await a_validated_payment(app)
    lie = replace(payment, version=99, state=State.CAPTURED, amount_minor=1, captured_minor=1)
    await app.process_state.cache.put(lie)
    result = await process(app, caller(), ProcessRequest(payment.id))
    assert isinstance(result, Accepted)
    assert (result.payment.state, result.payment.captured_minor) == (State.CAPTURED, 10_000)
    assert await app.process_state.cache.payment(payment.id) == payment_summary(lie)
    refunded = await a_refund(app, payment, 9_000)
    assert refunded.amount_minor == 9_000


async def test_a_summary_that_cannot_be_decoded_counts_as_missing(
    app: App, cache: EmulatedCache
) -> None:
    payment = await a_validated_payment(app)
    with cache.owner() as owner:
        for nonsense in ("", "nonsense", "{}", '{"id": 1}'):
            owner.set(f"payment:{{{payment.id}}}", nonsense)
            assert await app.process_state.cache.payment(payment.id) is None
    await app.process_state.cache.put(payment)
    assert await app.process_state.cache.payment(payment.id) == payment_summary(payment)


async def test_the_cache_is_empty_and_payments_go_on_while_redis_is_down(
    app: App, cache: EmulatedCache
) -> None:
    cache.stop()
    payment = await a_processed_payment(app)
    assert payment.state is State.CAPTURED
    assert await app.process_state.cache.payment(payment.id) is None
    cache.start()
    clock_of(app).advance(1)
    while await app.process_state.cache.payment(payment.id) is None:
        await app.process_state.cache.put(payment)
        await asyncio.sleep(0.01)


async def test_the_service_is_assembled_with_redis_where_the_settings_name_one(
    cache: EmulatedCache, database_url: str, tmp_path: Path
) -> None:
    settings = redis_settings(cache, database_url=Secret(database_url), data_dir=tmp_path)
    app = assemble(settings)
    payment = await a_processed_payment(app)
    assert await app.process_state.limiter.take("k1") is None
    await app.process_state.sessions.create("Ann", seconds=60)
    kinds = {key.partition(":")[0] for key in cache.contents()}
    assert kinds == {"payment", "limit", "session"}
    assert await app.process_state.cache.payment(payment.id) == payment_summary(payment)
    await app.close()
    for name in set(ELASTICACHE_SETTINGS) - {"cache_endpoint"}:
        with pytest.raises(SettingsError, match=f"REMIT_{name.upper()} is not set"):
            assemble(replace(settings, **{name: None}))
    alone = assemble(replace(settings, cache_endpoint=None))
    assert await alone.process_state.cache.ping() is False
    await alone.close()


def test_a_payment_is_processed_while_redis_goes_down(
    cache: EmulatedCache, database_url: str, tmp_path: Path
) -> None:
    settings = redis_settings(cache, port=free_port())
    with HttpServer(postgres_app(tmp_path, database_url, settings=settings)) as server:
        payment_id = a_made(server)
        path = f"/payments/{payment_id}"
        assert server.get(path).body["status"] == "validated"
        assert cache.contents().keys() >= {f"payment:{{{payment_id}}}"}
        cache.stop()
        processed = server.post("/process", {"transaction_id": payment_id})
        assert (processed.status, processed.body["status"]) == (200, "processed")
        assert server.get(path).body == processed.body
        checks = server.send("GET", "/health", None, {}).body
        assert (checks["status"], checks["checks"]["cache"]["ok"]) == ("healthy", False)
        again = server.post("/process", {"transaction_id": a_made(server)})
        assert again.body["status"] == "processed"
