"""The lambda-dynamodb stack keeps its promises, in every environment and on every day."""

import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from remit_infra.model.environments import ConfigurationError
from remit_infra.model.gateway import ROUTES
from remit_infra.topologies.lambda_dynamodb import rest_api
from remit_infra.topologies.lambda_dynamodb.stack import synthesise
from tests.infra.conftest import ENVIRONMENT_SUFFIXES
from tests.infra.promises import Template, View, broken
from tests.tidy.tree import ROOT

pytestmark = pytest.mark.xdist_group("cdk")


@pytest.mark.parametrize("suffix", ENVIRONMENT_SUFFIXES)
def test_every_promise_is_kept(templates: dict[str, Template], suffix: str) -> None:
    assert broken(templates[suffix]) == {}


def test_environments_differ_in_values_alone(templates: dict[str, Template]) -> None:
    def shape(template: Template) -> Any:
        return sorted(
            (resource["Type"], sorted(resource.get("Properties", {})))
            for resource in template["Resources"].values()
        )

    dev, staging, prod = (shape(template) for template in templates.values())
    assert dev == staging == prod
    tables = [View(t).of("AWS::DynamoDB::Table").popitem()[1] for t in templates.values()]
    assert [table["DeletionProtectionEnabled"] for table in tables] == [False, False, True]


def test_two_days_give_the_same_bytes(templates: dict[str, Template], tmp_path: Path) -> None:
    """The second day is far away, for Python's clock and for that of the CDK's JavaScript."""
    (tmp_path / "later.js").write_text(
        "const then = 4102444800000, Now = Date;\n"
        "globalThis.Date = class extends Now {\n"
        "  constructor(...a) { if (a.length) super(...a); else super(then); }\n"
        "  static now() { return then; }\n"
        "};\n"
    )
    code = (
        "import json, sys, time; time.time = lambda: 4102444800.0\n"
        "from remit_infra.topologies.lambda_dynamodb.stack import synthesise\n"
        "sys.stdout.write(json.dumps(synthesise(suffix='dev')[1]))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NODE_OPTIONS": f"--require {tmp_path / 'later.js'}"},
    )
    assert ran.stdout == json.dumps(templates["dev"])


def test_the_default_is_dev(templates: dict[str, Template]) -> None:
    name, template = synthesise()
    assert (name, template) == ("payment-lambda-dynamodb-dev", templates["dev"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"suffix": "test"}, "must begin with one of dev, staging, prod"),
        ({"suffix": "staging-of-the-north"}, "the environment suffix can have 16 here"),
        ({"suffix": "dev", "migration_date": "yesterday"}, "must be a date such as 2026-11-20"),
    ],
    ids=["environment", "length", "date"],
)
def test_what_does_not_fit_is_refused_before_anything_is_built(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        synthesise(**options)


def test_a_setting_that_the_service_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no setting 'colour'"):
        synthesise(settings={"colour": "red"})


def test_configuration_reaches_the_template() -> None:
    _, template = synthesise(
        suffix="dev-2",
        migration_date="2027-01-31",
        alarm_email="ops@example.com",
        settings={"default_currency": "EUR"},
        architecture="x86_64",
    )
    view = View(template)
    [subscription] = view.of("AWS::SNS::Subscription").values()
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "ops@example.com")
    for function in view.of("AWS::Lambda::Function").values():
        assert function["Environment"]["Variables"]["REMIT_DEFAULT_CURRENCY"] == "EUR"
        assert function["Architectures"] == ["x86_64"]
        assert {"Key": "MigrationDate", "Value": "2027-01-31"} in function["Tags"]
    assert broken(template) == {}


def test_names_are_those_that_were_promised(templates: dict[str, Template]) -> None:
    view = View(templates["staging-001"])

    def names(kind: str, key: str) -> set[str]:
        return {properties[key] for properties in view.of(kind).values()}

    assert names("AWS::DynamoDB::Table", "TableName") == {"transactions-staging-001"}
    assert names("AWS::SQS::Queue", "QueueName") == {
        "failed-transactions-staging-001",
        "failed-transactions-dlq-staging-001",
    }
    assert "payment-alarms-staging-001" in names("AWS::SNS::Topic", "TopicName")
    assert names("AWS::Lambda::Function", "FunctionName") == {
        "payment-validation-staging-001",
        "payment-processing-staging-001",
        "payment-delivery-staging-001",
        "health-monitor-staging-001",
    }
    assert names("AWS::CloudWatch::Dashboard", "DashboardName") == {"payment-dashboard-staging-001"}
    alarms = names("AWS::CloudWatch::Alarm", "AlarmName")
    assert alarms >= {"api-latency-staging-001", "dynamodb-throttle-staging-001"}
    assert {f"{f}-errors-staging-001" for f in ("payment-validation", "health-monitor")} <= alarms


def test_the_environment_of_a_function_is_within_lambdas_limit(
    templates: dict[str, Template],
) -> None:
    for function in View(templates["staging-001"]).of("AWS::Lambda::Function").values():
        assert len(json.dumps(function["Environment"]["Variables"])) < 4_096


def test_a_changed_method_makes_a_new_deployment(
    templates: dict[str, Template], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_api, "ROUTES", ROUTES[:-1])
    _, changed = synthesise(suffix="dev")
    before, after = (View(t).of("AWS::ApiGateway::Deployment") for t in (templates["dev"], changed))
    assert set(before).isdisjoint(after)


