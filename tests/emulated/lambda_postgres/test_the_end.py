"""After everything else: the stack is destroyed."""

import pytest

from tests.emulated.conftest import left_of
from tests.emulated.lambda_postgres.conftest import Stack

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("terraform"),
]


def test_destroying_leaves_nothing(stack: Stack) -> None:
    stack.terraform.destroy()
    assert left_of(stack.emulator) == []
    assert stack.terraform.outputs() == {}
