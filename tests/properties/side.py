"""One service under test: faults to order at every port, and what must hold at any time."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from remit.adapters.postgres.queue import PostgresQueue
from remit.delivery.relay import consume_batch, delete_expired_records, relay, sweep
from remit.domain.change import AuditEntry, Change, Message, Topic
from remit.domain.errors import Unavailable
from remit.domain.payment import Payment
from remit.oversight.audit import AuditArchiver, Verified, verify
from remit.oversight.reconcile import reconcile
from remit.payments.results import Accepted, Queued, Rejected, Replayed, StepResult
from remit.ports.app import App
from tests.builders import clock_of, part_of, processor_of, rewired

When = Literal["before", "after"]

PORTS = ("store", "outbox", "log", "queue", "notifications", "bucket", "vault")
CLAIMED = "claimed"
QUIET_ROUNDS = 60


class Faulty:
    """A port whose next call fails when told: before anything is done, or after all of it was."""

    def __init__(self, port: Any, calls: Callable[[str, Any], None]) -> None:
        self._port = port
        self._calls = calls
        self.fault: When | None = None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def call(*args: Any) -> Any:
            fault, self.fault = self.fault, None
            if fault == "before":
                raise Unavailable("ordered by the test, before")
            answer = await found(*args)
            self._calls(name, (args, answer))
            if fault == "after":
                raise Unavailable("ordered by the test, after")
            return answer

        return call


class Side:
    """A service, what was ever committed to be told, and what its consumers were told."""

    def __init__(self, app: App) -> None:
        self.committed: dict[str, Message] = {}
        self.told: Counter[str] = Counter()
        self.made: list[str] = []
        self.attempts: dict[str, tuple[str, bool]] = {}
        self.audit: list[AuditEntry] = []
        self.faulty: dict[str, Any] = {
            name: Faulty(part_of(app, name), self._called) for name in PORTS
        }
        self.app = rewired(app, **self.faulty)
        self.archiver = AuditArchiver(self.app)

    def _called(self, name: str, call: Any) -> None:
        args, answer = call
        if name == "commit" and answer is None:
            change: Change = args[0]
            self.committed.update((message.id, message) for message in change.messages)
            self.audit += change.audit
        if name == "publish":
            self.told.update(message.id for message in args[0])

    async def attempt(
        self, request_id: str, action: str, call: Awaitable[StepResult], *, alone: bool
    ) -> str:
        """Makes one call and says in a word how it ended; the same word on every side."""
        try:
            outcome = await call
        except Unavailable:
            return "unavailable"
        self.attempts[request_id] = (action, alone)
        match outcome:
            case Rejected(error):
                return f"refused: {error.code}: {error.message}"
            case Accepted(payment) if payment.id not in self.made:
                self.made.append(payment.id)
            case Accepted() | Replayed() | Queued():
                pass
        refund = "" if isinstance(outcome, Queued) or not outcome.refund else outcome.refund.state
        return f"{type(outcome).__name__}: {outcome.payment.state} {refund}"

    async def deliver(self, job: str) -> None:
        """One round of a worker's job, which may fail; the worker tries again later."""
        jobs: dict[str, Callable[[], Awaitable[object]]] = {
            "relay": lambda: relay(self.app),
            "work": lambda: consume_batch(self.app),
            "sweep": lambda: sweep(self.app),
            "archive": self.archiver.archive,
            "expire": lambda: delete_expired_records(self.app),
        }
        try:
            await jobs[job]()
        except Unavailable:
            return

    async def states(self) -> list[tuple[str, int, int, int, bool]]:
        """What each payment has come to, in the order of their making."""
        return [
            (p.state, p.authorized_minor, p.captured_minor, p.refunded_minor, p.failure is None)
            for p in [await self._stored(payment_id) for payment_id in self.made]
        ]

    async def _stored(self, payment_id: str) -> Payment:
        found = await _plain(self.app.store).payment(payment_id)
        assert isinstance(found, Payment)
        return found

    async def check(self) -> None:
        """What holds after every step, whatever has failed."""
        assert await self.app.database.books.unbalanced() is None
        assert await self.app.database.books.orphaned() is None
        async for examined in self.app.database.books.booked_payments():
            p = examined.payment
            assert 0 <= p.captured_minor <= p.authorized_minor <= p.amount_minor
            assert 0 <= examined.refunds_minor <= p.refunded_minor <= p.captured_minor
            assert examined.booked_minor == p.captured_minor - examined.refunds_minor
        assert set(self.told) <= set(self.committed)

    def check_audit(self) -> None:
        """Each attempt has its record: a claim where it came so far, and one outcome."""
        by_request: dict[str, list[AuditEntry]] = {}
        for entry in self.audit:
            by_request.setdefault(entry.request_id, []).append(entry)
        for request_id, (action, alone) in self.attempts.items():
            own = [e.outcome for e in by_request.get(request_id, []) if e.action == action]
            outcomes = [outcome for outcome in own if outcome != CLAIMED]
            assert own, f"{action} {request_id} left no record"
            assert own.count(CLAIMED) <= 1
            # Of steps at once the one that comes late may find its question answered by another.
            assert len(outcomes) == 1 or (not alone and len(outcomes) == 0), own

    async def come_to_rest(self) -> None:
        """The faults are over. Everything left undone is done, and then all must agree."""
        for port in self.faulty.values():
            port.fault = None
        processor_of(self.app).faults.clear()
        processor_of(self.app).down = False
        for _ in range(QUIET_ROUNDS):
            clock_of(self.app).advance(600)
            await self._end_pauses()
            for job in ("sweep", "relay", "work", "relay", "archive"):
                await self.deliver(job)
            if await self._is_quiet():
                break
        else:
            raise AssertionError("it never came to rest")
        await self.check()
        wanted = {m.id for m in self.committed.values() if m.topic is Topic.NOTIFICATIONS}
        assert set(self.told) == wanted
        assert [found async for found in reconcile(self.app)] == []
        for payment_id in self.made:
            payment = await self._stored(payment_id)
            at_processor = await self.app.processor.balance(payment_id)
            assert (at_processor or 0) == payment.captured_minor - payment.refunded_minor
        verified = await verify(_plain(self.app.audit.bucket))
        assert isinstance(verified, Verified)
        assert verified.entries == len(self.audit)
        self.check_audit()

    async def _end_pauses(self) -> None:
        """A queue in PostgreSQL has the server's clock, which no test advances."""
        queue = _plain(self.app.delivery.queue)
        if isinstance(queue, PostgresQueue):
            await queue._connection.rows("UPDATE queue_messages SET visible_at = now()")

    async def _is_quiet(self) -> bool:
        if await _plain(self.app.delivery.outbox).pending(1) or await _plain(
            self.app.audit.log
        ).unarchived(1):
            return False
        if await self.app.delivery.failed.failed(1) or await self.app.delivery.failed.dead_letters(
            1
        ):
            await self.app.delivery.failed.redrive(None)
            return False
        payments = [await self._stored(payment_id) for payment_id in self.made]
        refunds = [r for p in payments for r in await self.app.database.reader.refunds(p.id)]
        return not any(p.pending for p in payments) and not any(r.due_at for r in refunds)


def _plain(port: Any) -> Any:
    """The port without its faults, for the test's own look."""
    return port._port if isinstance(port, Faulty) else port
