"""Kills the service under load and checks that no money went astray.

    python -m tests.crash.crash --rounds 500

Clients take payments over HTTP with idempotency keys. Each round the API is killed with SIGKILL at
a moment of chance; now and then its worker and PostgreSQL die with it. A client whose connection
breaks does what a caller must do: it sends the same request with the same key until it is answered.
In the end every payment must be there once, as it was acknowledged, and the books must agree.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.service import Service, ServiceResponse, wait_until

CLIENTS = 8
ROUND_SECONDS = (0.3, 1.5)
SETTLE_SECONDS = 60.0
POSTGRES_EVERY = 3
FAST_RECOVERY = {
    "REMIT_PROCESSOR_TIMEOUT_SECONDS": "1",
    "REMIT_CLAIM_MARGIN_SECONDS": "0.5",
    "REMIT_SWEEP_INTERVAL_SECONDS": "0.5",
    "REMIT_SIMULATOR_LOST_AT": "13",
    "REMIT_SIMULATOR_MODULUS": "100",
}
"""Amounts that end in 13 are charged without an answer, so that there is always something open."""


@dataclass
class Report:
    """The last response for each payment reference, and what was found wrong at the end."""

    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    repeats: int = 0
    kills: int = 0
    wrong: list[str] = field(default_factory=list)


class Client:
    """Takes one payment after the other, and repeats what was not answered."""

    def __init__(self, name: int, service: Service, report: Report) -> None:
        self._name = name
        self._service = service
        self._report = report

    async def run(self, stop: asyncio.Event) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            reference = f"client-{self._name}-{number}"
            amount = f"{number % 50 + 1}.{number % 100:02d}"
            request = {
                "amount": amount,
                "payment_id": reference,
                "card": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030},
            }
            validated = await self._until_answered("/validate", request, f"v-{reference}")
            step = {"transaction_id": validated.body["transaction_id"]}
            processed = await self._until_answered("/process", step, f"p-{reference}")
            self._report.acknowledged[reference] = processed.body

    async def _until_answered(self, path: str, body: dict[str, Any], key: str) -> ServiceResponse:
        while True:
            try:
                answer = await asyncio.to_thread(self._service.call, "POST", path, body, key=key)
            except (httpx.TransportError, json.JSONDecodeError):
                self._report.repeats += 1
                await asyncio.sleep(0.05)
                continue
            if answer.status in (200, 202):
                return answer
            # A server that takes a half-closed connection for a lost one answers without a body.
            is_unknown = answer.status == 500 and answer.body.get("error", {}).get("code") in (
                None,
                "result_unknown",
            )
            if answer.status not in (409, 503) and not is_unknown:
                raise AssertionError(f"{path} answered {answer.status}: {answer.body}")
            self._report.repeats += 1
            await asyncio.sleep(0.1)


async def crash(service: Service, rounds: int, chance: random.Random) -> Report:
    """Runs `rounds` of load and SIGKILL, lets everything settle, and checks."""
    report = Report()
    stop = asyncio.Event()
    await asyncio.to_thread(service.start)
    async with asyncio.TaskGroup() as clients:
        for name in range(CLIENTS):
            clients.create_task(Client(name, service, report).run(stop))
        for number in range(1, rounds + 1):
            await asyncio.sleep(chance.uniform(*ROUND_SECONDS))
            await asyncio.to_thread(service.kill)
            if number % POSTGRES_EVERY == 0:
                await asyncio.to_thread(service.kill_postgres)
            report.kills += 1
            await asyncio.to_thread(service.start)
            if sys.stderr.isatty():
                said = f"\r{number}/{rounds} kills, {len(report.acknowledged)} payments"
                print(said, end="", file=sys.stderr)
        stop.set()
    await asyncio.to_thread(check, service, report)
    return report


def check(service: Service, report: Report) -> None:
    """Waits until nothing is open, and adds to the report what is wrong then."""
    wait_until(lambda: _is_quiet(service), SETTLE_SECONDS, "every open question to be resolved")
    found = list(_every_payment(service))
    by_reference = {payment["payment_id"]: payment for payment in found if "payment_id" in payment}
    if len(by_reference) != len([payment for payment in found if "payment_id" in payment]):
        report.wrong.append("a reference names two payments")
    for reference, response in report.acknowledged.items():
        kept = by_reference.get(reference)
        if kept is None or kept["transaction_id"] != response["transaction_id"]:
            report.wrong.append(f"{reference}: acknowledged and not there")
        elif kept["status"] != "processed" or kept["amount_captured"] != kept["amount"]:
            report.wrong.append(f"{reference}: {kept['status']}, {kept['amount_captured']}")
    for reference in by_reference.keys() - report.acknowledged.keys():
        report.wrong.append(f"{reference}: there, and no caller was told of it")
    for arguments in (("reconcile",), ("audit", "verify")):
        said = service.command(*arguments)
        if said.returncode != 0:
            report.wrong.append(f"remit {' '.join(arguments)}: {said.stdout}{said.stderr}")


def _is_quiet(service: Service) -> bool:
    return not service.call("GET", "/payments?status=processing&limit=1").body["data"]


def _every_payment(service: Service) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = service.call("GET", f"/payments?limit=100{cursor}").body
        found += page["data"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100, help="how often to kill (100)")
    parser.add_argument("--seed", type=int, default=None, help="makes the moments repeatable")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with Service(Path(folder), **FAST_RECOVERY) as service:
            report = asyncio.run(crash(service, chosen.rounds, random.Random(chosen.seed)))
            service.stop()
    print(
        f"{report.kills} kills, {len(report.acknowledged)} payments acknowledged, "
        f"{report.repeats} requests repeated, {len(report.wrong)} wrong"
    )
    for line in report.wrong:
        print(line)
    raise SystemExit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()
