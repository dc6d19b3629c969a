"""Templates of the topologies, synthesised once."""

import pytest

from remit_infra.topologies.lambda_dynamodb.stack import synthesise
from tests.infra.promises import Template

ENVIRONMENT_SUFFIXES = ("dev", "staging-001", "prod")


@pytest.fixture(scope="session")
def templates() -> dict[str, Template]:
    """The lambda-dynamodb stack in each environment, by suffix."""
    return {suffix: synthesise(suffix=suffix)[1] for suffix in ENVIRONMENT_SUFFIXES}
