"""One seed: from its first request to rest, and what must hold then."""

import asyncio
import random
from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import msgspec

from remit.domain.errors import Unavailable
from remit.domain.operation import NEEDS_CARD, Approved, NotDone, Operation, OperationKind
from remit.domain.payment import V1_STATUSES, Payment, State
from remit.oversight.reconcile import Discrepancy, reconcile
from remit.payments.decisions import decide
from remit.payments.operations import apply_notice
from remit.ports.processor import Notice
from tests.builders import replace_parts
from tests.simulation.adversary import EPOCH, Adversary, Fault
from tests.simulation.backends import MakeBackend, memory_backend, wait_outside
from tests.simulation.bank import BANKS, TwoPhaseBank
from tests.simulation.bank_adapter import BankProcessor
from tests.simulation.loop import SimulatedLoop
from tests.simulation.merchants import KnownResult, Merchant, Request
from tests.simulation.processes import PAUSE_SECONDS, NoResponse, SimulatedProcess

PROCESSES = 3
MERCHANTS = 25
REST_ROUNDS = 60
REST_SECONDS = 600.0
LONG_REST_ROUNDS = 48
LONG_REST_SECONDS = 3_600.0
NOTICE_SECONDS = (0.05, 10.0)
NOTICE_LATE_SECONDS = (60.0, 3_600.0)
NOTICE_AGAIN_SECONDS = (5.0, 300.0)


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one seed came to."""

    seed: int
    operations: int
    faults: dict[Fault, int]
    violations: list[str]
    story: list[str]


def simulate(
    seed: int,
    *,
    merchants: Collection[int] | None = None,
    kinds: Collection[Fault] = tuple(Fault),
    make_backend: MakeBackend = memory_backend,
) -> RunReport:
    """Runs the world of a seed, with all its merchants or some of them, and all kinds of faults or
    some of them.
    """
    loop = SimulatedLoop()
    world = World(seed, kinds, loop, make_backend)
    loop.set_exception_handler(world.on_exception)
    try:
        loop.run_until_complete(world.run(merchants))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a violation
        world.violation(f"{type(error).__name__}: {error}")
    finally:
        loop.run_until_complete(_cancel_all())
        loop.close()
    return world.report()


async def _cancel_all() -> None:
    """Ends what the killed processes left in the middle."""
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1.0)


class World:
    """The service's processes, its merchants and its processor, and a record of what happened."""

    def __init__(
        self,
        seed: int,
        kinds: Collection[Fault],
        loop: SimulatedLoop,
        make_backend: MakeBackend,
    ) -> None:
        self.seed = seed
        self._make_backend = make_backend
        self._loop = loop
        self.random = random.Random(seed)
        self.operations = 0
        self._adversary = Adversary(self.random, kinds)
        self._violations: list[str] = []
        self._story: list[str] = []
        self._processes: list[SimulatedProcess] = []
        self._started = count(1)
        self._dead: list[SimulatedProcess] = []
        self._notices: set[asyncio.Task[None]] = set()

    async def run(self, numbers: Collection[int] | None) -> None:
        self._bank = self.random.choice(BANKS)(self._adversary, self.log, self._send_notice)
        self.log(f"the processor is a {type(self._bank).__name__}")
        self._backend = await self._make_backend(self._clock)
        self._app = self._backend.app
        for _ in range(PROCESSES):
            self._start_process()
        trouble = asyncio.ensure_future(self._make_trouble())
        everyone = [Merchant(self, number) for number in range(MERCHANTS)]
        self._merchants = [
            merchant
            for number, merchant in enumerate(everyone)
            if numbers is None or number in numbers
        ]
        await asyncio.gather(*(merchant.run() for merchant in self._merchants))
        trouble.cancel()
        await self._come_to_rest()
        self._records = await self._backend.records()
        for merchant in self._merchants:
            if merchant.payment_id is not None:
                await self._check(merchant, merchant.payment_id)
        await self._reconcile()
        await self._backend.close()

    async def _reconcile(self) -> None:
        """The operators' own check finds nothing that the world does not know of."""
        app = replace_parts(self._app, processor=BankProcessor(self._bank))
        known = {
            operation.payment_id
            for operation in self._records.operations
            if operation.reversal or operation.late_result
        }

        async def find() -> list[Discrepancy]:
            return [found async for found in reconcile(app)]

        for found in await wait_outside(find()):
            if found.record not in known:
                self.violation(f"reconcile, {found.check} {found.record}: {found.problem}")

    def report(self) -> RunReport:
        return RunReport(
            seed=self.seed,
            operations=self.operations,
            faults=dict(self._adversary.counts),
            violations=self._violations,
            story=self._story,
        )

    def any_process(self) -> SimulatedProcess:
        return self.random.choice(self._processes)

    def caller_repeats(self) -> bool:
        return self._adversary.strikes(Fault.CALLER_REPEATS)

    def log(self, event: str) -> None:
        self._story.append(f"{self._loop.time():9.2f}  {event}")

    def violation(self, what: str) -> None:
        self._violations.append(what)
        self.log(f"VIOLATION  {what}")

    def on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """For what no task awaits. A process that was killed leaves unfinished tasks."""
        if not context["message"].startswith("Task was destroyed"):
            self.violation(f"{context['message']}: {context.get('exception')!r}")

    def _send_notice(self, notice: Notice) -> None:
        """The processor's notice on its way: it is sent until it is taken, and sometimes again."""
        repeats = 1 + self._adversary.strikes(Fault.NOTICE_REPEATED)
        for _ in range(repeats):
            task = asyncio.ensure_future(self._deliver(notice))
            self._notices.add(task)
            task.add_done_callback(self._notices.discard)

    async def _deliver(self, notice: Notice) -> None:
        is_late = self._adversary.strikes(Fault.NOTICE_LATE)
        seconds = NOTICE_LATE_SECONDS if is_late else NOTICE_SECONDS
        await asyncio.sleep(self._adversary.between(*seconds))
        while True:
            process = self.any_process()
            try:
                await process.run(apply_notice(process.app, notice))
            except (NoResponse, Unavailable):
                await asyncio.sleep(self._adversary.between(*NOTICE_AGAIN_SECONDS))
                continue
            self.log(f"{process.name} takes the notice {notice.event_id[-22:]}")
            return

    def _clock(self) -> datetime:
        return EPOCH + timedelta(seconds=asyncio.get_running_loop().time())

    def _start_process(self) -> None:
        name = f"p{next(self._started)}"
        process = SimulatedProcess(name, self._app, BankProcessor(self._bank), self._adversary)
        process.start()
        self._processes.append(process)

    async def _make_trouble(self) -> None:
        """Kills and pauses processes. One that was killed is replaced after a moment."""
        while True:
            await asyncio.sleep(1.0)
            process = self.any_process()
            if self._adversary.strikes(Fault.PROCESS_KILLED):
                self.log(f"{process.name} is killed")
                process.kill()
                self._processes.remove(process)
                self._dead.append(process)
                self._start_process()
            elif self._adversary.strikes(Fault.PROCESS_PAUSED):
                seconds = self._adversary.between(*PAUSE_SECONDS)
                self.log(f"{process.name} is paused for {seconds:.0f} s")
                process.pause(seconds)

    async def _come_to_rest(self) -> None:
        """Ends the trouble and waits until nothing is left to do."""
        self._adversary.is_at_rest = True
        self.log("at rest: no more trouble")
        left: list[str] = []
        for number in range(REST_ROUNDS + LONG_REST_ROUNDS):
            is_long = number >= REST_ROUNDS
            if is_long:
                self._leave_one_process()
            await asyncio.sleep(LONG_REST_SECONDS if is_long else REST_SECONDS)
            await self._decide()
            if not (left := await self._what_is_left()):
                return
        days = LONG_REST_ROUNDS * LONG_REST_SECONDS / 86_400
        self.violation(f"after {days:.0f} days of rest there is still {left[0]}")

    def _leave_one_process(self) -> None:
        """So that days of rest do not take long."""
        for process in self._processes[1:]:
            process.kill()
        del self._processes[1:]

    async def _what_is_left(self) -> list[str]:
        records = await self._backend.records()
        return [
            *("a notice" for _ in self._notices),
            *(f"the message {message}" for message in records.queued),
            *(f"the message {message}" for message in await self._app.delivery.outbox.pending(1)),
            *(f"{operation}" for operation in records.operations if operation.is_open),
            *(f"the claim of {payment.id}" for payment in records.payments if payment.pending),
        ]

    async def _decide(self) -> None:
        """Two persons look at the processor's books, for what does not end by itself."""
        for operation in (await self._backend.records()).operations:
            if operation.is_open and operation.needs_decision:
                result = self._bank.results.get(operation.id, NotDone())
                self.log(f"two persons decide {operation.kind} {operation.id[-6:]}: {result}")
                can_be_read = isinstance(self._bank, TwoPhaseBank)
                if operation.kind in NEEDS_CARD or not can_be_read:
                    self.violation(f"a {operation.kind} did not end by itself: {operation}")
                process = self.any_process()
                for person in ("ann", "ben"):
                    await decide(process.app, person, operation.id, result)

    async def _payment(self, payment_id: str) -> Payment:
        payment = await self._app.store.payment(payment_id)
        if payment is None:
            raise AssertionError("payments are never deleted")
        return payment

    async def _check(self, merchant: Merchant, payment_id: str) -> None:
        """The processor's books against ours, and every answer against both."""
        payment = await self._payment(payment_id)
        name = f"{payment_id[-4:]} ({payment.state}; {merchant.requests})"
        taken, reserved = self._bank.taken(payment_id), self._bank.open(payment_id)
        kept = payment.captured_minor - payment.refunded_minor
        accounts = self._booked(payment_id)
        booked, owed = accounts["test/processor/bank"], -accounts["test/merchant/acme"]
        if taken != booked:
            self.violation(f"{name}: the processor holds {taken}, our books say {booked}")
        if owed != kept:
            self.violation(f"{name}: the books owe {owed}, the payment says {kept}")
        if accounts["test/suspense"] and not self._is_left_to_a_person(payment_id):
            self.violation(f"{name}: {accounts['test/suspense']} in suspense, and nobody knows")
        operations = self._operations(payment_id)
        is_exact = not any(o.reversal or o.late_result for o in operations.values())
        expected = 0
        if payment.state is State.AUTHORIZED:
            expected = payment.authorized_minor - payment.captured_minor
        if is_exact and reserved != expected:
            self.violation(f"{name}: {reserved} is authorized at the processor, not {expected}")
        self._check_sum(name, merchant, ("process", "enqueue"), OperationKind.CHARGE)
        self._check_sum(name, merchant, ("authorize",), OperationKind.AUTHORIZE)
        self._check_sum(name, merchant, ("capture",), OperationKind.CAPTURE)
        self._check_sum(name, merchant, ("refund",), OperationKind.REFUND)
        self._check_notifications(name, payment)
        for operation in operations.values():
            if operation.is_orphan and operation.id not in self._bank.refused_falsely:
                self.violation(f"{name}: a {operation.kind} was done after it had ended")
        self._check_cancel(name, merchant, payment)
        if payment.state is State.CANCELED and taken:
            self.violation(f"{name}: canceled, and the processor holds {taken}")

    def _check_cancel(self, name: str, merchant: Merchant, payment: Payment) -> None:
        """A cancel that was promised is done, unless the processor declined to give it back. With
        a capture it is the release of the rest.
        """
        known = {(request.action, request.known) for request in merchant.requests}
        has_captured = any(action == "capture" for action, _ in known)
        is_promised = ("cancel", KnownResult.PROCESSING) in known and not has_captured
        holds_some = payment.captured_minor > payment.refunded_minor
        was_declined = any(
            (operation.action == "cancel" and not isinstance(operation.result, Approved))
            or operation.reversal is not None
            for operation in self._operations(payment.id).values()
        )
        if is_promised and (holds_some or payment.state is State.AUTHORIZED) and not was_declined:
            self.violation(f"{name}: its cancel was promised and is not done")

    def _check_sum(
        self, name: str, merchant: Merchant, actions: tuple[str, ...], operation: OperationKind
    ) -> None:
        """What the processor did is at least what callers were told is done, and at most that and
        what they may not know of.
        """
        requests = [request for request in merchant.requests if request.action in actions]
        done_minor = self._done(merchant.payment_id or "", operation)
        least = _sum(requests, KnownResult.DONE)
        most = _sum(requests, KnownResult.DONE, KnownResult.PROCESSING, KnownResult.UNHEARD)
        if operation in (OperationKind.CHARGE, OperationKind.AUTHORIZE):
            # A payment is charged once, whatever the number of requests for it.
            least, most = min(least, merchant.amount_minor), min(most, merchant.amount_minor)
        if not least <= done_minor <= most:
            self.violation(
                f"{name}: {operation} came to {done_minor}, answers to {least} to {most}"
            )

    def _check_notifications(self, name: str, payment: Payment) -> None:
        """The notification of the payment's newest version says the state that it is in."""
        notifications: Any = self._app.delivery.notifications
        versions = {
            message.payment_version: message.status
            for message in notifications.published
            if message.payment_id == payment.id and message.refund_id is None
        }
        last = versions[max(versions)] if versions else None
        if last != V1_STATUSES[payment.state]:
            self.violation(f"{name}: its merchant was last notified that it is {last}")

    def _done(self, payment_id: str, kind: OperationKind) -> int:
        """What the processor did for callers, also if it failed afterwards: not what it did after
        its operation had ended, and what gave that back.
        """
        operations = self._operations(payment_id)
        return sum(
            effect.amount_minor
            for effect in self._bank.effects[payment_id]
            if effect.operation is kind and _was_for_a_caller(operations[effect.key])
        )

    def _operations(self, payment_id: str) -> dict[str, Operation]:
        return {o.id: o for o in self._records.operations if o.payment_id == payment_id}

    def _booked(self, payment_id: str) -> Counter[str]:
        """The sum of each account's postings for the payment."""
        sums: Counter[str] = Counter()
        for posting in self._records.postings:
            if posting.payment_id == payment_id:
                sums[posting.account] += posting.amount_minor
        return sums

    def _is_left_to_a_person(self, payment_id: str) -> bool:
        alerts: Any = self._app.delivery.alerts
        return any(message.payment_id == payment_id for message in alerts.published)


def _was_for_a_caller(operation: Operation) -> bool:
    failed_first = operation.reversal is not None and not isinstance(operation.result, Approved)
    gives_back = operation.kind is OperationKind.REFUND and operation.action == "cancel"
    is_ours = operation.compensates is not None or gives_back
    return not operation.is_orphan and not failed_first and not is_ours


def _sum(requests: list[Request], *answers: KnownResult) -> int:
    return sum(request.amount_minor for request in requests if request.known in answers)
