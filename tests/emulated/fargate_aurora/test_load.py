"""Under load: nothing is lost or done twice while tasks die and messages come again, and no request
fails while tasks are replaced.
"""

import asyncio
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import httpx

from remit.oversight.audit.verification import VerifiedTrail, verify
from remit.oversight.reconcile import Discrepancy, reconcile
from remit.ports.app import App
from remit_infra.emulated.fargate_stack import TaskProcess
from tests.emulated.fargate_aurora.proxy import Proxy
from tests.emulated.fargate_aurora.stack import FargateAurora, wait_until_processed
from tests.emulated.harness import CARD, of_topology

pytestmark = of_topology("fargate-aurora", 900)

PAYMENTS = int(os.environ.get("SOAK_PAYMENTS", "2000"))
"""The short form. The long one: `make soak`."""

CONNECTIONS = 64
LOAD_SECONDS = 60.0
"""How long a caller waits for one response, with every connection busy."""

REPLACEMENTS = 5
DRAIN_SECONDS = 1.5
HEARD_SECONDS = 0.5
"""How long after a task was told to stop the load balancer goes on sending it requests."""

PAYMENTS_EACH = 100
"""How many payments are taken while a task is replaced, however slow the machine is."""

ORDER = {"amount": "12.34", "currency": "USD", "card": CARD}


async def payment(client: httpx.AsyncClient, **headers: str) -> tuple[int, int]:
    """One payment, step by step: the status of each."""
    validated = await client.post("/validate", json=ORDER)
    if validated.status_code != 200:
        return validated.status_code, 0
    transaction = {"transaction_id": validated.json()["transaction_id"]}
    processed = await client.post("/process", json=transaction, headers=headers)
    return validated.status_code, processed.status_code


async def load(
    port: int,
    key: str,
    work: Callable[[httpx.AsyncClient], Awaitable[bool]],
    connections: int = CONNECTIONS,
) -> None:
    """`work` over and over on so many connections, until it says that it is done."""
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        headers={"x-api-key": key},
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        timeout=LOAD_SECONDS,
        trust_env=False,
    ) as client:

        async def run() -> None:
            while await work(client):
                pass

        await asyncio.gather(*(run() for _ in range(connections)))


class Duplicator(threading.Thread):
    """SQS delivers at least once: this takes messages and puts each back twice."""

    def __init__(self, stack: FargateAurora) -> None:
        super().__init__()
        self.stopping = threading.Event()
        self.doubled = 0
        self._sqs = stack.client("sqs")
        self._url = stack.queue_url("payment-queue")

    def run(self) -> None:
        while not self.stopping.is_set():
            found = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10)
            for message in found.get("Messages", []):
                for _ in range(2):
                    self._sqs.send_message(QueueUrl=self._url, MessageBody=message["Body"])
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
                self.doubled += 1
            self.stopping.wait(0.2)


def test_queued_payments_are_each_taken_once_while_workers_die(stack: FargateAurora) -> None:
    before = captured(stack)
    accepted: Counter[tuple[int, int]] = Counter()
    left = iter(range(PAYMENTS))

    async def enqueue(client: httpx.AsyncClient) -> bool:
        if next(left, None) is None:
            return False
        accepted[await payment(client, prefer="respond-async")] += 1
        return True

    with stack.api() as api:
        asyncio.run(load(api.task.port, stack.key, enqueue))
    assert accepted == {(200, 202): PAYMENTS}
    duplicator = Duplicator(stack)
    duplicator.start()
    workers = [stack.begin("payment-worker-task") for _ in range(2)]
    killed = 0
    chosen = random.Random(7)
    try:
        while captured(stack) - before < PAYMENTS * 0.9:
            # Between a message's second receive after 4 s, when the claim of the dead worker may
            # still hold, and its third 8 s later: one that three workers in a row die of is a dead
            # letter, and rightly so.
            time.sleep(chosen.uniform(9.0, 11.0))
            victim = chosen.randrange(len(workers))
            workers[victim].kill()
            workers[victim] = stack.begin("payment-worker-task")
            killed += 1
        duplicator.stopping.set()
        duplicator.join()
        wait_until_processed(stack, 300)
        assert [worker.end() for worker in workers] == [0, 0]
    finally:
        duplicator.stopping.set()
        for worker in workers:
            worker.kill()
    assert (killed > 0, duplicator.doubled > 20) == (True, True)
    assert captured(stack) == before + PAYMENTS
    assert stack.waiting("payment-dlq") == 0
    [(charges, postings, imbalance)] = stack.rows(
        "SELECT (SELECT count(DISTINCT payment_id) FROM postings)::int, "
        "(SELECT count(*) FROM postings)::int, (SELECT sum(amount_minor) FROM postings)::int"
    )
    assert (postings, imbalance) == (2 * charges, 0)
    assert stack.use(disagreements) == []
    assert isinstance(stack.use(lambda app: verify(app.audit.bucket)), VerifiedTrail)


def captured(stack: FargateAurora) -> int:
    """How many payments were taken, of those that were put into the queue."""
    [(number,)] = stack.rows(
        "SELECT count(*)::int FROM payments WHERE state = 'captured' AND id IN "
        "(SELECT payment_id FROM audit_entries WHERE (action, outcome) = ('process', 'queued'))"
    )
    return int(number)


async def disagreements(app: App) -> list[Discrepancy]:
    return [found async for found in reconcile(app)]


def test_no_request_fails_while_tasks_are_replaced(stack: FargateAurora) -> None:
    answered: Counter[tuple[int, int]] = Counter()
    drain = {
        "REMIT_DRAIN_SECONDS": str(DRAIN_SECONDS),
        "REMIT_PROCESSOR_TIMEOUT_SECONDS": "10",
    }

    async def run() -> int:
        replaced = asyncio.Event()

        async def pay(client: httpx.AsyncClient) -> bool:
            answered[await payment(client)] += 1
            return not replaced.is_set()

        async def replace(proxy: Proxy) -> None:
            """As ECS does: the new task is there and healthy before the old one is told to stop,
            and the load balancer hears of it a little later.
            """
            tasks = [await asyncio.to_thread(begin) for _ in range(2)]
            for task in tasks:
                proxy.register(task.port)
            loading = asyncio.create_task(load(proxy.port, stack.key, pay))
            for number in range(REPLACEMENTS):
                new = await asyncio.to_thread(begin)
                proxy.register(new.port)
                old = tasks.pop(0)
                tasks.append(new)
                ending = asyncio.create_task(asyncio.to_thread(old.end))
                await asyncio.sleep(HEARD_SECONDS)
                proxy.deregister(old.port)
                assert await ending == 0
                while answered.total() < (number + 1) * PAYMENTS_EACH:  # noqa: ASYNC110 - many callers
                    await asyncio.sleep(0.1)
            replaced.set()
            await loading
            for task in tasks:
                await asyncio.to_thread(task.end)

        async with Proxy() as proxy:
            await replace(proxy)
            return proxy.failed

    def begin() -> TaskProcess:
        return stack.begin("payment-task", **drain)

    assert asyncio.run(run()) == 0
    assert answered.keys() == {(200, 200)}, answered
