"""Open-loop load: payments start at a constant rate, whether or not earlier ones have a response.

A program of its own, run by `latency.py`: `python -m benchmarks.open_loop PORT KEY WORD RATE
SECONDS`. Each payment has a due time, and its latency counts from it: the time that a request waits
because the generator or the service is behind is part of it (no coordinated omission). How late the
generator itself sent is reported beside.

wrk cannot do this: it sends when the response before has arrived. The generator speaks HTTP itself
because it shares two cores with the service: a request through httpx takes it 1.0 ms of a core and
one of its own 0.07 ms, and half of the highest throughput is some 2,500 requests a second.
"""

import asyncio
import math
import sys
import time
from collections.abc import Sequence
from typing import cast

import msgspec
import uvloop

RESPONSE_SECONDS = 10.0
LAST_RESPONSES_SECONDS = 15.0
TICK_SECONDS = 0.001

_CARD = '{"number":"4242424242424242","exp_month":12,"exp_year":2035,"cvc":"123"}'


class Percentiles(msgspec.Struct, frozen=True):
    """Milliseconds."""

    p50: float
    p95: float
    p99: float
    highest: float


class LoopResult(msgspec.Struct, frozen=True):
    """The result of one run. `lag` is how long after its due time a payment was sent."""

    payments: int
    failed: int
    payments_per_second: float
    connections: int
    validate: Percentiles
    process: Percentiles
    payment: Percentiles
    lag: Percentiles
    first_failure: str = ""


class LoadConnection(asyncio.Protocol):
    """One kept-alive connection that carries one request at a time.

    Reads as much HTTP as the service's responses need: a status line, a content-length and that
    many bytes.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._response: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is one in all but its ancestry.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        """The status and body of the response to come."""
        if self._transport is None:
            raise ConnectionError("not connected")
        self._response = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._response

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, rest = self._received.partition(b"\r\n\r\n")
        if not blank:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(rest) < length or self._response is None:
            return
        self._received = rest[length:]
        if not self._response.done():
            self._response.set_result((int(head[9:12]), rest[:length]))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._response is not None and not self._response.done():
            self._response.set_exception(exc or ConnectionError("closed by the service"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Generator:
    """Starts payments when they are due, each on a free connection or on a new one."""

    def __init__(self, port: int, key: str, word: str) -> None:
        self._port = port
        self._key = key
        self._word = word
        self._free: list[LoadConnection] = []
        self._opened: list[LoadConnection] = []
        self.validate: list[float] = []
        self.process: list[float] = []
        self.payment: list[float] = []
        self.lag: list[float] = []
        self.first_failure = ""

    async def run(self, rate: float, seconds: float) -> LoopResult:
        count = int(rate * seconds)
        under_way: set[asyncio.Task[None]] = set()
        began = time.perf_counter() + 0.05
        number = 0
        while number < count:
            now = time.perf_counter()
            while number < count and (due := began + number / rate) <= now:
                task = asyncio.create_task(self._pay(number, due))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                number += 1
            await asyncio.sleep(TICK_SECONDS)
        if under_way:
            await asyncio.wait(under_way, timeout=LAST_RESPONSES_SECONDS)
        elapsed = time.perf_counter() - began
        for connection in self._opened:
            connection.close()
        return LoopResult(
            payments=len(self.payment),
            failed=count - len(self.payment),
            payments_per_second=len(self.payment) / elapsed,
            connections=len(self._opened),
            validate=percentiles(self.validate),
            process=percentiles(self.process),
            payment=percentiles(self.payment),
            lag=percentiles(self.lag),
            first_failure=self.first_failure,
        )

    async def _pay(self, number: int, due: float) -> None:
        try:
            connection = self._free.pop() if self._free else await self._open()
            self.lag.append(time.perf_counter() - due)
            body = await self._post(connection, "/validate", number, self._validate_body(number))
            validated = time.perf_counter()
            payment_id = body.partition(b'"transaction_id":"')[2][:36].decode()
            await self._post(connection, "/process", number, f'{{"transaction_id":"{payment_id}"}}')
            processed = time.perf_counter()
        except (OSError, TimeoutError, _RequestFailed) as failure:
            self.first_failure = self.first_failure or repr(failure)
            return
        self._free.append(connection)
        self.validate.append(validated - due)
        self.process.append(processed - validated)
        self.payment.append(processed - due)

    def _validate_body(self, number: int) -> str:
        return (
            f'{{"amount":"{1 + number % 9000}.{number % 100:02d}","currency":"USD",'
            f'"customer_id":"customer-{number % 1000}",'
            f'"payment_id":"order-{self._word}-{number}","card":{_CARD}}}'
        )

    async def _post(self, connection: LoadConnection, path: str, number: int, body: str) -> bytes:
        request = (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"x-api-key: {self._key}\r\nidempotency-key: {path[1:]}-{self._word}-{number}\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}"
        )
        async with asyncio.timeout(RESPONSE_SECONDS):
            status, response = await connection.send(request.encode())
        if status != 200:
            raise _RequestFailed(f"{path} responded {status}: {response[:300]!r}")
        return response

    async def _open(self) -> LoadConnection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(LoadConnection, "127.0.0.1", self._port)
        self._opened.append(connection)
        return connection


class _RequestFailed(Exception):
    """A status that is not 200."""


def percentiles(seconds: Sequence[float]) -> Percentiles:
    """By nearest rank, in milliseconds; zeros if nothing was measured."""
    ordered = sorted(seconds) or [0.0]

    def at(share: float) -> float:
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] * 1_000

    return Percentiles(at(0.50), at(0.95), at(0.99), at(1.0))


async def _main(port: str, key: str, word: str, rate: str, seconds: str) -> None:
    result = await Generator(int(port), key, word).run(float(rate), float(seconds))
    print(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(*sys.argv[1:]))
