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
from tests.integration.served import Served
from tests.service import free_port
from tests.unit.arranged import a_processed, a_refund, a_validated, current

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
def served(cache: EmulatedCache, tmp_path: Path) -> Iterator[Served]:
    """The service on a port, over memory and Redis."""
    settings = redis_settings(cache, port=free_port(), cache_seconds=600.0)
    with Served(memory_app(tmp_path, settings=settings)) as running:
        yield running


def stored(app: App) -> dict[str, Payment]:
    """What the store holds, for tests that alter it behind the cache's back."""
    assert isinstance(app.database.reader, MemoryStore)
    return app.database.reader.payments


def a_made(served: Served) -> str:
    made = served.post("/validate", ORDER)
    assert made.status == 200
    payment_id: str = made.body["transaction_id"]
    return payment_id


def test_a_payment_is_shown_from_the_cache_and_else_from_the_store(
    served: Served, cache: EmulatedCache
) -> None:
    payment_id = a_made(served)
    path = f"/payments/{payment_id}"
    before = served.get(path)
    assert (before.status, before.body["status"]) == (200, "validated")
    payments = stored(served.app)
    payments[payment_id] = replace(payments[payment_id], customer_id="c-2")
    assert served.get(path).body == before.body
    with cache.owner() as owner:
        owner.flushall()
    assert served.get(path).body == before.body | {"customer_id": "c-2"}
    payments[payment_id] = replace(payments[payment_id], customer_id="c-3")
    assert served.get(path).body["customer_id"] == "c-2"


def test_what_the_cache_shows_is_what_the_store_would_show(served: Served) -> None:
    payment_id = a_made(served)
    served.post("/process", {"transaction_id": payment_id})
    payment = stored(served.app)[payment_id]
    known = served.run(served.app.process_state.cache.payment(payment_id))
    assert known is not None
    assert payment_view(known) == payment_view(payment)
    assert known.state is State.CAPTURED


def test_nobody_is_shown_a_payment_of_another_merchant_or_mode(served: Served) -> None:
    path = f"/payments/{a_made(served)}"
    assert served.get(path).status == 200
    unknown = served.get(f"/payments/{'0' * 8}-0000-7000-8000-{'f' * 12}").body["error"]
    for key in (served.new_key("other"), served.new_key("acme", "live")):
        for _ in range(2):
            answer = served.get(path, key)
            assert (answer.status, answer.body["error"]) == (404, unknown)
    assert served.get(path).status == 200


async def test_every_commit_is_in_the_cache_before_it_is_answered(app: App) -> None:
    payment = await a_validated(app)
    assert await app.process_state.cache.payment(payment.id) == payment_summary(payment)
    for _ in range(2):
        payment = await current(app, payment)
        renewed = replace(payment, version=payment.version + 1, attempt=payment.attempt + 1)
        assert await app.store.commit(Change(payment=renewed, audit=())) is None
        assert await app.process_state.cache.payment(payment.id) == payment_summary(renewed)
    captured = await a_processed(app)
    assert await app.process_state.cache.payment(captured.id) == payment_summary(captured)
    await a_refund(app, captured, 40)
    known = await app.process_state.cache.payment(captured.id)
    assert known == payment_summary(await current(app, captured))
    assert known is not None
    assert known.refunded_minor == 40


async def test_a_change_that_was_not_committed_is_not_shown(app: App) -> None:
    payment = await a_validated(app)
    late = replace(payment, version=9, state=State.CAPTURED)
    assert await app.store.commit(Change(payment=late, audit=())) is Conflict.STALE
    assert await app.process_state.cache.payment(payment.id) == payment_summary(payment)


async def test_a_late_reader_cannot_overwrite_what_is_newer(app: App) -> None:
    first = await a_validated(app)
    last = await current(app, await a_processed(app))
    await asyncio.gather(
        *(app.process_state.cache.put(replace(last, version=n)) for n in range(9, 0, -1))
    )
    known = await app.process_state.cache.payment(last.id)
    assert known is not None
    assert known.version == 9
    assert await app.process_state.cache.payment(first.id) == payment_summary(first)


