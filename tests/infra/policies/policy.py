"""A policy: what must hold of a topology's graph, whichever tool made it."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from remit_infra.graph.graph import Graph

Check = Callable[[Graph], Iterator[str]]
"""Names each problem that a graph has."""


class Policy(NamedTuple):
    """Holds of every graph of these topologies for which its check names no problem."""

    name: str
    topologies: frozenset[str]
    problems: Check


def policy(*topologies: str) -> Callable[[Check], Policy]:
    """Makes a check the policy of these topologies, under the check's own name."""
    return lambda check: Policy(check.__name__, frozenset(topologies), check)


DYNAMODB, POSTGRES, FARGATE = "lambda-dynamodb", "lambda-postgres", "fargate-aurora"
LAMBDA = (DYNAMODB, POSTGRES)
PULUMI = (POSTGRES, FARGATE)
EVERY = (DYNAMODB, POSTGRES, FARGATE)
