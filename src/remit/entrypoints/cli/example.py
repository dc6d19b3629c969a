"""One payment taken over HTTP, as a caller would: for `remit pay`, and once `remit up` runs."""

import json
import ssl
import sys
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from remit.entrypoints.cli.terminal import print_error
from remit.settings import Settings

EXAMPLE_KEY = "example.key"
"""The file that keeps the laptop's own test key, so that a second start can show it again."""

CARD = "4242424242424242"
START_TIMEOUT_SECONDS = 15.0


class NotPaid(Exception):
    """The payment was refused or declined, or nobody answered: in one sentence."""


class Service:
    """Where the service is asked: a base address, and whose certificate it shows if it is HTTPS."""

    def __init__(self, address: str, certificate: Path | None = None) -> None:
        self.address = address.rstrip("/")
        self._trusted = None
        if address.startswith("https:"):
            self._trusted = ssl.create_default_context(
                cafile=str(certificate) if certificate else None
            )

    def ask(
        self, method: str, path: str, body: str | None = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """Status and body of one answer. Raises NotPaid if nobody answers."""
        request = Request(
            self.address + path,
            method=method,
            data=None if body is None else body.encode(),
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )
        try:
            try:
                answer = urlopen(request, timeout=30, context=self._trusted)  # nosec B310
            except HTTPError as error:
                answer = error
            with answer:
                return answer.status, json.loads(answer.read())
        except (OSError, ValueError, HTTPException) as error:
            raise NotPaid(
                f"Nothing answers at {self.address}. Start it with `remit up`."
            ) from error


def address_of(settings: Settings) -> str:
    return f"http://{settings.host}:{settings.port}"


def show(settings: Settings, key: str) -> None:
    """Waits until the service answers, takes the example payment and says how to repeat it."""
    service = Service(address_of(settings))
    try:
        _wait(service)
        show_payment(service, key)
    except NotPaid as error:
        print_error(str(error))
        return
    say(f"Documentation: {service.address}/docs   Stop: Ctrl-C")


def show_payment(service: Service, key: str, curl: str = "curl") -> None:
    """Takes the example payment and says how to repeat it. Raises NotPaid."""
    pay(service, amount="19.99", currency="USD", card=CARD, reference=None, key=key, say=say)
    say(
        f"\nYour test key: {key}\n\n"
        f"{curl} {service.address}/validate -H 'x-api-key: {key}' "
        "-H 'content-type: application/json' \\\n"
        f"""  -d '{{"amount": 19.99, "currency": "USD", "card": {{"number": "{CARD}", """
        """"exp_month": 12, "exp_year": 2030, "cvc": "123"}}'\n"""
    )


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def pay(
    service: Service,
    *,
    amount: str,
    currency: str,
    card: str,
    reference: str | None,
    key: str,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Validates and processes one payment, saying each step. Raises NotPaid."""
    body: dict[str, Any] = {
        "amount": amount,
        "currency": currency,
        "card": {"number": card, "exp_month": 12, "exp_year": 2030},
    }
    if reference is not None:
        body["payment_id"] = reference
    validated = _post(service, "/validate", body, key)
    say(f"validated  {validated['transaction_id']}  {validated['amount']} {validated['currency']}")
    step = {"transaction_id": validated["transaction_id"]}
    processed = _post(service, "/process", step, key)
    say(f"{processed['status']:<10} {json.dumps(processed, indent=2)}")
    return processed


def _post(service: Service, path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
    status, answer = service.ask(
        "POST", path, json.dumps(body), x_api_key=key, content_type="application/json"
    )
    if status >= 300:
        raise NotPaid(f"{path} answered {status}: {answer['error']['message']}")
    return answer


def _wait(service: Service) -> None:
    attempts = int(START_TIMEOUT_SECONDS / 0.05)
    for attempt in range(attempts):
        try:
            service.ask("GET", "/health")
        except NotPaid:
            if attempt == attempts - 1:
                raise
            time.sleep(0.05)
        else:
            return


def own_key(settings: Settings) -> str:
    """The laptop's own test key. Raises NotPaid if there is none."""
    try:
        return (settings.data_dir / EXAMPLE_KEY).read_text().strip()
    except OSError as error:
        raise NotPaid("No API key: give one with --key, or start with `remit up`.") from error
