"""The same two steps written the usual way: FastAPI, pydantic, a pool, one statement at a time.

It stores what the service stores, in the service's tables and its three transactions, and does
less: refusals leave no audit entry, a replay gets its response only for a key that is found at the
start, the API key is looked up once and kept, the processor always approves at once, and nothing is
relayed or archived. uvicorn runs it, with httptools and uvloop.
"""

import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import asyncpg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel, Field, field_validator
from stdnum import luhn

from remit.clock_and_ids import new_id

POOL_SIZE = 20


class Scope(NamedTuple):
    """What an idempotency key belongs to."""

    merchant: str
    operation: str
    key: str


class AuditedStep(NamedTuple):
    """The words of an audit entry."""

    action: str
    outcome: str
    state: str


VALIDATED = AuditedStep("validate", "accepted", "validated")
CLAIMED = AuditedStep("process", "claimed", "unknown")
CAPTURED = AuditedStep("process", "done", "captured")


class CardBody(BaseModel):
    number: str = Field(max_length=19)
    exp_month: int = Field(ge=1, le=12)
    exp_year: int = Field(ge=2000, le=2100)
    cvc: str | None = Field(default=None, max_length=4)

    @field_validator("number")
    @classmethod
    def check_digit(cls, number: str) -> str:
        if not luhn.is_valid(number):
            raise ValueError("the check digit is wrong")
        return number


class ValidateBody(BaseModel):
    amount: Decimal = Field(gt=0, le=999_999, decimal_places=2)
    currency: str = Field(default="USD", pattern="^[A-Z]{3}$")
    customer_id: str | None = Field(default=None, max_length=255)
    payment_id: str | None = Field(default=None, max_length=255)
    card: CardBody


class ProcessBody(BaseModel):
    transaction_id: UUID


class PaymentBody(BaseModel):
    status: str
    transaction_id: UUID
    amount: str
    currency: str
    card: dict[str, Any]
    processed_at: datetime | None = None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.vault = AESGCM(bytes(32))
    app.state.known_keys = {os.environ["BENCHMARK_KEY"]}
    async with asyncpg.create_pool(
        os.environ["BENCHMARK_DATABASE_URL"], min_size=POOL_SIZE, max_size=POOL_SIZE
    ) as app.state.pool:
        yield


app = FastAPI(lifespan=lifespan)


def pool(request: Request) -> Any:
    return request.app.state.pool


def caller(request: Request, x_api_key: Annotated[str, Header()]) -> str:
    if x_api_key not in request.app.state.known_keys:
        raise HTTPException(401)
    return "example"


@app.get("/health")
async def health(connections: Annotated[Any, Depends(pool)]) -> dict[str, str]:
    await connections.fetchval("SELECT 1")
    return {"status": "healthy"}


@app.post("/validate")
async def validate(
    body: ValidateBody,
    request: Request,
    merchant: Annotated[str, Depends(caller)],
    connections: Annotated[Any, Depends(pool)],
    idempotency_key: Annotated[str, Header()],
) -> PaymentBody:
    now = datetime.now(UTC)
    payment_id = UUID(new_id())
    amount_minor = int(body.amount * 100)
    card = {"brand": "visa", "last4": body.card.number[-4:]}
    nonce = os.urandom(12)
    encrypted = nonce + request.app.state.vault.encrypt(
        nonce, body.card.model_dump_json(exclude={"cvc"}).encode(), payment_id.bytes
    )
    response = PaymentBody(
        status="validated",
        transaction_id=payment_id,
        amount=str(body.amount),
        currency=body.currency,
        card=card,
    )
    async with connections.acquire() as connection, connection.transaction():
        scope = Scope(merchant, "POST /validate", idempotency_key)
        stored = await _claim_key(connection, scope, body, response, now)
        if stored is not None:
            return stored
        await connection.execute(
            "INSERT INTO payments (id, merchant_id, mode, amount_minor, currency, created_at, "
            "fingerprint, state, version, customer_id, reference, card, encrypted_card, "
            "authorized_minor, captured_minor, refunded_minor, due_at) VALUES ($1, $2, 'test', "
            "$3, $4, $5, $6, 'validated', 1, $7, $8, $9, $10, 0, 0, 0, $11)",
            payment_id,
            merchant,
            amount_minor,
            body.currency,
            now,
            _fingerprint(body),
            body.customer_id,
            body.payment_id,
            json.dumps(card),
            encrypted.hex(),
            now + timedelta(days=7),
        )
        await _audit(connection, merchant, payment_id, VALIDATED, now)
        await _notify(connection, payment_id, "validated", now)
    return response


@app.post("/process")
async def process(
    body: ProcessBody,
    merchant: Annotated[str, Depends(caller)],
    connections: Annotated[Any, Depends(pool)],
    idempotency_key: Annotated[str, Header()],
) -> PaymentBody:
    now = datetime.now(UTC)
    payment_id = body.transaction_id
    async with connections.acquire() as connection, connection.transaction():
        scope = Scope(merchant, "POST /process", idempotency_key)
        stored = await _claim_key(connection, scope, body, None, now)
        if stored is not None:
            return stored
        payment = await _claim_payment(connection, merchant, payment_id, now)
    response = PaymentBody(
        status="processed",
        transaction_id=payment_id,
        amount=str(Decimal(payment["amount_minor"]) / 100),
        currency=payment["currency"],
        card=json.loads(payment["card"]),
        processed_at=now,
    )
    async with connections.acquire() as connection, connection.transaction():
        await _capture(connection, payment_id, payment["amount_minor"], payment["currency"], now)
        await connection.execute(
            "UPDATE idempotency SET record = $4 WHERE merchant_id = $1 AND mode = 'test' "
            "AND operation = $2 AND key = $3",
            *scope,
            _record(body, response),
        )
    return response


