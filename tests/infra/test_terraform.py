"""The recorded programs as Terraform JSON: whole, known to the real provider, clean for checkov."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from remit_infra.graph.graph import Graph
from remit_infra.graph.scanners import checkov, read_suppressions, unsuppressed
from remit_infra.graph.terraform import Terraform, TerraformError, to_terraform
from remit_infra.graph.terraform_names import DYNAMIC_RESOURCE, attribute_of, type_of
from remit_infra.plan.plan import RECORDED
from tests.infra.graphs import SUFFIXES, graph_of
from tests.tidy.tree import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("graphs")]

CHECKOV = ROOT / ".venv/scan/bin/checkov"
PROVIDER = {"region": "us-east-1"}

Wrong = tuple[str, str, dict[str, Any]]


@pytest.fixture(scope="module", params=RECORDED)
def topology(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def graphs(topology: str) -> dict[str, Graph]:
    return {suffix: graph_of(topology, suffix) for suffix in SUFFIXES}


@pytest.fixture(scope="module")
def programs(graphs: dict[str, Graph]) -> dict[str, dict[str, Any]]:
    return {suffix: to_terraform(graph, PROVIDER) for suffix, graph in graphs.items()}


def test_no_resource_and_no_property_is_dropped(
    graphs: dict[str, Graph], programs: dict[str, dict[str, Any]]
) -> None:
    for suffix, graph in graphs.items():
        made = programs[suffix]["resource"]
        assert sum(map(len, made.values())) == len(graph.resources)
        for resource in graph.resources:
            body = made[type_of(resource.type)][resource.name]
            if resource.type == DYNAMIC_RESOURCE:
                assert body["input"] == resource.properties
                continue
            # The code of a function is a file there.
            names = {attribute_of(resource.type, name) for name in resource.properties} - {"code"}
            assert names <= body.keys()


def test_a_resource_of_our_own_is_kept_with_all_that_it_is_given() -> None:
    graph = graph_of("fargate-aurora", "dev")
    [migration] = to_terraform(graph, PROVIDER)["resource"]["terraform_data"].values()
    assert {"cluster", "task_definition", "subnets", "groups"} <= migration["input"].keys()
    assert "aws_rds_cluster.payment-db" in " ".join(migration["depends_on"])


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
    if suffix != SUFFIXES[0]:
        return
    wrong = deepcopy(programs[suffix])
    wrong["resource"]["aws_vpc"]["payment-vpc"]["cidr_blok"] = "10.0.0.0/16"
    terraform.write(wrong)
    assert "cidr_blok" in " ".join(terraform.validate())


def test_without_terraform_it_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TerraformError, match="Install it: https://developer"):
        Terraform(tmp_path)


def test_nothing_is_found_that_is_not_accepted(
    topology: str, programs: dict[str, dict[str, Any]]
) -> None:
    findings = checkov(*programs.values(), command=CHECKOV)
    assert unsuppressed(findings, read_suppressions(topology)) == []


def test_at_most_nine_entries_each_with_its_reason(topology: str) -> None:
    accepted = read_suppressions(topology)
    assert 0 < len(accepted) <= 9
    assert all(len(entry.reason) > 40 for entry in accepted)


WRONG: dict[str, dict[str, Wrong]] = {
    "lambda-postgres": {
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
    },
    "fargate-aurora": {
        "a cluster that is not encrypted": (
            "aws_rds_cluster",
            "payment-db",
            {"storage_encrypted": False},
        ),
        "a cache that is asked without TLS": (
            "aws_elasticache_replication_group",
            "payment-cache",
            {"transit_encryption_enabled": False},
        ),
        "a tag that comes to mean another image": (
            "aws_ecr_repository",
            "payment-service-repository",
            {"image_tag_mutability": "MUTABLE"},
        ),
        "a queue that is not encrypted": (
            "aws_sqs_queue",
            "payment-queue",
            {"kms_master_key_id": None, "sqs_managed_sse_enabled": False},
        ),
        "a load balancer without logs": ("aws_lb", "payment-alb", {"access_logs": None}),
        "a cluster that nobody looks into": (
            "aws_ecs_cluster",
            "payment-cluster",
            {"setting": [{"name": "containerInsights", "value": "disabled"}]},
        ),
    },
}


def test_checkov_finds_what_is_put_back(topology: str, programs: dict[str, dict[str, Any]]) -> None:
    program = deepcopy(programs["prod"])
    for kind, name, changed in WRONG[topology].values():
        made = program["resource"][kind][name]
        for attribute, value in changed.items():
            made[attribute] = value
            if value is None:
                del made[attribute]
    found = unsuppressed(checkov(program, command=CHECKOV), read_suppressions(topology))
    put_back = {name for _, name, _ in WRONG[topology].values()}
    assert put_back <= {finding.resource for finding in found}


def test_checkov_finds_a_task_that_can_write_to_its_image_and_a_tag_that_moves() -> None:
    graph = graph_of("fargate-aurora", "dev")
    program = to_terraform(graph, PROVIDER)
    task = program["resource"]["aws_ecs_task_definition"]["payment-task"]
    [container] = json.loads(task["container_definitions"])
    del container["readonlyRootFilesystem"]
    task["container_definitions"] = json.dumps([container])
    [repository] = program["resource"]["aws_ecr_repository"].values()
    repository["image_tag_mutability"] = "MUTABLE"
    found = unsuppressed(
        checkov(program, command=CHECKOV), read_suppressions("fargate-aurora"), complete=False
    )
    assert {finding.rule for finding in found} == {"CKV_AWS_51", "CKV_AWS_336"}


def test_each_resource_is_reported_when_it_is_done(tmp_path: Path) -> None:
    try:
        terraform = Terraform(tmp_path)
    except TerraformError as error:
        pytest.skip(str(error))
    made = {
        "first": {"input": "1"},
        "second": {"input": "2", "depends_on": ["terraform_data.first"]},
    }
    terraform.write({"resource": {"terraform_data": made}})
    terraform.init()
    reported: list[tuple[str, int, int]] = []
    terraform.apply(lambda *done: reported.append(done))
    assert reported == [("terraform_data.first", 1, 2), ("terraform_data.second", 2, 2)]
    reported.clear()
    terraform.destroy(lambda *done: reported.append(done))
    assert reported == [("terraform_data.second", 1, 2), ("terraform_data.first", 2, 2)]


def test_what_terraform_refuses_is_said_in_its_words(tmp_path: Path) -> None:
    try:
        terraform = Terraform(tmp_path)
    except TerraformError as error:
        pytest.skip(str(error))
    terraform.write({"resource": {"terraform_data": {"one": {"input": "${no_such.thing}"}}}})
    terraform.init()
    with pytest.raises(TerraformError, match=r"^terraform apply: (?s:.)*Reference to undeclared"):
        terraform.apply()
