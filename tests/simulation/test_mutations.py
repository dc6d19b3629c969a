"""A short form of `make mutations`: each fault can be planted, and a few are seen noticed."""

from pathlib import Path

import pytest

from tests.simulation.mutate import plant, seeds_to_notice
from tests.simulation.mutations import MUTATIONS, Mutation

FEW_SEEDS = 30

QUICK = [
    "the operations of a payment share a key",
    "a step whose commit was not heard of is answered 503",
    "a refund is posted as a charge",
]


def named(name: str) -> Mutation:
    [mutation] = [mutation for mutation in MUTATIONS if mutation.name == name]
    return mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_a_fault_can_be_planted(mutation: Mutation, tmp_path: Path) -> None:
    """Its text is in the code exactly once, and the code with it can be compiled."""
    plant(mutation, tmp_path)
    for file, _, _ in mutation.edits:
        compile((tmp_path / "remit" / file).read_text(), file, "exec")


def test_no_two_faults_have_one_name() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_fault_is_noticed(name: str) -> None:
    assert seeds_to_notice(named(name), FEW_SEEDS) is not None


def test_the_code_as_it_is_has_nothing_to_notice() -> None:
    assert seeds_to_notice(Mutation("nothing", ()), 3) is None
