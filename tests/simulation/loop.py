"""An event loop on which time passes only while nothing can run."""

import asyncio
import selectors

OUTSIDE_SECONDS = 1.0


class Stuck(Exception):
    """Nothing can run and nothing is scheduled: something waits for what will never come."""


class _NoInput(selectors.SelectSelector):
    """Passes the loop's time instead of waiting for input."""

    loop: "SimulatedLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.loop.calls_outside:
            # Its response comes in real time. If it waits for a timer itself, time has to pass.
            if events := super().select(OUTSIDE_SECONDS if timeout != 0 else 0):
                return events
            timeout = OUTSIDE_SECONDS if timeout is None else min(timeout, OUTSIDE_SECONDS)
        if timeout is None:
            raise Stuck("Nothing is left to run.")
        self.loop.pass_time(timeout)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Runs callbacks in the order of their virtual time, in seconds from 0. It waits for nothing,
    so an hour takes as long as what happens in it. While `calls_outside` are under way, which are
    not simulated, it waits for them and no time passes.

    Every call of a port takes a time of its own from the seed (`processes.py`), so that any order
    of two such calls can happen.
    """

    def __init__(self) -> None:
        self._passed = 0.0
        self.calls_outside = 0
        selector = _NoInput()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._passed

    def pass_time(self, seconds: float) -> None:
        self._passed += seconds
