"""The service on a port, over memory or PostgreSQL, with a clock that stands still."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from remit.adapters.processors.simulated.processor import SimulatedProcessor
from remit.adapters.processors.simulated.sqlite_store import SqliteSimulatorStore
from remit.settings import Settings
from remit_infra.emulated.ports import free_port
from tests.builders import memory_app, postgres_app, replace_parts
from tests.integration.example_answers import Client
from tests.integration.http_server import HttpServer

Serve = Callable[..., HttpServer]


@pytest.fixture
def serve_memory(tmp_path: Path) -> Iterator[Serve]:
    """Serves a service over memory with settings of the test's own."""
    with ExitStack() as stack:

        def start(**settings: Any) -> HttpServer:
            chosen = Settings(port=free_port(), **settings)
            return stack.enter_context(HttpServer(memory_app(tmp_path, settings=chosen)))

        yield start


@pytest.fixture
def server(serve_memory: Serve) -> HttpServer:
    return serve_memory()


@pytest.fixture(params=["memory", "postgres"])
def each_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HttpServer]:
    """The service on a port, once over each store."""
    settings = Settings(port=free_port())
    if request.param == "memory":
        app = memory_app(tmp_path, settings=settings)
    else:
        url: str = request.getfixturevalue("database_url")
        app = postgres_app(tmp_path, url, settings=settings)
    with HttpServer(app) as server:
        yield server


@pytest.fixture
def simulator(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Client]:
    """The service in memory with the simulated processor; a parameter is where it times out."""
    settings = Settings(simulator_timeout_at=getattr(request, "param", None))
    store = SqliteSimulatorStore(tmp_path / "simulator.db")
    processor = SimulatedProcessor(store, settings)
    app = memory_app(tmp_path, settings=settings)
    yield Client(replace_parts(app, processor=processor))
    store.close()
