"""The one stack of this topology."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.emulated.lambda_dynamodb.stack import LambdaDynamodb


@pytest.fixture
def stack(deployed: Callable[[str], Any]) -> LambdaDynamodb:
    made: LambdaDynamodb = deployed("lambda-dynamodb")
    return made
