"""One seed: from its first request to rest, and what must hold then."""

import asyncio
import logging
import random
from collections.abc import Collection
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import structlog

from remit.adapters.files.vault import FileVault
from remit.assembly.memory import assemble_in_memory
from remit.assembly.parts import this_process
from remit.domain.operation import OperationKind
from remit.domain.payment import Payment, State
from remit.ports.app import App
from remit.settings import Settings
from tests.simulation.adversary import Adversary, Fault
from tests.simulation.bank import Bank, BankProcessor
from tests.simulation.loop import SimulatedLoop
from tests.simulation.merchants import KnownResult, Merchant, Request
from tests.simulation.processes import EPOCH, PAUSE_SECONDS, SimulatedProcess

PROCESSES = 3
MERCHANTS = 25
REST_ROUNDS = 60
REST_SECONDS = 600.0
SETTINGS = Settings(relay_interval_seconds=8.0, work_max_receives=5)


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one seed came to."""

    seed: int
    operations: int
    faults: dict[Fault, int]
    violations: list[str]
    story: list[str]


def simulate(
    seed: int, *, merchants: Collection[int] | None = None, kinds: Collection[Fault] = tuple(Fault)
) -> RunReport:
    """Runs the world of a seed, with all its merchants or some of them, and all kinds of faults or
    some of them.
    """
    loop = SimulatedLoop()
    world = World(seed, kinds)
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

    def __init__(self, seed: int, kinds: Collection[Fault]) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.operations = 0
        self._adversary = Adversary(self.random, kinds)
        self._violations: list[str] = []
        self._story: list[str] = []
        self._processes: list[SimulatedProcess] = []
        self._started = count(1)
        self._dead: list[SimulatedProcess] = []

    async def run(self, numbers: Collection[int] | None) -> None:
        self._bank = Bank(self._adversary, self.log)
        self._app = _service()
        # The queue is a service of AWS's: its clock is right.
        queue: Any = self._app.delivery.queue
        queue._clock = self._clock
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
        for merchant in self._merchants:
            if merchant.payment_id is not None:
                await self._check(merchant, merchant.payment_id)

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
        self._story.append(f"{asyncio.get_running_loop().time():9.2f}  {event}")

    def violation(self, what: str) -> None:
        self._violations.append(what)
        self.log(f"VIOLATION  {what}")

    def on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """For what no task awaits. A process that was killed leaves unfinished tasks."""
        if not context["message"].startswith("Task was destroyed"):
            self.violation(f"{context['message']}: {context.get('exception')!r}")

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
        for _ in range(REST_ROUNDS):
            await asyncio.sleep(REST_SECONDS)
            await self._app.delivery.failed.redrive(None)
            if not (left := await self._what_is_left()):
                return
        hours = REST_ROUNDS * REST_SECONDS / 3600
        self.violation(f"after {hours:.0f} hours of rest there is still {left[0]}")

    async def _what_is_left(self) -> list[str]:
        queue: Any = self._app.delivery.queue
        store: Any = self._app.store
        return [
            *(f"the message {received.message}" for received in queue.waiting.values()),
            *(f"the message {message}" for message in await self._app.delivery.outbox.pending(1)),
            *(f"{operation}" for operation in store.operations.values() if operation.is_open),
            *(f"the claim of {p.id}" for p in store.payments.values() if p.pending),
        ]

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
        if taken != kept:
            self.violation(f"{name}: the processor holds {taken}, we say {kept}")
        booked = await self._booked(payment_id)
        if booked != kept:
            self.violation(f"{name}: the books hold {booked}, the payment {kept}")
        expected = 0
        if payment.state is State.AUTHORIZED:
            expected = payment.authorized_minor - payment.captured_minor
        if payment.state is not State.CAPTURED and reserved != expected:
            self.violation(f"{name}: {reserved} is authorized at the processor, not {expected}")
        self._check_sum(name, merchant, ("process", "enqueue"), OperationKind.CHARGE)
        self._check_sum(name, merchant, ("authorize",), OperationKind.AUTHORIZE)
        self._check_sum(name, merchant, ("capture",), OperationKind.CAPTURE)
        self._check_sum(name, merchant, ("refund",), OperationKind.REFUND)
        if any(
            r.action == "cancel" and r.known is KnownResult.DONE for r in merchant.requests
        ) and (taken or reserved):
            self.violation(f"{name}: canceled, and the processor holds {taken or reserved}")

    def _check_sum(
        self, name: str, merchant: Merchant, actions: tuple[str, ...], operation: OperationKind
    ) -> None:
        """What the processor did is at least what callers were told is done, and at most that and
        what they may not know of.
        """
        requests = [request for request in merchant.requests if request.action in actions]
        done_minor = self._bank.total(merchant.payment_id or "", operation)
        least = _sum(requests, KnownResult.DONE)
        most = _sum(requests, KnownResult.DONE, KnownResult.PROCESSING, KnownResult.UNHEARD)
        if operation in (OperationKind.CHARGE, OperationKind.AUTHORIZE):
            # A payment is charged once, whatever the number of requests for it.
            least, most = min(least, merchant.amount_minor), min(most, merchant.amount_minor)
        if not least <= done_minor <= most:
            self.violation(
                f"{name}: {operation} came to {done_minor}, answers to {least} to {most}"
            )

    async def _booked(self, payment_id: str) -> int:
        async for booked in self._app.database.books.booked_payments():
            if booked.payment.id == payment_id:
                return booked.booked_minor
        return 0


def _sum(requests: list[Request], *answers: KnownResult) -> int:
    return sum(request.amount_minor for request in requests if request.known in answers)


def _service() -> App:
    """One store, queue and vault, which all processes share."""
    numbers = count(1)
    process = this_process(
        SETTINGS, lambda: EPOCH, lambda: f"00000000-0000-7000-8000-{next(numbers):012x}"
    )
    return assemble_in_memory(process, None, VAULT)  # type: ignore[arg-type]


structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
_folder = TemporaryDirectory(prefix="remit-simulation-")
VAULT = FileVault(Path(_folder.name, "vault.key"))
