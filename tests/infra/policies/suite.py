"""Every policy, and what a graph has against those of its topology."""

from collections.abc import Sequence

from remit_infra.graph.graph import Graph
from tests.infra.policies import (
    api,
    balancer,
    database,
    functions,
    keys_and_roles,
    monitoring,
    network,
    stacks,
    storage,
    tasks,
)
from tests.infra.policies.policy import Policy

MODULES = (
    api,
    balancer,
    database,
    functions,
    keys_and_roles,
    monitoring,
    network,
    stacks,
    storage,
    tasks,
)
POLICIES = tuple(
    found for module in MODULES for found in vars(module).values() if isinstance(found, Policy)
)


def broken(graph: Graph, policies: Sequence[Policy] = POLICIES) -> dict[str, list[str]]:
    """The problems that each policy of the graph's topology names; nothing where all hold."""
    found = {
        one.name: list(one.problems(graph)) for one in policies if graph.topology in one.topologies
    }
    return {name: problems for name, problems in found.items() if problems}
