"""Logs on standard error: an event and its fields, never a body or card.

In a terminal, where people read them, they are lines; elsewhere one JSON object a line.
"""

import json
import logging
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from remit.domain.card import mask_card_numbers

log = structlog.get_logger("http")


def configure_logs(level: str, file: TextIO | None = None) -> None:
    output = file or sys.stderr
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *(_as_lines() if output.isatty() else _as_json()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(file=output),
    )


def log_request(method: str, path: str, status: int, took: timedelta) -> None:
    """A line for one request, for the person who tries the service in a terminal."""
    milliseconds = round(took.total_seconds() * 1_000, 1)
    say = log.info if status < 500 else log.error
    say(f"{method} {path}", status=status, ms=milliseconds)


def masked_json(event: object, **options: Any) -> str:
    """One line. What an exception of somebody else's code says can hold anything."""
    return mask_card_numbers(json.dumps(event, **{"default": str, **options}))


def _as_json() -> Sequence[Processor]:
    return (
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        ),
        structlog.processors.JSONRenderer(serializer=masked_json),
    )


def _as_lines() -> Sequence[Processor]:
    renderer = structlog.dev.ConsoleRenderer(
        colors="NO_COLOR" not in os.environ,
        # Not the coloured traceback that it would take by itself: that shows local variables.
        exception_formatter=structlog.dev.plain_traceback,
        sort_keys=False,
    )

    def masked(logger: Any, name: str, event: EventDict) -> str:
        return mask_card_numbers(renderer(logger, name, event))

    return (structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False), _printable, masked)


def _printable(_: Any, __: str, event: EventDict) -> EventDict:
    """Without what would do something to the terminal: a path is a stranger's."""
    return {
        name: value.encode("unicode_escape").decode()
        if isinstance(value, str) and not value.isprintable()
        else value
        for name, value in event.items()
    }
