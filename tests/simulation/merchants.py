"""Callers: each takes one payment through its life, repeats what was not answered, and remembers
every answer.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Protocol

from remit.domain.caller import Caller, KeyScope
from remit.domain.errors import RemitError, ResultUnknown, Unavailable
from remit.domain.payment import Payment, State
from remit.payments.process import ProcessRequest, authorize, cancel, capture, enqueue, process
from remit.payments.refund import refund
from remit.payments.results import Accepted, Queued, Rejected, Replayed, StepResult
from remit.payments.validate import validate
from remit.ports.app import App
from tests.builders import DECLINED_CARD, GOOD_CARD, order
from tests.simulation.processes import NoResponse, SimulatedProcess

TRIES = 8
PATIENCE = 0.8
"""The chance that a caller repeats a request that was not answered."""

Step = Callable[[App, Caller, KeyScope | None], Awaitable[StepResult]]


class KnownResult(StrEnum):
    """What a caller knows of its request in the end."""

    DONE = "done"
    DECLINED = "declined"
    PROCESSING = "processing"
    REJECTED = "rejected"
    NOTHING_DONE = "nothing_done"
    UNHEARD = "unheard"


class Request:
    """One request of a caller, under one idempotency key, and its answer."""

    def __init__(self, action: str, amount_minor: int) -> None:
        self.action = action
        self.amount_minor = amount_minor
        self.known = KnownResult.UNHEARD
        self._was_unheard = False

    def learn(self, answer: KnownResult) -> None:
        """What the caller knows after one more answer. That one attempt did nothing, or came to the
        wrong state, says nothing of an earlier attempt that was not answered and may come later.
        """
        if self._was_unheard and answer in (KnownResult.NOTHING_DONE, KnownResult.REJECTED):
            return
        self._was_unheard = self._was_unheard or answer is KnownResult.UNHEARD
        self.known = answer

    def __repr__(self) -> str:
        return f"{self.action} {self.amount_minor}: {self.known}"


class World(Protocol):
    """What a merchant sees of the world."""

    random: random.Random
    operations: int

    def any_process(self) -> SimulatedProcess: ...

    def caller_repeats(self) -> bool: ...

    def log(self, event: str) -> None: ...

    def violation(self, what: str) -> None: ...


class Merchant:
    """One caller and its one payment."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._random = random.Random(world.random.random())
        self._name = f"m{number}"
        self._keys = 0
        self.payment_id: str | None = None
        self.amount_minor = self._random.randrange(100, 100_000)
        self.requests: list[Request] = []

    async def run(self) -> None:
        await asyncio.sleep(self._random.uniform(0.0, 60.0))
        if (payment := await self._validate()) is None:
            return
        self.payment_id = payment.id
        plans = {
            self._charge: 4,
            self._charge_later: 3,
            self._authorize_and_capture: 4,
            self._cancel: 1,
            self._charge_and_cancel: 2,
            self._authorize_and_cancel: 1,
        }
        [plan] = self._random.choices(list(plans), list(plans.values()))
        await plan()
        if self._random.random() < 0.5:
            await self._refund()

    async def _validate(self) -> Payment | None:
        card = DECLINED_CARD if self._random.random() < 0.15 else GOOD_CARD
        amount = f"{self.amount_minor // 100}.{self.amount_minor % 100:02d}"
        request = order(amount, card=card, reference=self._name)

        async def step(app: App, caller: Caller, key: KeyScope | None) -> StepResult:
            return await validate(app, caller, request, key)

        result = await self._send(Request("validate", self.amount_minor), step)
        return result.payment if isinstance(result, Accepted | Replayed) else None

    async def _charge(self) -> None:
        await self._send(Request("process", self.amount_minor), self._process(process))

    async def _charge_later(self) -> None:
        await self._send(Request("enqueue", self.amount_minor), self._process(enqueue))
        await asyncio.sleep(self._random.uniform(0.0, 60.0))
        if self._random.random() < 0.3:
            await self._charge()

    async def _authorize_and_capture(self) -> None:
        authorization = Request("authorize", self.amount_minor)
        await self._send(authorization, self._process(authorize))
        left_minor = self.amount_minor
        while left_minor > 0 and self._random.random() < 0.8:
            capture_minor = self._random.choice([left_minor, self._random.randint(1, left_minor)])
            is_final = self._random.random() < 0.3
            await self._capture(capture_minor, is_final)
            left_minor -= capture_minor
        if self._random.random() < 0.4:
            await self._cancel()

    async def _capture(self, amount_minor: int, final: bool) -> None:
        payment_id = self._payment_id()

        async def step(app: App, caller: Caller, key: KeyScope | None) -> StepResult:
            return await capture(
                app, caller, payment_id, amount_minor=amount_minor, final=final, key=key
            )

        await self._send(Request("capture", amount_minor), step)

    async def _cancel(self) -> None:
        payment_id = self._payment_id()

        async def step(app: App, caller: Caller, key: KeyScope | None) -> StepResult:
            return await cancel(app, caller, payment_id, key=key)

        await self._send(Request("cancel", 0), step)

    async def _charge_and_cancel(self) -> None:
        charge = self._charge if self._random.random() < 0.5 else self._charge_later
        await asyncio.gather(charge(), self._cancel())

    async def _authorize_and_cancel(self) -> None:
        authorization = Request("authorize", self.amount_minor)
        await asyncio.gather(self._send(authorization, self._process(authorize)), self._cancel())

    async def _refund(self) -> None:
        payment_id = self._payment_id()

        def part(amount_minor: int) -> Step:
            async def step(app: App, caller: Caller, key: KeyScope | None) -> StepResult:
                return await refund(app, caller, payment_id, amount_minor=amount_minor, key=key)

            return step

        amounts = [self._random.randint(1, self.amount_minor) for _ in range(2)]
        await asyncio.gather(
            *(self._send(Request("refund", amount), part(amount)) for amount in amounts)
        )

    def _process(self, use_case: Any) -> Step:
        body = ProcessRequest(self._payment_id())

        async def step(app: App, caller: Caller, key: KeyScope | None) -> StepResult:
            result: StepResult = await use_case(app, caller, body, key)
            return result

        return step

    def _payment_id(self) -> str:
        if self.payment_id is None:
            raise AssertionError("the payment is validated first")
        return self.payment_id

    async def _send(self, request: Request, step: Step) -> StepResult | None:
        """Sends a request until it is answered, or the caller gives up. A request that was answered
        is sometimes sent once more: its answer must be the same.
        """
        self.requests.append(request)
        self._keys += 1
        name = f"{self._name}-{self._keys}"
        key = KeyScope("acme", "test", f"POST /{request.action}", name)
        first: StepResult | None = None
        for attempt in range(TRIES):
            self._world.operations += 1
            actor = Caller("acme", "test", "key:test", f"{name}-{attempt}")
            chosen = self._world.any_process()
            try:
                result = await chosen.run(step(chosen.app, actor, key))
            except (NoResponse, ResultUnknown, Unavailable) as error:
                # Unavailable is answered 503, by which nothing was done and nothing will be.
                is_503 = isinstance(error, Unavailable)
                answer = KnownResult.NOTHING_DONE if is_503 else KnownResult.UNHEARD
                self._world.log(f"{name} {request.action}: {answer} ({type(error).__name__})")
                if first is None:
                    request.learn(answer)
                if self._random.random() > PATIENCE:
                    break
                await asyncio.sleep(self._random.uniform(0.5, 20.0))
                continue
            except Exception as error:  # noqa: BLE001 - the caller is answered 500
                self._world.violation(f"{name} {request.action}: {type(error).__name__}: {error}")
                return first
            answer, must_wait = _read(request.action, result)
            self._world.log(
                f"{name} {request.action} {request.amount_minor}: {answer} {_summary(result)}"
            )
            if must_wait:
                await asyncio.sleep(self._random.uniform(1.0, 20.0))
                continue
            if first is not None:
                if request.known not in (KnownResult.PROCESSING, answer):
                    self._world.violation(
                        f"{name} {request.action}: answered {request.known}, then {answer}"
                    )
                return first
            request.learn(answer)
            if answer is KnownResult.NOTHING_DONE and self._random.random() < PATIENCE:
                await asyncio.sleep(self._random.uniform(0.5, 60.0))
                continue
            first = result
            is_final = answer not in (KnownResult.NOTHING_DONE, KnownResult.REJECTED)
            if not is_final or not self._world.caller_repeats():
                return result
            await asyncio.sleep(self._random.uniform(0.0, 30.0))
        return first


