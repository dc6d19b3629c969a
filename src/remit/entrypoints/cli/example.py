"""One payment taken over HTTP, as a caller would: for `remit pay`, and once `remit up` runs."""

import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from remit.entrypoints.cli.data_folder import address_of
from remit.entrypoints.cli.terminal import print_error, print_line
from remit.settings import Settings

CARD = "4242424242424242"
START_TIMEOUT_SECONDS = 15.0
START_PAUSE_SECONDS = 0.05
REQUEST_TIMEOUT_SECONDS = 30.0


class NotPaid(Exception):
    """The payment was refused or declined, or the service did not answer: in one sentence."""


class WrongAddress(NotPaid):
    """What was given is no address of a service."""


@dataclass(frozen=True)
class CardPayment:
    """What is paid with a card, the amount in major units."""

    amount: str
    currency: str = "USD"
    card: str = CARD
    reference: str | None = None


class ServiceClient:
    """A client of one service: at a base address, and whose certificate it trusts if it is HTTPS.

    Raises NotPaid where the service does not answer, and says why.
    """

    def __init__(self, address: str, certificate: Path | None = None) -> None:
        """Raises WrongAddress."""
        if not _is_address(address):
            raise WrongAddress(
                f"'{address}' is no address of a service, such as http://127.0.0.1:8000."
            )
        self.address = address.rstrip("/")
        # What this machine trusts, which a company's proxy may need; httpx would take its own list.
        trusted = ssl.create_default_context(cafile=str(certificate) if certificate else None)
        self._client = httpx.Client(timeout=REQUEST_TIMEOUT_SECONDS, verify=trusted)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()

    def is_up(self) -> bool:
        """Whether anything answers."""
        try:
            self._client.get(f"{self.address}/health")
        except httpx.TransportError:
            return False
        return True

    def post(self, path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
        """The body of an answer that is a success."""
        try:
            response = self._client.post(self.address + path, json=body, headers={"x-api-key": key})
        except httpx.TransportError as error:
            raise NotPaid(self._no_answer(error)) from error
        try:
            answer: dict[str, Any] = response.json()
            if response.status_code < 300:
                return answer
            message = answer["error"]["message"]
        except (ValueError, KeyError, TypeError) as error:
            raise NotPaid(
                f"What answers at {self.address} is not Remit: {path} answered "
                f"{response.status_code}, and not in its JSON."
            ) from error
        raise NotPaid(f"{path} answered {response.status_code}: {message}")

    def _no_answer(self, error: httpx.TransportError) -> str:
        if (refusal := _tls_refusal(error)) is not None:
            return f"TLS with {self.address} failed: {refusal}"
        if isinstance(error, httpx.TimeoutException):
            return f"{self.address} did not answer within {REQUEST_TIMEOUT_SECONDS:g} s."
        if isinstance(error, httpx.ConnectError):
            return f"Nothing answers at {self.address}. Start it with `remit up`."
        return f"{self.address} ended the connection without an answer. Is it https and not http?"


def _is_address(text: str) -> bool:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in ("http", "https") and url.host != ""


def _tls_refusal(error: BaseException) -> str | None:
    """What TLS did not like, found below what the client made of it."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not trusted ({below.verify_message}). To trust it, name its "
                "file with SSL_CERT_FILE."
            )
        if isinstance(below, ssl.SSLError):
            reason = (below.reason or "no reason given").lower().replace("_", " ")
            return f"{reason}. Is it http and not https?"
        below = below.__cause__ or below.__context__
    return None


def show(settings: Settings, key: str, is_stopping: Callable[[], bool]) -> None:
    """Waits until the service answers, takes the example payment and says how to repeat it.

    A service that is stopping answers nothing more, which is no failure of the payment.
    """
    with ServiceClient(address_of(settings)) as service:
        try:
            _wait(service, is_stopping)
            if is_stopping():
                return
            show_payment(service, key)
        except NotPaid as error:
            if not is_stopping():
                print_error(str(error))
            return
    print_line(f"Data: {settings.data_dir}   Documentation: {service.address}/docs   Stop: Ctrl-C")


def show_payment(service: ServiceClient, key: str, curl: str = "curl") -> None:
    """Takes the example payment and says how to repeat both of its steps. Raises NotPaid."""
    paid = take_payment(service, CardPayment("19.99"), key, print_line)
    headers = f"-H 'x-api-key: {key}' -H 'content-type: application/json'"
    print_line(
        f"\nYour test key: {key}\n"
        "The processor is simulated: no money moves.\n\n"
        "To repeat both steps, put the transaction_id that /validate answers into the second:\n\n"
        f"{curl} {service.address}/validate {headers} \\\n"
        f"""  -d '{{"amount": 19.99, "currency": "USD", "card": {{"number": "{CARD}", """
        """"exp_month": 12, "exp_year": 2030, "cvc": "123"}}'\n\n"""
        f"{curl} {service.address}/process {headers} \\\n"
        f"""  -d '{{"transaction_id": "{paid["transaction_id"]}"}}'\n"""
    )


def take_payment(
    service: ServiceClient, asked: CardPayment, key: str, show_line: Callable[[str], None]
) -> dict[str, Any]:
    """Validates and processes one payment, showing each step. Raises NotPaid."""
    body: dict[str, Any] = {
        "amount": asked.amount,
        "currency": asked.currency,
        "card": {"number": asked.card, "exp_month": 12, "exp_year": 2030},
    }
    if asked.reference is not None:
        body["payment_id"] = asked.reference
    validated = service.post("/validate", body, key)
    show_line(
        f"validated  {validated['transaction_id']}  {validated['amount']} {validated['currency']}"
    )
    step = {"transaction_id": validated["transaction_id"]}
    processed = service.post("/process", step, key)
    show_line(f"{processed['status']:<10} {json.dumps(processed, indent=2)}")
    return processed


def _wait(service: ServiceClient, is_stopping: Callable[[], bool]) -> None:
    attempts = int(START_TIMEOUT_SECONDS / START_PAUSE_SECONDS)
    for _ in range(attempts):
        if is_stopping() or service.is_up():
            return
        time.sleep(START_PAUSE_SECONDS)
    raise NotPaid(
        f"The service at {service.address} did not answer within {START_TIMEOUT_SECONDS:.0f} s."
    )
