"""The service on a port, over memory or PostgreSQL, with a clock that stands still."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from remit.adapters.processors.simulated.processor import SimulatedProcessor
from remit.adapters.processors.simulated.sqlite_store import SqliteSimulatorStore
from remit.settings import Settings
from tests.builders import memory_app, postgres_app, rewired
from tests.integration.example_answers import Client
from tests.integration.served import Served
from tests.service import free_port

Serve = Callable[..., Served]


@pytest.fixture
def serve_memory(tmp_path: Path) -> Iterator[Serve]:
    """Serves a service over memory with settings of the test's own."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Served:
            chosen = Settings(port=free_port(), **settings)
            return stack.enter_context(Served(memory_app(tmp_path, settings=chosen)))

        yield start


@pytest.fixture
def served(serve_memory: Serve) -> Served:
    return serve_memory()


@pytest.fixture(params=["memory", "postgres"])
def on_both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    """The service on a port, once over each store."""
    settings = Settings(port=free_port())
    if request.param == "memory":
        app = memory_app(tmp_path, settings=settings)
    else:
        url: str = request.getfixturevalue("database_url")
        app = postgres_app(tmp_path, url, settings=settings)
    with Served(app) as served:
        yield served


@pytest.fixture
def simulator(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Client]:
    """The service in memory with the simulated processor; a parameter is where it times out."""
    settings = Settings(simulator_timeout_at=getattr(request, "param", None))
    store = SqliteSimulatorStore(tmp_path / "simulator.db")
    processor = SimulatedProcessor(store, settings)
    app = memory_app(tmp_path, settings=settings)
    yield Client(rewired(app, processor=processor))
    store.close()
