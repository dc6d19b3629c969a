"""How long a user waits: from `remit up` to the first answer and to the first payment.

Once on a fresh folder, where the database is made first, and once on the folder found again.
"""

import http.client
import json
import time
from pathlib import Path

import msgspec

from benchmarks.figures import CannotMeasure, report_median, say
from benchmarks.options import Options
from benchmarks.processes import POLL_SECONDS, wait_for_answer
from benchmarks.remit_service import Target, remit_up

BELOW_SECONDS = 3.0


class Start(msgspec.Struct, frozen=True):
    answer_seconds: float
    payment_seconds: float


def measure(options: Options, folder: Path) -> None:
    fresh: list[Start] = []
    again: list[Start] = []
    for number in range(1, options.rounds + 1):
        say(f"  round {number}: a fresh start and a second one")
        data = folder / f"startup-{number}"
        fresh.append(_start(data))
        again.append(_start(data))
    for name, starts in (("fresh", fresh), ("again", again)):
        report_median(
            f"first_answer_{name}",
            [start.answer_seconds for start in starts],
            "s",
            below=BELOW_SECONDS,
        )
        report_median(f"first_payment_{name}", [start.payment_seconds for start in starts], "s")


def _start(data: Path) -> Start:
    began = time.perf_counter()
    with remit_up(data, wait=False) as target:
        wait_for_answer(target.process, target.port, "/health", data / "output.txt")
        answered = time.perf_counter()
        _pay(target, (data / "example.key").read_text().strip())
        paid = time.perf_counter()
        # Its own example payment is still under way; ending it now would be another measurement.
        _wait_for_words(data / "output.txt", "Ctrl-C")
    return Start(answered - began, paid - began)


def _pay(target: Target, key: str) -> None:
    made = _post(target, key, "/validate", {"amount": "12.34", "card": "4242424242424242"})
    paid = _post(target, key, "/process", {"transaction_id": made["transaction_id"]})
    if paid["status"] != "processed":
        raise CannotMeasure(f"the first payment ended as {paid['status']}")


def _post(target: Target, key: str, path: str, body: dict[str, str]) -> dict[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=30)
    try:
        headers = {"x-api-key": key, "content-type": "application/json"}
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        answer: dict[str, str] = json.loads(response.read())
        if response.status != 200:
            raise CannotMeasure(f"{path} answered {response.status}: {answer}")
        return answer
    finally:
        connection.close()


def _wait_for_words(output: Path, words: str) -> None:
    deadline = time.monotonic() + 30
    while words not in output.read_text(errors="replace"):
        if time.monotonic() > deadline:
            raise CannotMeasure(f"`remit up` never said '{words}'")
        time.sleep(POLL_SECONDS)
