"""One payment taken over HTTP, as a caller would: for `remit pay`, and once `remit up` runs."""

import http.client
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from remit.entrypoints.console import print_error
from remit.settings import Settings

EXAMPLE_KEY = "example.key"
"""The file that keeps the laptop's own test key, so that a second start can show it again."""

START_TIMEOUT_SECONDS = 15.0


class NotPaid(Exception):
    """The payment was refused or declined, or nobody answered: in one sentence."""


def show(settings: Settings, key: str) -> None:
    """Waits until the service answers, takes the example payment and says how to repeat it."""
    address = f"http://{settings.host}:{settings.port}"
    try:
        _wait(settings)
        pay(
            settings,
            amount="19.99",
            currency="USD",
            card="4242424242424242",
            reference=None,
            key=key,
            say=_say,
        )
    except NotPaid as error:
        print_error(str(error))
        return
    _say(
        f"\nYour test key: {key}\n\n"
        f"curl {address}/validate -H 'x-api-key: {key}' -H 'content-type: application/json' \\\n"
        """  -d '{"amount": 19.99, "currency": "USD", "card": {"number": "4242424242424242", """
        """"exp_month": 12, "exp_year": 2030, "cvc": "123"}}'\n\n"""
        f"Documentation: {address}/docs   Stop: Ctrl-C"
    )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def pay(
    settings: Settings,
    *,
    amount: str,
    currency: str,
    card: str,
    reference: str | None,
    key: str | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Validates and processes one payment, saying each step. Raises NotPaid."""
    secret = key or _own_key(settings)
    body: dict[str, Any] = {
        "amount": amount,
        "currency": currency,
        "card": {"number": card, "exp_month": 12, "exp_year": 2030},
    }
    if reference is not None:
        body["payment_id"] = reference
    validated = _post(settings, "/validate", body, secret)
    say(f"validated  {validated['transaction_id']}  {validated['amount']} {validated['currency']}")
    step = {"transaction_id": validated["transaction_id"]}
    processed = _post(settings, "/process", step, secret)
    say(f"{processed['status']:<10} {json.dumps(processed, indent=2)}")
    return processed


def _post(settings: Settings, path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
    headers = {"x-api-key": key, "content-type": "application/json"}
    status, answer = _call(settings, "POST", path, json.dumps(body), headers)
    if status >= 300:
        raise NotPaid(f"{path} answered {status}: {answer['error']['message']}")
    return answer


def _call(
    settings: Settings, method: str, path: str, body: str | None, headers: dict[str, str]
) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(settings.host, settings.port, timeout=30)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NotPaid(
            f"Nothing answers at http://{settings.host}:{settings.port}. Start it with `remit up`."
        ) from error
    finally:
        connection.close()


def _wait(settings: Settings) -> None:
    attempts = int(START_TIMEOUT_SECONDS / 0.05)
    for attempt in range(attempts):
        try:
            _call(settings, "GET", "/health", None, {})
        except NotPaid:
            if attempt == attempts - 1:
                raise
            time.sleep(0.05)
        else:
            return


def _own_key(settings: Settings) -> str:
    try:
        return (settings.data_dir / EXAMPLE_KEY).read_text().strip()
    except OSError as error:
        raise NotPaid("No API key: give one with --key, or start with `remit up`.") from error
