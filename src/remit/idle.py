"""When a process is idle. An idle process does not read its database, so that it can pause."""

import asyncio

WAKE_UP_SECONDS = 3_600.0
"""How long an idle process waits before it checks for work, if no message wakes it."""


class IdlePolicy:
    """A process is idle after `after_seconds` without work, or never if that is None.

    Work is a caller's request, a message from the queue, or a round of a job that had something to
    do. A health check is not work, because checks alone must not keep a database awake.
    """

    def __init__(
        self, after_seconds: float | None = None, *, wake_up_seconds: float = WAKE_UP_SECONDS
    ) -> None:
        self.after_seconds = after_seconds
        self.wake_up_seconds = wake_up_seconds
        self._worked_at: float | None = None
        self._work = asyncio.Event()

    def record_work(self) -> None:
        """Records work, and ends every `wait_for_work`."""
        if self.after_seconds is not None:
            self._worked_at = asyncio.get_running_loop().time()
            self._work.set()

    def seconds_left(self) -> float:
        """The seconds until this process is idle: 0 if it is, infinity if it never will be.

        Without work so far they count from the first call.
        """
        if self.after_seconds is None:
            return float("inf")
        now = asyncio.get_running_loop().time()
        if self._worked_at is None:
            self._worked_at = now
        return max(0.0, self._worked_at + self.after_seconds - now)

    @property
    def is_idle(self) -> bool:
        return self.seconds_left() == 0

    async def wait_for_work(self, stop: asyncio.Event) -> None:
        """Waits for the next work or for `stop`, at most `wake_up_seconds`."""
        self._work.clear()
        events = [asyncio.create_task(event.wait()) for event in (self._work, stop)]
        await asyncio.wait(
            events, timeout=self.wake_up_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        for task in events:
            task.cancel()
