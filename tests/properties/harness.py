"""A harness around one service: faults at every port, and what must hold after every step."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from remit.adapters.postgres.queue import PostgresQueue
from remit.delivery.relay import relay
from remit.delivery.sweep import delete_expired_records, sweep
from remit.delivery.work_messages import handle_batch
from remit.domain.change import AuditEntry, Change, Message, Topic
from remit.domain.errors import ConnectionLost, ResultUnknown, Unavailable
from remit.domain.payment import Payment
from remit.domain.refund import RefundState
from remit.oversight.audit.archiver import AuditArchiver
from remit.oversight.audit.verification import VerifiedTrail, verify
from remit.oversight.reconcile import reconcile
from remit.payments.results import Accepted, Queued, Rejected, Replayed, StepResult
from remit.ports.app import App
from tests.builders import clock_of, part_of, processor_of, replace_parts

When = Literal["before", "after"]

PORTS = ("store", "outbox", "log", "queue", "notifications", "bucket", "vault")
CLAIMED = "claimed"
DRAIN_ROUNDS, DRAIN_SECONDS = 60, 1_800
"""Together longer than the day between two attempts of an operation that a person is told of."""


class Faulty:
    """A port whose next call can fail: before it does anything, or after it has done all."""

    def __init__(self, port: Any, on_call: Callable[[str, Any], None]) -> None:
        self._port = port
        self._on_call = on_call
        self.fault: When | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not asyncio.iscoroutinefunction(method):
            return method

        async def call(*args: Any) -> Any:
            fault, self.fault = self.fault, None
            if fault == "before":
                raise Unavailable("a fault of the test, before the call")
            returned = await method(*args)
            self._on_call(name, (args, returned))
            if fault == "after":
                raise ConnectionLost("a fault of the test, after the call")
            return returned

        return call


class Harness:
    """A service with faulty ports, and a record of what it committed and published."""

    def __init__(self, app: App) -> None:
        self.committed: dict[str, Message] = {}
        self.published: Counter[str] = Counter()
        self.payment_ids: list[str] = []
        self.attempts: dict[str, tuple[str, bool]] = {}
        self.audit: list[AuditEntry] = []
        self.faulty: dict[str, Any] = {
            name: Faulty(part_of(app, name), self._record) for name in PORTS
        }
        self.app = replace_parts(app, **self.faulty)
        self.archiver = AuditArchiver(self.app)

    def _record(self, name: str, call: Any) -> None:
        args, returned = call
        if name == "commit" and returned is None:
            change: Change = args[0]
            self.committed.update((message.id, message) for message in change.messages)
            self.audit += change.audit
        if name == "publish":
            self.published.update(message.id for message in args[0])

    async def attempt(
        self, request_id: str, action: str, call: Awaitable[StepResult], *, alone: bool
    ) -> str:
        """Takes one step, and returns its result as text that is the same in every harness."""
        try:
            result = await call
        except (ResultUnknown, Unavailable) as failure:
            return failure.code
        self.attempts[request_id] = (action, alone)
        match result:
            case Rejected(error):
                return f"rejected: {error.code}: {error.message}"
            case Accepted(payment) if payment.id not in self.payment_ids:
                self.payment_ids.append(payment.id)
            case Accepted() | Replayed() | Queued():
                pass
        refund = "" if isinstance(result, Queued) or not result.refund else result.refund.state
        return f"{type(result).__name__}: {result.payment.state} {refund}"

    async def run_job(self, job: str) -> None:
        """Runs one round of a worker's job. It may fail, because a worker tries again later."""
        jobs: dict[str, Callable[[], Awaitable[object]]] = {
            "relay": lambda: relay(self.app),
            "work": lambda: handle_batch(self.app),
            "sweep": lambda: sweep(self.app),
            "archive": self.archiver.archive,
            "expire": lambda: delete_expired_records(self.app),
        }
        try:
            await jobs[job]()
        except Unavailable:
            return

    async def states(self) -> list[tuple[str, int, int, int, bool]]:
        """The state and amounts of each payment, in the order in which they were made."""
        return [
            (p.state, p.authorized_minor, p.captured_minor, p.refunded_minor, p.failure is None)
            for p in [await self._stored(payment_id) for payment_id in self.payment_ids]
        ]

    async def _stored(self, payment_id: str) -> Payment:
        stored = await _without_faults(self.app.store).payment(payment_id)
        assert isinstance(stored, Payment)
        return stored

    async def check(self) -> None:
        """Checks what holds after every step, whatever has failed."""
        assert await self.app.database.books.find_unbalanced() is None
        assert await self.app.database.books.find_orphan() is None
        async for booked in self.app.database.books.booked_payments():
            p = booked.payment
            assert 0 <= p.captured_minor <= p.authorized_minor <= p.amount_minor
            assert 0 <= booked.refunds_minor <= p.refunded_minor <= p.captured_minor
            assert booked.owed_minor == p.captured_minor - booked.refunds_minor
        assert set(self.published) <= set(self.committed)

    def check_audit(self) -> None:
        """Checks that each step left one audit entry of its outcome, and at most one claim."""
        by_request: dict[str, list[AuditEntry]] = {}
        for entry in self.audit:
            by_request.setdefault(entry.request_id, []).append(entry)
        for request_id, (action, alone) in self.attempts.items():
            own = [e.outcome for e in by_request.get(request_id, []) if e.action == action]
            outcomes = [outcome for outcome in own if outcome != CLAIMED]
            assert own, f"{action} {request_id} left no audit entry"
            assert own.count(CLAIMED) <= 1
            # Of steps at once, another step may have recorded the result of this one.
            assert len(outcomes) == 1 or (not alone and len(outcomes) == 0), own

    async def drain(self) -> None:
        """Ends the faults and runs every job until nothing is left. Then all must agree."""
        for port in self.faulty.values():
            port.fault = None
        processor_of(self.app).faults.clear()
        processor_of(self.app).down = False
        for _ in range(DRAIN_ROUNDS):
            clock_of(self.app).advance(DRAIN_SECONDS)
            await self._make_messages_visible()
            for job in ("sweep", "relay", "work", "relay", "archive"):
                await self.run_job(job)
            if await self._is_drained():
                break
        else:
            raise AssertionError("work is left after every round")
        await self.check()
        committed = {m.id for m in self.committed.values() if m.topic is Topic.NOTIFICATIONS}
        assert set(self.published) == committed
        assert [found async for found in reconcile(self.app)] == []
        for payment_id in self.payment_ids:
            payment = await self._stored(payment_id)
            at_processor = await self.app.processor.balance(payment_id)
            held_minor = at_processor.held_minor if at_processor else 0
            assert held_minor == payment.captured_minor - payment.refunded_minor
        verified = await verify(_without_faults(self.app.audit.bucket))
        assert isinstance(verified, VerifiedTrail)
        assert verified.entries == len(self.audit)
        self.check_audit()

    async def _make_messages_visible(self) -> None:
        """A queue in PostgreSQL uses the server's clock, which a test cannot advance."""
        queue = _without_faults(self.app.delivery.queue)
        if isinstance(queue, PostgresQueue):
            await queue._connection.rows("UPDATE queue_messages SET visible_at = now()")

    async def _is_drained(self) -> bool:
        if await _without_faults(self.app.delivery.outbox).pending(1) or await _without_faults(
            self.app.audit.log
        ).unarchived(1):
            return False
        if await self.app.delivery.failed.failed(1) or await self.app.delivery.failed.dead_letters(
            1
        ):
            await self.app.delivery.failed.redrive(None)
            return False
        payments = [await self._stored(payment_id) for payment_id in self.payment_ids]
        refunds = [r for p in payments for r in await self.app.database.reader.refunds(p.id)]
        is_pending = any(refund.state is RefundState.PENDING for refund in refunds)
        return not any(payment.pending for payment in payments) and not is_pending


def _without_faults(port: Any) -> Any:
    """The port without its faults, for reads of the test itself."""
    return port._port if isinstance(port, Faulty) else port