async def _claim_payment(connection: Any, merchant: str, payment_id: UUID, now: datetime) -> Any:
    payment = await connection.fetchrow(
        "SELECT merchant_id, state, amount_minor, currency, card FROM payments "
        "WHERE id = $1 FOR UPDATE",
        payment_id,
    )
    if payment is None or payment["merchant_id"] != merchant:
        raise HTTPException(404)
    if payment["state"] != "validated":
        raise HTTPException(409)
    await connection.execute(
        "UPDATE payments SET state = 'unknown', version = version + 1, pending = $2 WHERE id = $1",
        payment_id,
        json.dumps(
            {
                "operation_id": str(payment_id),
                "kind": "charge",
                "previous_state": "validated",
            }
        ),
    )
    await connection.execute(
        "INSERT INTO operations (id, payment_id, version, due_at, operation) "
        "VALUES ($1, $1, 1, $2, $3)",
        payment_id,
        now + timedelta(seconds=15),
        _operation(payment["amount_minor"], None),
    )
    await _audit(connection, merchant, payment_id, CLAIMED, now)
    return payment


async def _capture(
    connection: Any, payment_id: UUID, amount_minor: int, currency: str, now: datetime
) -> None:
    await connection.execute(
        "UPDATE payments SET state = 'captured', version = version + 1, "
        "pending = NULL, encrypted_card = NULL, due_at = NULL, authorized_minor = $2, "
        "captured_minor = $2, processed_at = $3, processor_reference = $4 WHERE id = $1",
        payment_id,
        amount_minor,
        now,
        f"ref_{payment_id}",
    )
    await connection.execute(
        "UPDATE operations SET version = 2, due_at = NULL, operation = $2 WHERE id = $1",
        payment_id,
        _operation(amount_minor, f"ref_{payment_id}"),
    )
    await connection.execute(
        "INSERT INTO postings (transaction_id, line, payment_id, account, currency, "
        "amount_minor, at) VALUES ($1, 0, $2, 'test/processor/simulated', $3, $4, $6), "
        "($1, 1, $2, 'test/merchant/example', $3, $5, $6)",
        UUID(new_id()),
        payment_id,
        currency,
        amount_minor,
        -amount_minor,
        now,
    )
    await _audit(connection, "example", payment_id, CAPTURED, now)
    await _notify(connection, payment_id, "captured", now)


async def _claim_key(
    connection: Any,
    scope: Scope,
    body: BaseModel,
    response: PaymentBody | None,
    now: datetime,
) -> PaymentBody | None:
    """Stores a record under a new key and returns None; else the response stored under the key."""
    claimed = await connection.execute(
        "INSERT INTO idempotency (merchant_id, mode, operation, key, at, record) "
        "VALUES ($1, 'test', $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        *scope,
        now,
        _record(body, response),
    )
    if claimed == "INSERT 0 1":
        return None
    record = json.loads(
        await connection.fetchval(
            "SELECT record FROM idempotency WHERE merchant_id = $1 AND mode = 'test' "
            "AND operation = $2 AND key = $3",
            *scope,
        )
    )
    if record["fingerprint"] != _fingerprint(body):
        raise HTTPException(422)
    if record["response"] is None:
        raise HTTPException(409)
    return PaymentBody.model_validate_json(record["response"])


async def _audit(
    connection: Any, merchant: str, payment_id: UUID, step: AuditedStep, now: datetime
) -> None:
    await connection.execute(
        "INSERT INTO audit_entries (id, at, merchant_id, mode, actor, request_id, action, "
        "outcome, state, payment_id) VALUES ($1, $2, $3, 'test', 'key', $4, $5, $6, $7, $8)",
        UUID(new_id()),
        now,
        merchant,
        new_id(),
        *step,
        payment_id,
    )


async def _notify(connection: Any, payment_id: UUID, state: str, now: datetime) -> None:
    message_id = new_id()
    message = {
        "id": message_id,
        "topic": "notifications",
        "kind": f"payment.{state}",
        "created_at": now.isoformat(),
        "payment_id": str(payment_id),
        "mode": "test",
    }
    await connection.execute(
        "INSERT INTO outbox (id, created_at, message) VALUES ($1, $2, $3)",
        UUID(message_id),
        now,
        json.dumps(message),
    )


def _fingerprint(body: BaseModel) -> str:
    return hashlib.sha256(body.model_dump_json().encode()).hexdigest()


def _record(body: BaseModel, response: PaymentBody | None) -> str:
    stored = None if response is None else response.model_dump_json()
    return json.dumps({"fingerprint": _fingerprint(body), "response": stored})


def _operation(amount_minor: int, reference: str | None) -> str:
    return json.dumps({"kind": "charge", "amount_minor": amount_minor, "reference": reference})
