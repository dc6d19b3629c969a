"""Logs: one JSON object a line on standard error: an event and its fields, never a body or card."""

import json
import logging
import sys
from typing import Any, TextIO

import structlog

from remit.domain.card import mask_card_numbers


def configure_logs(level: str, file: TextIO | None = None) -> None:
    threshold = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(serializer=masked_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=file or sys.stderr),
    )


def masked_json(event: object, **options: Any) -> str:
    """One line. What an exception of somebody else's code says can hold anything."""
    return mask_card_numbers(json.dumps(event, **{"default": str, **options}))
