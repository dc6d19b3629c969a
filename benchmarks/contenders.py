"""What Remit is measured against over HTTP, each started as its users start it."""

import http.client
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from benchmarks.database import database
from benchmarks.figures import CannotMeasure
from benchmarks.processes import free_port, running, wait_for_answer
from benchmarks.remit_service import Target

EXAMPLE_KEY = "sk_test_benchmark"
LOCALSTRIPE_STORE = Path("/tmp/localstripe.pickle")
"""Where localstripe writes everything it knows after each request; it cannot be told another."""


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
        with running(command, output=output, environ=environ) as process:
            wait_for_answer(process, port, "/health", output)
            yield Target(port, EXAMPLE_KEY, process)


@contextmanager
def localstripe(data: Path) -> Iterator[tuple[Target, str]]:
    """localstripe from scratch, and the payment method that its payments are made with."""
    require_package("localstripe")
    output = data / "localstripe.txt"
    port = free_port()
    command = [sys.executable, "-m", "localstripe", "--from-scratch", "--port", str(port)]
    try:
        with running(command, output=output) as process:
            wait_for_answer(process, port, "/js.stripe.com/v3/", output)
            yield Target(port, EXAMPLE_KEY, process), _payment_method(port)
    finally:
        LOCALSTRIPE_STORE.unlink(missing_ok=True)


class _Made(msgspec.Struct):
    id: str


def _payment_method(port: int) -> str:
    fields = {
        "type": "card",
        "card[number]": "4242424242424242",
        "card[exp_month]": "12",
        "card[exp_year]": "2035",
        "card[cvc]": "123",
    }
    headers = {
        "authorization": f"Bearer {EXAMPLE_KEY}",
        "content-type": "application/x-www-form-urlencoded",
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/v1/payment_methods", urlencode(fields), headers)
        return msgspec.json.decode(connection.getresponse().read(), type=_Made).id
    finally:
        connection.close()
