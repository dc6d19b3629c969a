"""What callers receive when a part behind the API fails, and that the service recovers."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from remit.adapters.files.disk import DiskSpace
from remit.adapters.memory.limiter import LocalLimiter
from remit.adapters.processors.simulated.sqlite_store import SqliteSimulatorStore
from remit.domain.errors import ConnectionLost, ProcessorUnavailable, Unavailable
from remit.domain.operation import Approved, NextAction, OperationKind, Received
from remit.oversight.health import health
from remit.ports.app import App
from remit.ports.processor import Capabilities, Instruction
from remit.settings import Settings
from remit_infra.emulated.ports import free_port
from tests.builders import (
    DECLINED_CARD,
    ScriptedProcessor,
    clock_of,
    memory_app,
    postgres_app,
    processor_of,
    replace_parts,
)
from tests.integration.http_server import HttpServer
from tests.integration.test_http import ORDER, problem, process, validate
from tests.service import wait_until


def test_a_processor_that_is_down_is_a_503_that_can_be_retried(each_server: HttpServer) -> None:
    transaction_id = validate(each_server)
    processor_of(each_server.app).down = True
    response = process(each_server, transaction_id, idempotency_key="k")
    assert problem(response) == (503, "api_error", "processor_unavailable")
    processor_of(each_server.app).down = False
    assert process(each_server, transaction_id, idempotency_key="k").status == 200


@pytest.mark.parametrize("fault", ["timeout", "lost"])
def test_a_payment_whose_processor_does_not_answer_is_processing(
    each_server: HttpServer, fault: Any
) -> None:
    transaction_id = validate(each_server)
    processor_of(each_server.app).faults.append(fault)
    response = process(each_server, transaction_id, idempotency_key="k")
    assert (response.status, response.body["status"]) == (202, "processing")
    early = process(each_server, transaction_id, idempotency_key="k")
    assert problem(early) == (409, "idempotency_error", "idempotency_key_in_use")
    assert early.headers["retry-after"] == "1"
    other = process(each_server, transaction_id)
    assert problem(other) == (409, "invalid_state_error", "payment_invalid_state")
    clock_of(each_server.app).advance(60)
    assert process(each_server, transaction_id, idempotency_key="k").body["status"] == "processed"
    assert len(processor_of(each_server.app).results) == 1


class LostConnection:
    """A store whose connection is lost during each call of one method, which is done or not."""

    def __init__(self, store: Any, method: str, is_done: bool) -> None:
        self._store = store
        self._method = method
        self._is_done = is_done

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name != self._method:
            return method

        async def lose(*args: Any) -> Any:
            if self._is_done:
                await method(*args)
            raise ConnectionLost("The database cannot be reached. Try again.")

        return lose


@pytest.mark.parametrize("is_done", [True, False])
def test_a_commit_that_may_be_done_is_answered_so_and_found_under_its_key(
    tmp_path: Path, is_done: bool
) -> None:
    app = memory_app(tmp_path)
    with HttpServer(replace_parts(app, store=LostConnection(app.store, "commit", is_done))) as lost:
        response = lost.post("/validate", ORDER, idempotency_key="v")
        assert problem(response) == (500, "api_error", "result_unknown")
    with HttpServer(app) as server:
        validated = server.post("/validate", ORDER, idempotency_key="v")
        assert validated.status == 200
        assert ("idempotent-replayed" in validated.headers) == is_done
        transaction_id = validated.body["transaction_id"]
    with HttpServer(replace_parts(app, store=LostConnection(app.store, "commit", is_done))) as lost:
        response = process(lost, transaction_id, idempotency_key="p")
        assert problem(response) == (500, "api_error", "result_unknown")


def test_a_read_whose_connection_is_lost_is_a_503(tmp_path: Path) -> None:
    app = memory_app(tmp_path)
    store = LostConnection(app.store, "payment", is_done=False)
    with HttpServer(replace_parts(app, store=store)) as server:
        response = process(server, validate(server))
        assert problem(response) == (503, "api_error", "service_unavailable")


class AuthenticatingProcessor(ScriptedProcessor):
    """Sends each payer to the issuer first."""

    action = NextAction("https://issuer.test/3ds", datetime(2026, 11, 20, 13, 0, tzinfo=UTC))

    async def execute(self, instruction: Instruction) -> Received:
        return Received(f"psp_{instruction.key}", self.action)


def test_a_payer_who_has_to_act_is_shown_where(tmp_path: Path) -> None:
    app = replace_parts(memory_app(tmp_path), processor=AuthenticatingProcessor())
    with HttpServer(app) as server:
        transaction_id = validate(server)
        for response in (
            process(server, transaction_id, idempotency_key="k"),
            process(server, transaction_id, idempotency_key="k"),
            process(server, transaction_id),
        ):
            assert (response.status, response.body["status"]) == (202, "requires_action")
            assert response.body["next_action"] == {
                "redirect_to_url": "https://issuer.test/3ds",
                "expires_at": "2026-11-20T13:00:00Z",
            }
        shown = server.get(f"/payments/{transaction_id}")
        assert (shown.status, shown.body["next_action"]) == (200, response.body["next_action"])


def test_a_key_over_its_rate_gets_a_429_with_a_retry_after(tmp_path: Path) -> None:
    settings = Settings(port=free_port(), rate_per_second=1, rate_burst=2)
    app = memory_app(tmp_path, settings=settings)
    with HttpServer(
        replace_parts(app, limiter=LocalLimiter(app.clock, per_second=1, burst=2))
    ) as server:
        assert [server.get("/payments").status for _ in range(2)] == [200, 200]
        app_over = server.get("/payments")
        assert problem(app_over) == (429, "rate_limit_error", "rate_limit")
        assert app_over.headers["retry-after"] == "1"
        assert server.get("/payments", server.new_key("other")).status == 200
        clock_of(server.app).advance(1)
        assert server.get("/payments").status == 200


def test_a_payment_goes_on_after_the_database_cut_its_connections(
    database_url: str, tmp_path: Path
) -> None:
    app = postgres_app(tmp_path, database_url, settings=Settings(port=free_port()))
    with HttpServer(app) as server:
        transaction_id = validate(server)
        asyncio.run(_cut_connections(database_url))
        wait_until(lambda: process(server, transaction_id).status == 200, 10, "the payment")
        assert process(server, transaction_id).body["status"] == "processed"


async def _cut_connections(url: str) -> None:
    """What a restarted server does to everyone who was connected."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    finally:
        await connection.close()