async def test_a_late_reader_cannot_bring_back_what_is_old_when_the_newer_is_gone(
    app: App, cache: EmulatedCache
) -> None:
    payment = await a_validated(app)
    connection = redis_connection(cache, StoppedClock())
    brief = RedisCache(connection, seconds=0.001)
    await brief.put(replace(payment, version=2))
    while await brief.payment(payment.id) is not None:  # noqa: ASYNC110 - Redis tells nobody
        await asyncio.sleep(0.001)
    await app.process_state.cache.put(payment)
    assert await app.process_state.cache.payment(payment.id) is None
    await app.process_state.cache.put(replace(payment, version=2))
    assert await app.process_state.cache.payment(payment.id) == payment_summary(
        replace(payment, version=2)
    )
    await connection.close()


async def test_nothing_is_shown_for_longer_than_its_time(app: App, cache: EmulatedCache) -> None:
    payment = await a_validated(app)
    with cache.owner() as owner:
        assert 0 < owner.pttl(f"payment:{{{payment.id}}}") <= 5_000
        lives_ms = [owner.pttl(key) for key in owner.scan_iter()]
    assert all(0 < life_ms <= 65_000 for life_ms in lives_ms)


async def test_no_card_and_no_secret_is_in_redis(app: App, cache: EmulatedCache) -> None:
    waiting = await a_validated(app)
    captured = await a_processed(app)
    declined = await a_processed(app, card=DECLINED_CARD)
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


def test_only_what_an_answer_shows_is_cached() -> None:
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
    }
    assert set(PaymentSummary.__struct_fields__) == answered | {"merchant_id", "mode", "version"}
    kinds = {field.name: field for field in msgspec.structs.fields(Payment)}
    for field in msgspec.structs.fields(PaymentSummary):
        assert field.type == kinds[field.name].type


async def test_decisions_do_not_know_the_cache(app: App, cache: EmulatedCache) -> None:
    payment = await a_validated(app)
    lie = replace(payment, version=99, state=State.CAPTURED, amount_minor=1, captured_minor=1)
    await app.process_state.cache.put(lie)
    outcome = await process(app, caller(), ProcessRequest(payment.id))
    assert isinstance(outcome, Accepted)
    assert (outcome.payment.state, outcome.payment.captured_minor) == (State.CAPTURED, 10_000)
    assert await app.process_state.cache.payment(payment.id) == payment_summary(lie)
    refunded = await a_refund(app, payment, 9_000)
    assert refunded.amount_minor == 9_000


async def test_what_cannot_be_read_is_read_from_the_store(app: App, cache: EmulatedCache) -> None:
    payment = await a_validated(app)
    with cache.owner() as owner:
        for nonsense in ("", "nonsense", "{}", '{"id": 1}'):
            owner.set(f"payment:{{{payment.id}}}", nonsense)
            assert await app.process_state.cache.payment(payment.id) is None
    await app.process_state.cache.put(payment)
    assert await app.process_state.cache.payment(payment.id) == payment_summary(payment)


async def test_without_redis_nothing_is_known_and_nothing_fails(
    app: App, cache: EmulatedCache
) -> None:
    cache.stop()
    payment = await a_processed(app)
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
    payment = await a_processed(app)
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


def test_a_payment_is_taken_while_redis_dies(
    cache: EmulatedCache, database_url: str, tmp_path: Path
) -> None:
    settings = redis_settings(cache, port=free_port())
    with Served(postgres_app(tmp_path, database_url, settings=settings)) as served:
        payment_id = a_made(served)
        path = f"/payments/{payment_id}"
        assert served.get(path).body["status"] == "validated"
        assert cache.contents().keys() >= {f"payment:{{{payment_id}}}"}
        cache.stop()
        processed = served.post("/process", {"transaction_id": payment_id})
        assert (processed.status, processed.body["status"]) == (200, "processed")
        assert served.get(path).body == processed.body
        checks = served.send("GET", "/health", None, {}).body
        assert (checks["status"], checks["checks"]["cache"]["ok"]) == ("healthy", False)
        again = served.post("/process", {"transaction_id": a_made(served)})
        assert again.body["status"] == "processed"
