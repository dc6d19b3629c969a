"""What may be asked of a database without keeping it awake: a look, which is no use of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_looking = ContextVar("looking", default=False)


@contextmanager
def looking() -> Iterator[None]:
    """What is asked in this block does not put off the rest of who answers."""
    token = _looking.set(True)
    try:
        yield
    finally:
        _looking.reset(token)


def is_look() -> bool:
    return _looking.get()