def _read(action: str, result: StepResult) -> tuple[KnownResult, bool]:
    """What the answer says, and whether the caller is asked to send the request again later."""
    match result:
        case Rejected(error):
            if isinstance(error, Unavailable):
                return KnownResult.NOTHING_DONE, False
            return KnownResult.REJECTED, getattr(error, "retry_after_seconds", None) is not None
        case Queued() | Replayed(queued=True):
            return KnownResult.PROCESSING, False
        case Accepted(payment, refunded) | Replayed(payment, refunded):
            if refunded is not None:
                states = {"succeeded": KnownResult.DONE, "failed": KnownResult.DECLINED}
                return states.get(refunded.state, KnownResult.PROCESSING), False
            match payment.state:
                case State.UNKNOWN | State.REQUIRES_ACTION:
                    return KnownResult.PROCESSING, False
                case State.DECLINED:
                    return KnownResult.DECLINED, False
                case State.CANCELED if action != "cancel":  # nothing of it was done
                    return KnownResult.DECLINED, False
                case _ if payment.failure is not None:  # a capture or a void was declined
                    return KnownResult.DECLINED, False
                case _:
                    return KnownResult.DONE, False
    raise AssertionError(result)


def _summary(result: StepResult) -> str:
    if isinstance(result, Rejected):
        error: RemitError = result.error
        return error.code
    payment = result.payment
    return f"{type(result).__name__} {payment.state} {payment.captured_minor}"
