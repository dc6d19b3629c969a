"""The one stack of this topology."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.emulated.lambda_postgres.stack import LambdaPostgres


@pytest.fixture
def stack(deployed: Callable[[str], Any]) -> LambdaPostgres:
    made: LambdaPostgres = deployed("lambda-postgres")
    return made
