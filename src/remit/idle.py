"""When a process leaves its database alone, so that a serverless database can pause."""

import asyncio

WAKE_UP_SECONDS = 3_600.0
"""How long an idle process waits at most before it looks for work that no message told it of."""


class IdlePolicy:
    """A process is idle once `after_seconds` have passed without work; without it, never.

    Work is a request of a caller, a message from the queue, or a round of a job that found
    something. A health check is no work, so that checks alone keep no database awake.
    """

    def __init__(
        self, after_seconds: float | None = None, *, wake_up_seconds: float = WAKE_UP_SECONDS
    ) -> None:
        self.after_seconds = after_seconds
        self.wake_up_seconds = wake_up_seconds
        self._worked_at: float | None = None
        self._work = asyncio.Event()

    def worked(self) -> None:
        """Records work, and ends every `wait_for_work`."""
        if self.after_seconds is not None:
            self._worked_at = asyncio.get_running_loop().time()
            self._work.set()

    def seconds_left(self) -> float:
        """Until this process is idle, counted from the first time anybody asks if it never worked.

        0 once it is idle, infinity where it never is.
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
        """Returns at the next work or at `stop`, and after `wake_up_seconds` in any case."""
        self._work.clear()
        waiting = [asyncio.create_task(event.wait()) for event in (self._work, stop)]
        await asyncio.wait(
            waiting, timeout=self.wake_up_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        for task in waiting:
            task.cancel()
