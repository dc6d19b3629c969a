"""How commands print: tables and progress for people, JSON for pipes, errors in one line."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, NoReturn

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

_errors = Console(stderr=True, highlight=False, soft_wrap=True)


Json = Annotated[bool, Parameter("--json", negative="", help="Print JSON, for pipes.")]


def fail(message: str, *, status: int = 1) -> NoReturn:
    """Ends the command with one line that says why. Status 2 is a mistake in how it was called."""
    print_error(message)
    raise SystemExit(status)


def print_error(message: str) -> None:
    _errors.print(f"[bold red]remit:[/] {escape(message)}")


def print_note(message: str) -> None:
    """What a person may want to know meanwhile, on standard error."""
    _errors.print(escape(message), style="dim")


def print_json(value: object) -> None:
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    sys.stdout.write(text.decode() + "\n")


def print_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, stderr: bool = False
) -> None:
    """A table as wide as it needs to be: identifiers are there to be copied, so none is cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, no_wrap=True)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console = Console(highlight=False, stderr=stderr)
    if not console.is_terminal:
        console.width = 100_000
    console.print(table, soft_wrap=True)
    if not rows:
        console.print("nothing")


@contextmanager
def progress(what: str, total: int, *, show: bool) -> Iterator[Callable[[], None]]:
    """A bar on standard error while `total` things are looked at; call what it yields for each."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=_errors, transient=True, disable=not (show and _errors.is_terminal)
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
