"""Validates a payment: checks every field and stores it. The processor is not called.

`http/two_step/requests.py` decodes the JSON. The types and functions here say what a field may
hold.
"""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from remit.domain.caller import Caller, KeyScope
from remit.domain.card import Card, holds_card_number, read_card
from remit.domain.change import Change, Conflict, IdempotencyRecord
from remit.domain.errors import InvalidRequest, KeyReused, ReferenceTaken
from remit.domain.money import read_amount
from remit.domain.payment import Payment
from remit.payments.replay import replay_payment
from remit.payments.results import (
    Accepted,
    Replayed,
    StepResult,
    audit_entry,
    check_same_request,
    may_be_written,
    notification,
    reject,
)
from remit.ports.app import App

MAX_METADATA_ENTRIES = 50

Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
MetadataKey = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
MetadataValue = Annotated[str, msgspec.Meta(max_length=500)]


class Amount:
    """An amount as the caller wrote it, before it is read: a number or a decimal string."""

    __slots__ = ("written",)

    def __init__(self, written: object) -> None:
        self.written = written


class CardInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A card as a caller sends it. Its representation shows no part of it."""

    number: Annotated[str, msgspec.Meta(max_length=32)]
    exp_month: int
    exp_year: int
    cvc: Annotated[str, msgspec.Meta(max_length=8)] | None = None

    def __repr__(self) -> str:
        return "CardInput(…)"


CardNumber = Annotated[str, msgspec.Meta(max_length=32)]


class PaymentRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /validate`. `amount` is in major units and is read exactly."""

    amount: Amount
    currency: Annotated[str, msgspec.Meta(max_length=3)] | None = None
    customer_id: Identifier | None = None
    payment_id: Identifier | None = None
    card: CardInput | CardNumber | None = None
    metadata: dict[MetadataKey, MetadataValue] | None = None

    def __repr__(self) -> str:
        return "PaymentRequest(…)"


async def validate(
    app: App, caller: Caller, request: PaymentRequest, key: KeyScope | None
) -> StepResult:
    """Stores the payment as `validated`, or rejects it and stores only the audit entry.

    A `payment_id` that already names a payment of the same request replays that payment.
    """
    try:
        payment = await _new_payment(app, caller, request)
    except InvalidRequest as error:
        return await reject(app, caller, "validate", error)
    record = None
    if key is not None:
        record = IdempotencyRecord(
            scope=key,
            fingerprint=payment.fingerprint,
            at=payment.created_at,
            payment_id=payment.id,
            payment=msgspec.structs.replace(payment, encrypted_card=None),
        )
    change = Change(
        payment=payment,
        audit=(audit_entry(app, caller, "validate", "accepted", payment),),
        messages=(notification(app, payment),),
        record=record,
    )
    with may_be_written():
        conflict = await app.store.commit(change)
    match conflict:
        case None:
            return Accepted(payment)
        case Conflict.KEY_TAKEN if record is not None:
            return await _replay_key(app, caller, record)
        case Conflict.REFERENCE_TAKEN:
            return await _replay_reference(app, caller, payment, record)
        case conflict:
            raise AssertionError(f"a new payment cannot conflict by {conflict}")


async def _new_payment(app: App, caller: Caller, request: PaymentRequest) -> Payment:
    """The payment that the request describes. Raises InvalidRequest."""
    now = app.clock()
    currency = app.settings.default_currency if request.currency is None else request.currency
    money = read_amount(
        request.amount.written, currency, maximum_minor=app.settings.max_amount_minor
    )
    for param, text in _free_text(request):
        check_free_of_card_numbers(param, text)
    if request.metadata is not None and len(request.metadata) > MAX_METADATA_ENTRIES:
        raise InvalidRequest(
            f"metadata can have at most {MAX_METADATA_ENTRIES} entries.",
            param="metadata",
            code="metadata_too_large",
        )
    card = None if request.card is None else parse_card(app, request.card)
    payment_id = app.new_id()
    content = (
        money,
        request.customer_id,
        request.payment_id,
        sorted(request.metadata.items()) if request.metadata else None,
        card,
    )
    return Payment(
        id=payment_id,
        merchant_id=caller.merchant_id,
        mode=caller.mode,
        amount_minor=money.amount_minor,
        currency=money.currency,
        created_at=now,
        fingerprint=app.vault.fingerprint(msgspec.json.encode(content)),
        customer_id=request.customer_id,
        reference=request.payment_id,
        metadata=request.metadata,
        card=card.summary() if card else None,
        encrypted_card=await app.vault.encrypt(card, payment_id) if card else None,
        due_at=now + app.settings.card_retention if card else None,
    )


def parse_card(app: App, card: CardInput | str) -> Card:
    """The card that a caller sent, or its number alone. Raises InvalidRequest."""
    if isinstance(card, str):
        return read_card(card, None, None, None, now=app.clock())
    return read_card(card.number, card.exp_month, card.exp_year, card.cvc, now=app.clock())


def check_free_of_card_numbers(param: str, text: str) -> None:
    """Raises InvalidRequest if a field that is not encrypted holds a card number or a NUL."""
    if "\x00" in text:
        raise InvalidRequest(
            f"{param} must not contain the NUL character.", param=param, code="invalid"
        )
    if holds_card_number(text):
        raise InvalidRequest(
            f"{param} looks like it holds a card number, which may only be sent in card.",
            param=param,
            code="card_number_misplaced",
        )


def _free_text(request: PaymentRequest) -> Iterator[tuple[str, str]]:
    if request.customer_id is not None:
        yield "customer_id", request.customer_id
    if request.payment_id is not None:
        yield "payment_id", request.payment_id
    for name, value in (request.metadata or {}).items():
        yield "metadata", name
        yield "metadata", value


async def _replay_key(app: App, caller: Caller, record: IdempotencyRecord) -> StepResult:
    first = await app.store.record(record.scope)
    if first is None or first.payment is None:
        raise AssertionError("a validation is recorded with its result or not at all")
    try:
        check_same_request(first, record.fingerprint)
    except KeyReused as error:
        return await reject(app, caller, "validate", error)
    await _audit_replay(app, caller, first.payment)
    return Replayed(first.payment)


async def _replay_reference(
    app: App, caller: Caller, payment: Payment, record: IdempotencyRecord | None
) -> StepResult:
    reference = payment.reference or ""
    first = await app.store.payment_by_reference(caller.merchant_id, caller.mode, reference)
    if first is None:
        raise AssertionError("payments are never deleted")
    if first.fingerprint != payment.fingerprint:
        error = ReferenceTaken(
            f"payment_id '{reference}' already names a payment made of a different request."
        )
        return await reject(app, caller, "validate", error, payment_id=first.id)
    replayed = await replay_payment(app, caller, "validate", first, record)
    if replayed is None and record is not None:
        return await _replay_key(app, caller, record)
    return replayed or Replayed(first)


async def _audit_replay(app: App, caller: Caller, payment: Payment) -> None:
    await app.store.commit(
        Change(audit=(audit_entry(app, caller, "validate", "replayed", payment),))
    )
