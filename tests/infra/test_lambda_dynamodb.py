"""The lambda-dynamodb stack as the CDK has it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from remit_infra.model.gateway import ROUTES
from remit_infra.topologies.lambda_dynamodb import rest_api
from remit_infra.topologies.lambda_dynamodb.stack import synthesise
from tests.infra.graphs import graph_of, of, template_graph, template_of
from tests.tidy.tree import ROOT

pytestmark = pytest.mark.xdist_group("graphs")


def test_the_default_is_dev() -> None:
    assert synthesise() == ("payment-lambda-dynamodb-dev", template_of("dev"))


def test_the_environment_of_a_function_is_within_lambdas_limit() -> None:
    for function in of(graph_of("lambda-dynamodb", "staging-001"), "lambda/function:Function"):
        assert len(json.dumps(function.properties["environment"]["variables"])) < 4_096


def test_a_changed_method_makes_a_new_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_api, "ROUTES", ROUTES[:-1])
    changed = template_graph("dev", synthesise(suffix="dev")[1])
    kind = "apigateway/deployment:Deployment"
    before, after = (
        {deployment.name for deployment in of(graph, kind)}
        for graph in (graph_of("lambda-dynamodb", "dev"), changed)
    )
    assert before.isdisjoint(after)


def test_the_cdks_own_command_line_finds_the_same_stack(tmp_path: Path) -> None:
    folder = ROOT / "deploy/lambda-dynamodb"
    configured = json.loads((folder / "cdk.json").read_text())
    assert configured["app"] == "python app.py"
    subprocess.run(
        [sys.executable, "app.py"],
        cwd=folder,
        check=True,
        env={
            **os.environ,
            "CDK_OUTDIR": str(tmp_path),
            "CDK_CONTEXT_JSON": json.dumps({**configured["context"], "environmentSuffix": "prod"}),
        },
    )
    made = json.loads((tmp_path / "payment-lambda-dynamodb-prod.template.json").read_text())
    assert made == template_of("prod")
