"""The one stack of this topology."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.emulated.fargate_aurora.stack import FargateAurora


@pytest.fixture
def stack(deployed: Callable[[str], Any]) -> FargateAurora:
    made: FargateAurora = deployed("fargate-aurora")
    return made
