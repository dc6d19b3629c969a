"""Identifiers and time, which everything is handed and nothing makes for itself."""

import re
from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]
"""Now, in UTC."""


NewId = Callable[[], str]
"""A new identifier: a UUID of version 7 (RFC 9562), so that later ones sort after earlier ones."""


_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def is_id(text: str) -> bool:
    """Whether `text` could be an identifier of ours."""
    return _ID.fullmatch(text) is not None
