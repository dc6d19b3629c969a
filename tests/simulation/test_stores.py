"""The simulated world over real stores. The long form: `make simulate STORE=postgres`."""

from tests.conftest import TEMPLATE
from tests.simulation.backends import on_dynamodb, postgres_backend
from tests.simulation.run import simulate

POSTGRES_SEEDS = range(6)
FEW = range(8)
"""The merchants of the one seed on DynamoDB."""


def test_every_effect_is_booked_once_and_every_answer_is_true_on_postgres(
    postgres_server: str,
) -> None:
    backend = postgres_backend(postgres_server, TEMPLATE)
    reports = [simulate(seed, make_backend=backend) for seed in POSTGRES_SEEDS]
    assert [(report.seed, report.violations) for report in reports if report.violations] == []
    assert sum(report.operations for report in reports) > 400


def test_every_effect_is_booked_once_and_every_answer_is_true_on_dynamodb() -> None:
    with on_dynamodb() as backend:
        report = simulate(0, merchants=FEW, make_backend=backend)
    assert report.violations == []
    assert report.operations > 20
