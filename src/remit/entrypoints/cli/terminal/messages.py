"""How commands print: lines and tables for people, JSON for pipes, errors in one line.

Steps and bars of what takes a while are in `progress.py`.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import msgspec
from rich.console import Console
from rich.markup import escape

from remit.entrypoints.cli.terminal.table import Column, printable, table_lines


class OutputConsole(Console):
    """Raises BrokenPipeError when its reader went away, where rich would end the process."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


errors = Console(stderr=True, highlight=False, soft_wrap=True)
"""Standard error, for everything that is not the result of a command."""

PIPE_CLOSED_STATUS = 141
"""128 and SIGPIPE, as a shell reports a program whose reader went away."""


def fail(message: str, *, status: int = 1) -> NoReturn:
    """Ends the command with one line that says why. Status 2 is a mistake in how it was called."""
    print_error(message)
    raise SystemExit(status)


def print_error(message: str) -> None:
    errors.print(f"[bold red]remit:[/] {escape(_printable(message))}")


def print_note(message: str) -> None:
    """What a person may want to know meanwhile, on standard error."""
    errors.print(escape(_printable(message)), style="dim")


def print_line(line: str) -> None:
    """A line on standard output that is there at once, also where it is a file."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def print_json(value: object) -> None:
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    sys.stdout.write(text.decode() + "\n")


def print_table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    empty: str,
    stderr: bool = False,
) -> None:
    """A table for the width of the terminal, or the sentence `empty` where there is no row.

    Where standard output is no terminal, each row is one line, however long, for `grep`.
    """
    console = OutputConsole(stderr=stderr, highlight=False, markup=False, soft_wrap=True)
    if not rows:
        console.print(empty)
        return
    for line in table_lines(columns, rows, console.width if console.is_terminal else None):
        console.print(line)


@contextmanager
def pipe_that_may_close() -> Iterator[None]:
    """Ends the command quietly when the reader of its output has enough, as in `… | head`."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python writes what is left when it ends: into nothing, so that it cannot fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(PIPE_CLOSED_STATUS) from None


def _printable(message: str) -> str:
    return "\n".join(printable(line) for line in message.split("\n"))
