"""Logs on standard error: an event name and its fields, never a body or a card.

In a terminal a log is a line for people, and elsewhere a JSON object.
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
    """Logs one request, for a person who runs the service in a terminal."""
    milliseconds = round(took.total_seconds() * 1_000, 1)
    write = log.info if status < 500 else log.error
    write(f"{method} {path}", status=status, ms=milliseconds)


def masked_json(event: object, **options: Any) -> str:
    """The event as a line of JSON, with card numbers masked: an exception's text may hold one."""
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
        # The default is a coloured traceback, which shows local variables.
        exception_formatter=structlog.dev.plain_traceback,
        sort_keys=False,
    )

    def masked(logger: Any, name: str, event: EventDict) -> str:
        return mask_card_numbers(renderer(logger, name, event))

    return (structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False), _printable, masked)


def _printable(_: Any, __: str, event: EventDict) -> EventDict:
    """Escapes control characters. A path comes from outside and could control the terminal."""
    return {
        name: value.encode("unicode_escape").decode()
        if isinstance(value, str) and not value.isprintable()
        else value
        for name, value in event.items()
    }
