"""What a command that takes a while shows meanwhile, on standard error.

In a terminal a line that moves, with the seconds; elsewhere plain lines, each with the seconds
since the command began.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from remit.clock_and_ids import now
from remit.domain.ids import Clock
from remit.entrypoints.cli.terminal.messages import errors
from remit.entrypoints.cli.terminal.table import printable

Report = Callable[[str, int, int], None]
"""Takes what was done last, and how many of how many are done."""


class Steps:
    """The steps of one command, each shown when it begins and with its time when it has ended."""

    def __init__(self, clock: Clock = now, console: Console = errors) -> None:
        self._clock = clock
        self._console = console
        self._began = clock()

    @contextmanager
    def step(self, what: str) -> Iterator[Report]:
        """Shows the step while the block runs, which may report how far it is."""
        if not self._console.is_terminal:
            self.note(what)
            yield lambda last, done, total: self.note(f"  {done:,}/{total:,} {last}")
            return
        began = self._clock()
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[last]}", style="dim"),
        )
        with Progress(*columns, console=self._console, transient=True) as shown:
            task = shown.add_task(escape(what), total=None, last="")

            def report(last: str, done: int, total: int) -> None:
                shown.update(task, last=escape(f"{done:,}/{total:,} {printable(last)}"))

            yield report
        self._console.print(f"{escape(what)}  [dim]{_seconds(self._clock() - began)}")

    def note(self, line: str) -> None:
        """A line about the step that is under way."""
        line = escape(printable(line))
        if not self._console.is_terminal:
            line = f"{_seconds(self._clock() - self._began):>9}  {line}"
        self._console.print(line)


@contextmanager
def progress_bar(what: str, total: int, *, show: bool) -> Iterator[Callable[[], None]]:
    """A bar while `total` things are looked at, in a terminal alone; call what it yields for each
    of them.
    """
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=errors, transient=True, disable=not (show and errors.is_terminal)
    ) as shown:
        task = shown.add_task(what, total=total)
        yield lambda: shown.advance(task)


def _seconds(elapsed: timedelta) -> str:
    return f"{elapsed.total_seconds():.1f} s"
