"""What PostgreSQL itself can do: the rows of one payment, written by pgbench with 64 clients.

The same tables, indexes and triggers as the service's, on the same server; one statement after the
other, as a service written the usual way sends them. There are two scripts:

    three commits   validate, claim, result: the transactions that the service makes
    two commits     validate, result: without the claim, a crash would lose that the processor was
                    called

pgbench does less than the service: no HTTP, no encryption of a card, no call to a processor, no
relay and no archive. The JSON that it stores is a constant of the right size.
"""

import re
import time
from pathlib import Path

from benchmarks.database import database
from benchmarks.figures import CannotMeasure
from benchmarks.options import Options
from benchmarks.processes import run

_TPS = re.compile(r"^tps = (?P<tps>[0-9.]+) \(without initial connection time\)$", re.MULTILINE)
_NONE_FAILED = "number of failed transactions: 0 "


def _id(number: int) -> str:
    """SQL of an id that rises with time as the service's do, and that no other client or run makes.

    pgbench keeps :n from one payment to the next; it starts at the milliseconds of the clock.
    """
    tail = f"lpad(to_hex(:client_id::bigint * 16 + {number}), 12, '0')"
    return f"(lpad(to_hex(:n::bigint), 12, '0') || '70008000' || {tail})::uuid"


def _constant(size: int, **fields: object) -> str:
    """JSON of about `size` bytes, as an SQL literal."""
    inside = ", ".join(f'"{name}": "{value}"' for name, value in fields.items())
    return f"""'{{{inside}, "rest": "{"x" * (size - len(inside) - 14)}"}}'"""


PAYMENT, LEDGER, OPERATION = _id(0), _id(1), _id(7)
OWNER = "'example', 'test'"
KEY = ":client_id || '-' || :n"
MESSAGE = _constant(330, topic="notifications", kind="payment")
RECORD = _constant(850, fingerprint="f" * 64)
OPERATION_RECORD = _constant(640, kind="charge")
CLAIM_RECORD = _constant(380, fingerprint="f" * 64)


def _audit(number: int, action: str, outcome: str, state: str) -> str:
    return f"""
INSERT INTO audit_entries (id, at, merchant_id, mode, actor, request_id, action, outcome,
                           payment_id, state, amount_minor, currency)
VALUES ({_id(number)}, now(), {OWNER}, 'key:00000000-0000-7000-8000-000000000000',
        '00000000-0000-7000-8000-000000000000', '{action}', '{outcome}', {PAYMENT}, '{state}',
        :amount, 'USD');"""


def _message(number: int) -> str:
    return f"""
INSERT INTO outbox (id, created_at, message) VALUES ({_id(number)}, now(), {MESSAGE});"""


def _record(operation: str, record: str) -> str:
    return f"""
INSERT INTO idempotency (merchant_id, mode, operation, key, at, record)
VALUES ({OWNER}, '{operation}', {KEY}, now(), {record});"""


VALIDATE = f"""
BEGIN;
{_record("POST /validate", RECORD)}
INSERT INTO payments (id, merchant_id, mode, amount_minor, currency, created_at, fingerprint, state,
                      version, customer_id, reference, card, encrypted_card,
                      authorized_minor, captured_minor, refunded_minor, due_at)
VALUES ({PAYMENT}, {OWNER}, :amount, 'USD', now(), '{"f" * 64}', 'validated', 1,
        'customer-' || :amount % 1000, 'order-' || {KEY},
        '{{"brand": "visa", "last4": "4242", "exp_year": 2035, "exp_month": 12}}', '{"s" * 260}',
        0, 0, 0, now() + interval '7 days');
{_audit(2, "validate", "accepted", "validated")}
{_message(3)}
COMMIT;
"""

READ = f"SELECT * FROM payments WHERE id = {PAYMENT} FOR UPDATE;"

CLAIM = f"""
BEGIN;
{READ}
UPDATE payments
SET state = 'unknown', version = 2,
    pending = '{{"operation_id": "{"k" * 36}", "kind": "charge", "previous_state": "validated"}}'
WHERE id = {PAYMENT};
INSERT INTO operations (id, payment_id, version, due_at, operation)
VALUES ({OPERATION}, {PAYMENT}, 1, now() + interval '15 seconds', {OPERATION_RECORD});
{_audit(4, "process", "claimed", "unknown")}
{_record("POST /process", CLAIM_RECORD)}
COMMIT;
"""

_RESULT = f"""
UPDATE payments
SET state = 'captured', version = version + 1, pending = NULL, encrypted_card = NULL,
    authorized_minor = :amount, captured_minor = :amount, due_at = NULL, processed_at = now(),
    processor_reference = '{"p" * 42}'
WHERE id = {PAYMENT};
INSERT INTO postings (transaction_id, line, payment_id, account, currency, amount_minor, at)
VALUES ({LEDGER}, 0, {PAYMENT}, 'test/processor/simulated', 'USD', :amount, now()),
       ({LEDGER}, 1, {PAYMENT}, 'test/merchant/example', 'USD', - :amount::bigint, now());
{_audit(5, "process", "done", "captured")}
{_message(6)}"""

RESULT_AFTER_CLAIM = f"""
BEGIN;
{_RESULT}
UPDATE operations SET version = 2, due_at = NULL, operation = {OPERATION_RECORD}
WHERE id = {OPERATION};
UPDATE idempotency SET record = {RECORD}
WHERE (merchant_id, mode, operation, key) = ({OWNER}, 'POST /process', {KEY});
COMMIT;
"""

RESULT_AT_ONCE = f"""
BEGIN;
{READ}
{_RESULT}
{_record("POST /process", RECORD)}
COMMIT;
"""

_NEXT = "\\set n :n + 1\n\\set amount random(100, 900000)\n"

THREE_COMMITS = _NEXT + VALIDATE + CLAIM + RESULT_AFTER_CLAIM
TWO_COMMITS = _NEXT + VALIDATE + RESULT_AT_ONCE


def payments_per_second(script: str, data: Path, options: Options) -> float:
    """Whole payments that pgbench writes in a second, on the server of the data folder."""
    written = data / "pgbench.sql"
    written.write_text(script)
    with database(data, "pgbench") as (server, url):

        def payments(seconds: int) -> float:
            printed = run(
                [
                    server.programs / "pgbench",
                    "--no-vacuum",
                    "--protocol=prepared",
                    f"--client={options.connections}",
                    "--jobs=2",
                    f"--time={seconds}",
                    f"--define=n={time.time_ns() // 1_000_000}",
                    f"--file={written}",
                    url,
                ],
                timeout_seconds=seconds + 60,
                output=data / f"pgbench-{time.time_ns()}.txt",
            )
            found = _TPS.search(printed)
            if found is None or _NONE_FAILED not in printed:
                raise CannotMeasure(f"pgbench failed:\n{printed[-2_000:]}")
            return float(found["tps"])

        if options.warm_up_seconds:
            payments(options.warm_up_seconds)
        return payments(options.seconds)
