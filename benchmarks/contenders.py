"""The services that Remit is measured against over HTTP, each started as its users start it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from benchmarks.database import database
from benchmarks.figures import CannotMeasure
from benchmarks.processes import free_port, local_client, started_process, wait_for_response
from benchmarks.remit_service import Target

EXAMPLE_KEY = "sk_test_benchmark"
LOCALSTRIPE_STORE = Path("/tmp/localstripe.pickle")
"""Where localstripe writes its whole state after each request. It has no option for the path."""


def require_package(name: str) -> None:
    if find_spec(name) is None:
        raise CannotMeasure(f"{name} is not installed; `make bench` installs it.")


@contextmanager
def plain_fastapi(data: Path, *, workers: int) -> Iterator[Target]:
    """The same service written the usual way, on the same server in a database of its own."""
    require_package("fastapi")
    require_package("uvicorn")
    output = data / "plain_fastapi.txt"
    port = free_port()
    command = [
        *(sys.executable, "-m", "uvicorn", "benchmarks.plain_fastapi:app"),
        *("--port", str(port), "--workers", str(workers)),
        *("--http", "httptools", "--loop", "uvloop", "--no-access-log", "--log-level", "warning"),
    ]
    with database(data, "plain") as (_, url):
        environ = {"BENCHMARK_DATABASE_URL": url, "BENCHMARK_KEY": EXAMPLE_KEY}
        with started_process(command, output=output, environ=environ) as process:
            target = Target(port, EXAMPLE_KEY, process)
            wait_for_response(process, f"{target.url}/health", output)
            yield target


@contextmanager
def localstripe(data: Path) -> Iterator[tuple[Target, str]]:
    """localstripe from scratch, and the payment method that its payments are made with."""
    require_package("localstripe")
    output = data / "localstripe.txt"
    port = free_port()
    command = [sys.executable, "-m", "localstripe", "--from-scratch", "--port", str(port)]
    try:
        with started_process(command, output=output) as process:
            target = Target(port, EXAMPLE_KEY, process)
            wait_for_response(process, f"{target.url}/js.stripe.com/v3/", output)
            yield target, _payment_method(target)
    finally:
        LOCALSTRIPE_STORE.unlink(missing_ok=True)


def _payment_method(target: Target) -> str:
    """The id of a new payment method."""
    fields = {
        "type": "card",
        "card[number]": "4242424242424242",
        "card[exp_month]": "12",
        "card[exp_year]": "2035",
        "card[cvc]": "123",
    }
    with local_client() as client:
        response = client.post(
            f"{target.url}/v1/payment_methods",
            data=fields,
            headers={"authorization": f"Bearer {target.key}"},
        )
    identity: str = response.raise_for_status().json()["id"]
    return identity
