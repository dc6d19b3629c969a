"""The types of clock and id generator. Code takes both as arguments, so that tests control them."""

import re
from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]
"""Returns the time now, in UTC."""


NewId = Callable[[], str]
"""Returns a new UUID of version 7 (RFC 9562). A later id sorts after an earlier one."""


_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def is_id(text: str) -> bool:
    """Whether `text` has the form of an id that Remit makes."""
    return _ID.fullmatch(text) is not None
