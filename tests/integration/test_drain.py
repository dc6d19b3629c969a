"""A server that drains fails its health check, finishes its requests, and ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from remit.clock_and_ids import new_secret
from remit.oversight.api_keys import create_key
from remit_infra.emulated.ports import free_port
from tests.builders import GOOD_CARD, postgres_app
from tests.integration.conftest import Serve
from tests.integration.http_server import JSON, HttpServer
from tests.service import ServiceResponse, clean_environ, new_client, send, wait_until

LATE = {"REMIT_SIMULATOR_LATE_AT": "666", "REMIT_SIMULATOR_LATE_SECONDS": "4"}
"""Longer than the server drains: its answer is waited for all the same."""

CLIENT = new_client()


class Server:
    """`remit serve` on a database and a port of its own."""

    def __init__(self, folder: Path, url: str, key: str, **environ: str) -> None:
        self._port = free_port()
        self._key = key
        self.process = subprocess.Popen(
            [sys.executable, "-m", "remit", "serve"],
            cwd=folder,
            env=clean_environ()
            | {"REMIT_DATABASE_URL": url, "PORT": str(self._port), "REMIT_DATA_DIR": str(folder)}
            | environ,
        )

    def request(
        self, method: str, path: str, body: object = None, client: httpx.Client = CLIENT
    ) -> ServiceResponse:
        content = None if body is None else json.dumps(body)
        url = f"http://127.0.0.1:{self._port}{path}"
        return send(client, method, url, content, JSON | {"x-api-key": self._key})

    def is_up(self) -> bool:
        try:
            return self.request("GET", "/live").status == 200
        except httpx.TransportError:
            return False

    def check(self) -> int:
        """The container's own health check."""
        check = [sys.executable, "-m", "remit.entrypoints.healthcheck"]
        environ = os.environ | {"PORT": str(self._port)}
        return subprocess.run(check, env=environ, check=False).returncode


@pytest.fixture
async def key(tmp_path: Path, database_url: str) -> str:
    app = postgres_app(tmp_path, database_url)
    made = await create_key(app, merchant_id="a", mode="test", label="", random=new_secret())
    await app.close()
    return made.secret


@pytest.fixture
def server(tmp_path: Path, database_url: str, key: str) -> Iterator[Server]:
    made = Server(tmp_path, database_url, key, REMIT_DRAIN_SECONDS="2", **LATE)
    try:
        wait_until(made.is_up, 60, "the server to be up")
        yield made
    finally:
        made.process.kill()
        made.process.wait()


def test_a_server_that_drains_fails_its_check_and_finishes_its_requests(server: Server) -> None:
    order = {"amount": "6.66", "card": {"number": GOOD_CARD, "exp_month": 12, "exp_year": 2030}}
    assert server.check() == 0
    validated = server.request("POST", "/validate", order)
    assert "connection" not in validated.headers
    idle = new_client(kept_connections=1)
    assert server.request("GET", "/live", client=idle).status == 200
    with ThreadPoolExecutor() as threads:
        step = {"transaction_id": validated.body["transaction_id"]}
        slow: Future[ServiceResponse] = threads.submit(server.request, "POST", "/process", step)
        wait_until(lambda: is_asked(server), 10, "the payment to be under way")
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.request("GET", "/live").status == 503, 10, "the server to drain")
        assert server.check() == 1
        during_drain = server.request("GET", "/live")
        assert (during_drain.body, during_drain.headers["connection"]) == (
            {"status": "draining"},
            "close",
        )
        listed = server.request("GET", "/payments")
        assert (listed.status, listed.headers["connection"]) == (200, "close")
        assert not slow.done()
        assert slow.result(30).status == 200
    assert server.process.wait(30) == 0
    assert server.check() == 1
    idle.close()


def is_asked(server: Server) -> bool:
    return bool(server.request("GET", "/payments?status=processing").body["data"])


def test_a_server_without_a_drain_time_ends_at_once(
    tmp_path: Path, database_url: str, key: str
) -> None:
    server = Server(tmp_path, database_url, key)
    wait_until(server.is_up, 60, "the server to be up")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0


def test_a_process_is_live_whatever_its_dependencies_are(serve_memory: Serve) -> None:
    listed: HttpServer = serve_memory()
    response = listed.send("GET", "/live", None, {})
    assert (response.status, response.body) == (200, {"status": "live"})
    assert "/live" not in listed.get("/openapi.json").body["paths"]
