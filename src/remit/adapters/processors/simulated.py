"""The simulated processor: an outside party with a memory of its own, for laptops and tests.

It keeps its own books in an SQLite file, so that a crash of the service leaves it knowing what it
did, as a real processor would. CONTRACT: the test card's number decides the answer, and amounts
whose remainder is configured (`simulator_*_at`) fail in the four ways a network can:

    timeout   nothing is done and no answer comes
    late      the work is done and the answer comes after a delay
    lost      the work is done and no answer comes
    down      the question is refused at once, nothing is done
"""

import asyncio
import sqlite3
from pathlib import Path

import msgspec

from remit.errors import ProcessorTimeout, ProcessorUnavailable
from remit.payment import Answer, Approved, Declined, Operation
from remit.ports import Instruction
from remit.settings import Settings

_DECLINES = {
    "4000000000000002": Declined("card_declined", "The card was declined.", "generic_decline"),
    "4000000000009995": Declined(
        "card_declined", "The card has insufficient funds.", "insufficient_funds"
    ),
    "4000000000000069": Declined("expired_card", "The card has expired.", "expired_card"),
    "4000000000000127": Declined(
        "incorrect_cvc", "The card's security code is incorrect.", "incorrect_cvc"
    ),
    "4000000000000119": Declined(
        "processing_error", "An error occurred while processing the card.", "processing_error"
    ),
    "4100000000000019": Declined("card_declined", "The card was declined.", "fraudulent"),
}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key          TEXT PRIMARY KEY,
    payment_id   TEXT NOT NULL,
    operation    TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    answer       TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS refunds_of_payment ON answers (payment_id) WHERE operation = 'refund';
"""

# The key of every question about a payment but a refund begins with the payment's id.
_OF_PAYMENT = """
SELECT operation, amount_minor, answer FROM answers WHERE key >= :id || '-' AND key < :id || '.'
UNION ALL
SELECT operation, amount_minor, answer FROM answers
WHERE operation = 'refund' AND payment_id = :id
"""

_SIGN = {Operation.CHARGE: 1, Operation.CAPTURE: 1, Operation.REFUND: -1}

_answer = msgspec.json.Decoder(Answer)


class SimulatedProcessor:
    """Does each key's work once and repeats its answer ever after, also across restarts."""

    name = "simulated"

    def __init__(self, path: Path, settings: Settings) -> None:
        self._settings = settings
        self._books = sqlite3.connect(path, isolation_level=None, timeout=10)
        # Its books must survive a killed process, which needs no flush to disk.
        self._books.execute("PRAGMA journal_mode = WAL")
        self._books.execute("PRAGMA synchronous = OFF")
        self._books.executescript(_SCHEMA)

    def close(self) -> None:
        self._books.close()

    async def execute(self, instruction: Instruction) -> Answer:
        settings = self._settings
        remainder = instruction.amount_minor % settings.simulator_modulus
        if remainder == settings.simulator_down_at:
            raise ProcessorUnavailable("The processor cannot be reached. Try again.")
        if remainder == settings.simulator_timeout_at:
            raise ProcessorTimeout("The processor did not answer in time.")
        answer = self._do_once(instruction)
        if remainder == settings.simulator_lost_at:
            raise ProcessorTimeout("The processor did not answer in time.")
        if remainder == settings.simulator_late_at:
            await asyncio.sleep(settings.simulator_late_seconds)
        return answer

    def _do_once(self, instruction: Instruction) -> Answer:
        declined = _DECLINES.get(instruction.card.number) if instruction.card else None
        answer = declined or Approved(f"sim_{instruction.key}")
        try:
            self._books.execute(
                "INSERT INTO answers (key, payment_id, operation, amount_minor, answer) "
                "VALUES (?, ?, ?, ?, ?)",
                (
                    instruction.key,
                    instruction.payment_id,
                    instruction.operation.value,
                    instruction.amount_minor,
                    msgspec.json.encode(answer).decode(),
                ),
            )
        except sqlite3.IntegrityError:
            return self._recorded(instruction.key) or answer
        return answer

    async def find(self, key: str) -> Answer | None:
        return self._recorded(key)

    def _recorded(self, key: str) -> Answer | None:
        row = self._books.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else _answer.decode(row[0])

    async def balance(self, payment_id: str) -> int | None:
        rows = self._books.execute(_OF_PAYMENT, {"id": payment_id}).fetchall()
        if not rows:
            return None
        balance_minor: int = sum(
            _SIGN.get(Operation(operation), 0) * amount_minor
            for operation, amount_minor, answer in rows
            if isinstance(_answer.decode(answer), Approved)
        )
        return balance_minor
