"""How long a user waits: from `remit up` to the first response and to the first payment.

Measured on a fresh folder, where the database is made first, and on the same folder started again.
"""

import time
from pathlib import Path
from typing import Any

import httpx
import msgspec

from benchmarks.figures import CannotMeasure, below, report_median, say
from benchmarks.options import Options
from benchmarks.processes import local_client, wait_for_response
from benchmarks.remit_service import remit_up, wait_for_example

BELOW_SECONDS = 3.0


class Start(msgspec.Struct, frozen=True):
    """Seconds from the start of the program."""

    response_seconds: float
    payment_seconds: float


def measure(options: Options, folder: Path) -> None:
    fresh: list[Start] = []
    restart: list[Start] = []
    for number in range(1, options.rounds + 1):
        say(f"  round {number}: a fresh start and a second one")
        data = folder / f"startup-{number}"
        fresh.append(_start(data))
        restart.append(_start(data))
    for name, starts in (("fresh", fresh), ("restart", restart)):
        responses = [start.response_seconds for start in starts]
        report_median(f"first_response_{name}", responses, "s", below(BELOW_SECONDS))
        report_median(f"first_payment_{name}", [start.payment_seconds for start in starts], "s")


def _start(data: Path) -> Start:
    # Made before, because a new client takes some milliseconds to read its certificates.
    with local_client() as client:
        began = time.perf_counter()
        with remit_up(data, wait=False) as target:
            wait_for_response(target.process, f"{target.url}/health", data / "output.txt")
            responded = time.perf_counter()
            client.headers["x-api-key"] = (data / "example.key").read_text().strip()
            _pay(client, target.url)
            paid = time.perf_counter()
            wait_for_example(data / "output.txt")
    return Start(responded - began, paid - began)


def _pay(client: httpx.Client, url: str) -> None:
    body = {"amount": "12.34", "card": "4242424242424242"}
    payment = _post(client, f"{url}/validate", body)
    result = _post(client, f"{url}/process", {"transaction_id": payment["transaction_id"]})
    if result["status"] != "processed":
        raise CannotMeasure(f"the first payment ended as {result['status']}")


def _post(client: httpx.Client, url: str, body: dict[str, str]) -> dict[str, Any]:
    response = client.post(url, json=body)
    if response.status_code != 200:
        raise CannotMeasure(f"{url} responded {response.status_code}: {response.text}")
    fields: dict[str, Any] = response.json()
    return fields