def test_a_database_that_cannot_be_reached_is_a_503(tmp_path: Path) -> None:
    settings = Settings(port=free_port())
    nowhere = f"postgresql://remit@127.0.0.1:{free_port()}/remit"
    app = postgres_app(tmp_path, nowhere, settings=settings)
    with HttpServer(replace_parts(app, api_keys=memory_app(tmp_path).database.api_keys)) as server:
        for response in (
            server.post("/validate", ORDER),
            server.post("/validate", {}),
            process(server, server.app.new_id()),
            server.get("/payments"),
        ):
            assert problem(response) == (503, "api_error", "service_unavailable")
        health = server.get("/health")
        assert (health.status, health.body["checks"]["database"]["ok"]) == (503, False)


def test_health_names_the_failing_check(tmp_path: Path) -> None:
    down = False

    async def ping() -> None:
        if down:
            raise Unavailable("The database cannot be reached. Try again.")

    app = replace_parts(memory_app(tmp_path, settings=Settings(port=free_port())), ping=ping)
    with HttpServer(app) as server:
        well = server.send("GET", "/health", None, {})
        assert (well.status, well.body["status"]) == (200, "healthy")
        assert set(well.body["checks"]) == {"database", "delivery", "dead_letters", "monitor"}
        down = True
        ill = server.send("GET", "/health", None, {})
        assert (ill.status, ill.body["status"]) == (503, "unhealthy")
        assert ill.body["checks"]["database"] == {
            "ok": False,
            "detail": "The database cannot be reached. Try again.",
        }


def test_an_unexpected_error_is_a_500_without_details(tmp_path: Path) -> None:
    app = memory_app(tmp_path, settings=Settings(port=free_port()))
    with HttpServer(replace(app, processor=_Broken())) as server:
        transaction_id = validate(server)
        response = process(server, transaction_id)
        assert problem(response) == (500, "api_error", "internal")
        assert response.body["error"]["message"] == "Something went wrong on our side."
        assert server.get("/health").status == 200


class _Broken(ScriptedProcessor):
    """A processor with a bug of its own, and card numbers in its errors."""

    name = "broken"
    capabilities = Capabilities(modes=frozenset({"test"}))

    async def execute(self, instruction: object) -> Any:
        raise RuntimeError(f"bad card {DECLINED_CARD}")

    async def balance(self, payment_id: str) -> Any:
        raise RuntimeError(payment_id)


def test_a_full_disk_is_503_and_nothing_is_done(
    database_url: str, tmp_path: Path, unused_tcp_port: int
) -> None:
    app = postgres_app(tmp_path, database_url, settings=Settings(port=unused_tcp_port))
    with HttpServer(app) as server:
        transaction_id = validate(server)
        asyncio.run(_execute(database_url, FULL_DISK))
        rejected = process(server, transaction_id, idempotency_key="k")
        assert (rejected.status, rejected.body["error"]["message"]) == (
            503,
            "The database is out of disk space, memory or connections. Try again later.",
        )
        asyncio.run(_execute(database_url, "DROP TRIGGER full_disk ON payments"))
        assert process(server, transaction_id, idempotency_key="k").status == 200


FULL_DISK = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER full_disk BEFORE UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION full_disk()
"""
"""PostgreSQL's own error for a full disk, as it comes over the wire."""


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_health_names_a_full_disk(in_memory: App, tmp_path: Path) -> None:
    app = replace_parts(in_memory, disk=DiskSpace(tmp_path, min_free_bytes=2**62))
    found = await health(app)
    assert found.status == "unhealthy"
    detail = found.checks["disk"].detail or ""
    assert detail.endswith(f"GB free: the disk of {tmp_path} is full")
    assert (await health(replace_parts(in_memory, disk=DiskSpace(tmp_path)))).status == "healthy"


async def test_a_simulator_whose_disk_is_full_does_nothing(tmp_path: Path) -> None:
    store = SqliteSimulatorStore(tmp_path / "processor.sqlite")
    pages = store._database.execute("PRAGMA page_count").fetchone()[0]
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(ProcessorUnavailable, match="database or disk is full"):
        await fill(store)
    store.close()


async def fill(store: SqliteSimulatorStore) -> None:
    for number in range(1_000):
        instruction = Instruction(
            key=f"k{number}",
            operation=OperationKind.CHARGE,
            payment_id="p1",
            merchant_id="acme",
            mode="test",
            amount_minor=100,
            currency="USD",
        )
        await store.record(instruction, Approved("ref"))
