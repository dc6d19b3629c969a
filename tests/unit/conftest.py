"""Fixtures of the unit tests."""

import pytest

from remit.ports.app import App
from tests.builders import replace_parts
from tests.unit.steps import LaterProcessor


@pytest.fixture
def later(in_memory: App) -> App:
    """The service with a processor that does every operation later."""
    return replace_parts(in_memory, processor=LaterProcessor())
