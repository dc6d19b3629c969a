"""After everything else: the stack is destroyed."""

import pytest

from tests.emulated.conftest import left_of
from tests.emulated.fargate_aurora.conftest import Stack

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("fargate"),
]


def test_destroying_leaves_nothing(stack: Stack) -> None:
    stack.terraform.destroy()
    assert left_of(stack.emulator) == []
    assert stack.terraform.outputs() == {}
