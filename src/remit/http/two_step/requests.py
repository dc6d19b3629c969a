"""Reads the bodies and query parameters of the two-step endpoints into typed values."""

from decimal import Decimal

import msgspec

from remit.domain.errors import InvalidRequest
from remit.domain.ids import is_id
from remit.domain.payment import State
from remit.http.requests import read_json
from remit.http.two_step.views import STATES_BY_STATUS
from remit.payments.process import ProcessRequest
from remit.payments.validate import Amount, PaymentRequest

MAX_PAGE = 100


def _amount(kind: type, written: object) -> object:
    if kind is Amount:
        return Amount(written)
    raise NotImplementedError(kind)


_validate = msgspec.json.Decoder(PaymentRequest, dec_hook=_amount, float_hook=Decimal)
_process = msgspec.json.Decoder(ProcessRequest)


def read_payment_request(body: bytes) -> PaymentRequest:
    """The body of `POST /validate`. Raises InvalidRequest."""
    return read_json(_validate, body)


def read_process_request(body: bytes) -> ProcessRequest:
    """The body of `POST /process`. Raises InvalidRequest."""
    return read_json(_process, body)


def read_text(text: str | None) -> str | None:
    return text


def read_limit(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_PAGE):
        raise InvalidRequest(
            f"limit must be a whole number from 1 to {MAX_PAGE}.",
            param="limit",
            code="field_invalid",
        )
    return int(text)


def read_cursor(text: str | None) -> str | None:
    if text is not None and not is_id(text):
        raise InvalidRequest(
            "cursor must be a next_cursor of an earlier page.", param="cursor", code="field_invalid"
        )
    return text


def read_status(text: str | None) -> State | None:
    if text is None:
        return None
    if text not in STATES_BY_STATUS:
        raise InvalidRequest(
            f"status must be one of {', '.join(STATES_BY_STATUS)}.",
            param="status",
            code="field_invalid",
        )
    return STATES_BY_STATUS[text]
