"""A route that is added to the service's table is in API Gateway and in the load balancer."""

import json
import subprocess
import sys
from typing import Any

import pytest

from remit.http.errors import HTTP_ERRORS
from remit.http.routes import ROUTES
from remit_infra.model.gateway import API_KEY_RESPONSES, GATEWAY_RESPONSES

ADD = """
from dataclasses import replace
from remit.http import routes
[process] = [route for route in routes.ROUTES if route.name == "process"]
added = [replace(process, path=f"/notes{n}/{{note_id}}/close", name=f"note{n}") for n in range(4)]
routes.ROUTES = (*routes.ROUTES, *added)
"""
"""The table with four routes more, before anything is derived from it."""

IN_PULUMI = """
import json
from remit_infra.plan.plan import plan_stack
graph = plan_stack("lambda-postgres", "dev", {}).graph
print(json.dumps([
    [r.type.rsplit(":", 1)[1], r.name, r.properties] for r in graph.resources
    if r.type.startswith(("aws:apigateway", "aws:lb/listenerRule"))
], default=str))
"""

IN_CDK = """
import json
from remit_infra.topologies.lambda_dynamodb.stack import synthesise
_, template = synthesise(suffix="dev")
print(json.dumps([
    [r["Type"], name, r["Properties"]] for name, r in template["Resources"].items()
    if r["Type"].startswith("AWS::ApiGateway")
]))
"""


def derived(program: str, *, added: bool) -> list[list[object]]:
    ended = subprocess.run(
        [sys.executable, "-c", (ADD if added else "") + program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: list[list[object]] = json.loads(ended.stdout)
    return found


@pytest.mark.slow
def test_a_route_of_the_table_is_in_api_gateway_and_in_the_load_balancer() -> None:
    before, after = (derived(IN_PULUMI, added=added) for added in (False, True))
    kinds = [kind for kind, _, _ in after]
    assert kinds.count("Method") == [kind for kind, _, _ in before].count("Method") + 4
    assert kinds.count("Integration") == kinds.count("Method")
    names = {name for _, name, _ in after}
    assert "payment-api-post-notes0-note_id-close" in names
    rules: list[Any] = [properties for kind, _, properties in after if kind == "ListenerRule"]
    patterns = [rule["conditions"][0]["pathPattern"]["values"] for rule in rules]
    assert max(len(values) for values in patterns) <= 5
    assert {f"/notes{n}/*/close" for n in range(4)} <= {v for values in patterns for v in values}


@pytest.mark.slow
def test_a_route_of_the_table_is_in_the_template() -> None:
    before, after = (derived(IN_CDK, added=added) for added in (False, True))
    methods = [[r for r in found if r[0] == "AWS::ApiGateway::Method"] for found in (before, after)]
    assert len(methods[1]) == len(methods[0]) + 4
    models = [r for r in after if r[0] == "AWS::ApiGateway::Model"]
    assert "Notes0NoteIdClose" in json.dumps(models)


def test_every_function_of_the_table_is_deployed_and_every_code_is_the_services() -> None:
    assert {route.function for route in ROUTES} == {"validation", "processing", "health", None}
    for response in (*GATEWAY_RESPONSES.values(), *API_KEY_RESPONSES.values()):
        error = HTTP_ERRORS[response.code]
        assert response.error == {
            "type": error.type,
            "code": response.code,
            "message": error.message,
        }
        assert response.status in (str(error.status), None)
