"""The recorded programs as Terraform JSON: whole, known to the real provider, clean for checkov."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from remit_infra.checks import checkov, suppressions, unaccepted
from remit_infra.graph import Graph
from remit_infra.terraform import Terraform, TerraformError, to_terraform
from remit_infra.terraform_names import attribute_of, type_of
from remit_infra.topologies.lambda_postgres import recorded
from tests.tidy.tree import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("recorded")]

CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/00000000"
CHECKOV = ROOT / ".venv/scan/bin/checkov"
PROVIDER = {"region": "us-east-1"}
TOPOLOGY = "lambda-postgres"
SUFFIXES = ("dev", "staging-001", "prod")


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    return {suffix: recorded(suffix, certificateArn=CERTIFICATE) for suffix in SUFFIXES}


@pytest.fixture(scope="module")
def programs(graphs: dict[str, Graph]) -> dict[str, dict[str, Any]]:
    return {suffix: to_terraform(graph, PROVIDER) for suffix, graph in graphs.items()}


def test_no_resource_and_no_property_is_dropped(
    graphs: dict[str, Graph], programs: dict[str, dict[str, Any]]
) -> None:
    for suffix, graph in graphs.items():
        for resource in graph.resources:
            made = programs[suffix]["resource"][type_of(resource.type)][resource.name]
            # The code of a function is a file there.
            names = {attribute_of(resource.type, name) for name in resource.properties} - {"code"}
            assert names <= made.keys()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_real_provider_knows_every_name(
    programs: dict[str, dict[str, Any]], suffix: str, tmp_path: Path
) -> None:
    try:
        terraform = Terraform(tmp_path)
        terraform.write(programs[suffix])
        terraform.init()
    except TerraformError as error:
        pytest.skip(str(error))
    assert terraform.validate() == []
    wrong = deepcopy(programs[suffix])
    wrong["resource"]["aws_vpc"]["payment-vpc"]["cidr_blok"] = "10.0.0.0/16"
    terraform.write(wrong)
    assert "cidr_blok" in " ".join(terraform.validate())


def test_nothing_is_found_that_is_not_accepted(programs: dict[str, dict[str, Any]]) -> None:
    findings = [one for program in programs.values() for one in checkov(program, CHECKOV)]
    assert unaccepted(findings, suppressions(TOPOLOGY)) == []


def test_at_most_nine_entries_each_with_its_reason() -> None:
    accepted = suppressions(TOPOLOGY)
    assert 0 < len(accepted) <= 9
    assert all(len(entry.reason) > 40 for entry in accepted)


WRONG: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a database that is not encrypted": (
        "aws_db_instance",
        "payment-db",
        {"storage_encrypted": False},
    ),
    "a public database": ("aws_db_instance", "payment-db", {"publicly_accessible": True}),
    "a key that does not rotate": (
        "aws_kms_key",
        "payment-data-key",
        {"enable_key_rotation": False},
    ),
    "a function outside the network": (
        "aws_lambda_function",
        "payment-validator",
        {"vpc_config": None},
    ),
    "a load balancer without logs": ("aws_lb", "payment-alb", {"access_logs": None}),
    "a topic that is not encrypted": (
        "aws_sns_topic",
        "payment-alarms",
        {"kms_master_key_id": None},
    ),
}


def test_checkov_finds_what_is_put_back(programs: dict[str, dict[str, Any]]) -> None:
    program = deepcopy(programs["prod"])
    for kind, name, changed in WRONG.values():
        made = program["resource"][kind][name]
        for attribute, value in changed.items():
            made[attribute] = value
            if value is None:
                del made[attribute]
    found = unaccepted(checkov(program, CHECKOV), suppressions(TOPOLOGY))
    assert {name for _, name, _ in WRONG.values()} <= {finding.resource for finding in found}
