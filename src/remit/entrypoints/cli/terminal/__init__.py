"""What commands show: lines and JSON, tables, and the progress of what takes a while."""

from remit.entrypoints.cli.terminal.help import AWS, HELP, OPERATE, PAYMENTS, RUN, Json
from remit.entrypoints.cli.terminal.messages import (
    OutputConsole,
    fail,
    pipe_that_may_close,
    print_error,
    print_json,
    print_line,
    print_note,
    print_table,
)
from remit.entrypoints.cli.terminal.progress import Report, Steps, progress_bar
from remit.entrypoints.cli.terminal.table import instant, number, prose, state, value

__all__ = [
    "AWS",
    "HELP",
    "OPERATE",
    "PAYMENTS",
    "RUN",
    "Json",
    "OutputConsole",
    "Report",
    "Steps",
    "fail",
    "instant",
    "number",
    "pipe_that_may_close",
    "print_error",
    "print_json",
    "print_line",
    "print_note",
    "print_table",
    "progress_bar",
    "prose",
    "state",
    "value",
]