def test_the_cdks_own_command_line_finds_the_same_stack(
    templates: dict[str, Template], tmp_path: Path
) -> None:
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
    assert made == templates["prod"]


def _first(template: Template, kind: str, has: str = "") -> dict[str, Any]:
    found: dict[str, Any] = next(
        resource
        for resource in template["Resources"].values()
        if resource["Type"] == kind and has in json.dumps(resource)
    )
    return found


def _without(kind: str, *path: str | int, has: str = "") -> Any:
    def mutate(template: Template) -> None:
        found: Any = _first(template, kind, has)
        for step in path[:-1]:
            found = found[step]
        del found[path[-1]]

    return mutate


def _with(kind: str, *path: Any, value: Any, has: str = "") -> Any:
    def mutate(template: Template) -> None:
        found: Any = _first(template, kind, has)
        for step in path[:-1]:
            found = found[step]
        found[path[-1]] = value

    return mutate


def _grant_everything(template: Template) -> None:
    policy = _first(template, "AWS::IAM::ManagedPolicy")["Properties"]["PolicyDocument"]
    policy["Statement"][0]["Resource"] = "*"


P = "Properties"
TRAPS = {
    "a usage of a validator without a model": (
        "bodies_are_validated_by_a_model",
        _without("AWS::ApiGateway::Method", P, "RequestModels", has='"POST"'),
    ),
    "a model without a validator": (
        "bodies_are_validated_by_a_model",
        _with("AWS::ApiGateway::RequestValidator", P, "ValidateRequestBody", value=False),
    ),
    "a deployment that waits for no method": (
        "a_change_of_a_method_reaches_the_stage",
        _without("AWS::ApiGateway::Deployment", "DependsOn"),
    ),
    "an access log that no stage names": (
        "every_log_group_is_written_to_and_ends",
        _without("AWS::ApiGateway::Stage", P, "AccessLogSetting"),
    ),
    "a stage without its throttle": (
        "the_api_is_throttled_traced_and_logged",
        _with("AWS::ApiGateway::Stage", P, "MethodSettings", value=[{}]),
    ),
    "a function that writes to the log group Lambda makes": (
        "each_function_has_its_own_role_log_group_trace_and_limit",
        _without("AWS::Lambda::Function", P, "LoggingConfig"),
    ),
    "a function that is not traced": (
        "each_function_has_its_own_role_log_group_trace_and_limit",
        _without("AWS::Lambda::Function", P, "TracingConfig"),
    ),
    "a function that outlasts the API": (
        "each_function_has_its_own_role_log_group_trace_and_limit",
        _with("AWS::Lambda::Function", P, "Timeout", value=60, has="validation.handler"),
    ),
    "a function that is not told where the bucket is": (
        "functions_are_told_everything",
        _without("AWS::Lambda::Function", P, "Environment", "Variables", "REMIT_AUDIT_BUCKET"),
    ),
    "a batch that fails as a whole": (
        "event_sources_report_partial_batches_and_may_be_read",
        _without("AWS::Lambda::EventSourceMapping", P, "FunctionResponseTypes"),
    ),
    "a role for everything": ("wildcards_have_reasons", _grant_everything),
    "a bucket that stays": (
        "everything_can_be_destroyed",
        _with("AWS::S3::Bucket", "DeletionPolicy", value="Retain"),
    ),
    "a bucket whose earlier versions stay": (
        "data_is_kept_safe",
        _without(
            *("AWS::S3::Bucket", P, "LifecycleConfiguration", "Rules", 0),
            "NoncurrentVersionExpiration",
        ),
    ),
    "a table without recovery": (
        "data_is_kept_safe",
        _without("AWS::DynamoDB::Table", P, "PointInTimeRecoverySpecification"),
    ),
    "a queue that gives up on nothing": (
        "failed_work_has_a_dead_letter_queue",
        _without("AWS::SQS::Queue", P, "RedrivePolicy", has="RedrivePolicy"),
    ),
    "a queue that hands out what is being worked on": (
        "failed_work_has_a_dead_letter_queue",
        _with("AWS::SQS::Queue", P, "VisibilityTimeout", value=30, has="RedrivePolicy"),
    ),
    "a topic that answers without TLS": (
        "only_tls_is_spoken",
        _with("AWS::SNS::TopicPolicy", P, "PolicyDocument", "Statement", value=[]),
    ),
    "a key that never changes": (
        "keys_rotate",
        _without("AWS::KMS::Key", P, "EnableKeyRotation", has="EnableKeyRotation"),
    ),
    "an alarm that tells nobody": (
        "every_alarm_tells_and_is_explained",
        _without("AWS::CloudWatch::Alarm", P, "AlarmActions"),
    ),
    "an alarm that nobody explained": (
        "every_alarm_tells_and_is_explained",
        _with("AWS::CloudWatch::Alarm", P, "AlarmDescription", value="See docs/runbook.md, x."),
    ),
    "a resource without its date": (
        "everything_is_tagged",
        _with("AWS::SQS::Queue", P, "Tags", value=[{"Key": "Name", "Value": "x"}]),
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_that_returns_is_caught(templates: dict[str, Template], trap: str) -> None:
    promise, mutate = TRAPS[trap]
    template = deepcopy(templates["dev"])
    mutate(template)
    assert promise in broken(template)
