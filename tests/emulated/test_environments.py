"""Every environment is applied, planned again and destroyed by the real AWS provider."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from remit_infra.emulated.emulated_stack import PROVIDER
from remit_infra.emulated.terraform_gaps import adapt_to_emulator, drift
from remit_infra.graph.graph import Graph
from remit_infra.graph.terraform import Terraform, TerraformError, to_terraform
from tests.emulated.harness import left_of, new_emulator, of_topology
from tests.infra.graphs import graph_of

pytestmark = of_topology("fargate-environments", 900)

SUFFIXES = ("dev", "prod")
"""Besides staging, in which the tests of the tasks are."""


def lived(graph: Graph, folder: Path) -> tuple[list[str], int, list[str]]:
    """What a plan would still change once it is applied, how many resources there were, and what is
    left after it is destroyed.
    """
    with new_emulator(folder / "emulator") as emulator:
        login = emulator.client("secretsmanager").create_secret(Name="rds", SecretString="{}")
        program = to_terraform(graph, PROVIDER, adapt_to_emulator(5432, login["ARN"]))
        terraform = Terraform(folder / "terraform", emulator.environment)
        terraform.write(program)
        terraform.init()
        terraform.apply()
        plan = terraform.plan()
        if graph.suffix == "prod":
            terraform.write(unprotected(program))
            terraform.apply()
        terraform.destroy()
        return drift(plan), len(plan["resource_changes"]), left_of(emulator)


def unprotected(program: dict[str, Any]) -> dict[str, Any]:
    """The program as it must be deployed before prod can be destroyed."""
    made = deepcopy(program)
    made["resource"]["aws_rds_cluster"]["payment-db"]["deletion_protection"] = False
    made["resource"]["aws_lb"]["payment-alb"]["enable_deletion_protection"] = False
    return made


def test_environments_are_applied_planned_again_and_destroyed(tmp_path: Path) -> None:
    """At once, for most of it is waiting. Programs are recorded one after the other: Pulumi has one
    monitor in a process.
    """
    graphs = {suffix: graph_of("fargate-aurora", suffix) for suffix in SUFFIXES}
    with ThreadPoolExecutor() as threads:
        running = {s: threads.submit(lived, graph, tmp_path / s) for s, graph in graphs.items()}
        try:
            found = {suffix: future.result() for suffix, future in running.items()}
        except TerraformError as error:
            if "not on PATH" in str(error):
                pytest.skip(str(error))
            raise
    for still, resources, left in found.values():
        assert (still, left) == ([], [])
        assert resources > 150
