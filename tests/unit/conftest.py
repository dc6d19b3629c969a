"""Fixtures of the unit tests."""

import pytest

from remit.ports.app import App
from tests.builders import replace_parts
from tests.unit.steps import LaterProcessor, TwoPhaseProcessor


@pytest.fixture
def later(in_memory: App) -> App:
    """The service with a processor that does every operation later."""
    return replace_parts(in_memory, processor=LaterProcessor())


@pytest.fixture
def two_phase(in_memory: App) -> App:
    """The service with a processor that prepares charges and authorizations."""
    return replace_parts(in_memory, processor=TwoPhaseProcessor())
