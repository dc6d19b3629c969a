"""What operators do with a deployment: restore it, deploy again, see it fail, take it down."""

import json
import os
import re
import signal
import subprocess
import sys
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from remit_infra.build.lambda_package import LambdaPackage
from remit_infra.deploy import lambda_dynamodb, terminal
from remit_infra.deploy.cloudformation import CloudFormationStack
from remit_infra.emulated.emulator import ACCOUNT, REGION, Emulator, without_gaps
from remit_infra.model.aws_account import DeployError
from remit_infra.model.environments import Names
from remit_infra.restore.dynamodb import RestoreError, TableRestore
from remit_infra.topologies.lambda_dynamodb.stack import synthesise
from tests.emulated.harness import SETTINGS, Caller, of_topology, run_remit
from tests.emulated.lambda_dynamodb.stack import LambdaDynamodb, left_with
from tests.tidy.tree import ROOT

pytestmark = of_topology("lambda-dynamodb")


def items(stack: LambdaDynamodb, table: str) -> dict[str, Any]:
    pages = stack.client("dynamodb").get_paginator("scan").paginate(TableName=table)
    return {item["transaction_id"]["S"]: item for page in pages for item in page["Items"]}


def test_a_restored_table_has_every_payment_and_agrees_with_the_books(
    stack: LambdaDynamodb,
) -> None:
    stack.process(stack.validate())
    stack.run("payment-delivery", "tick")
    said: list[str] = []
    restoring = TableRestore(stack.deployment, said.append)
    recovery = restoring.run("transactions-drill")
    before = items(stack, restoring.source)
    assert recovery.discrepancies == []
    assert recovery.payments == len([i for i in before.values() if i["kind"] == {"S": "payment"}])
    assert recovery.recovery_seconds > 0
    assert recovery.restored_to <= recovery.recovery_point
    assert items(stack, "transactions-drill") == before
    assert any(line.startswith("restoring transactions-dev-test-001 to ") for line in said)
    restoring.discard("transactions-drill")
    tables = stack.client("dynamodb").list_tables()["TableNames"]
    assert "transactions-drill" not in tables


def test_what_came_after_the_point_is_replayed_from_the_stream(stack: LambdaDynamodb) -> None:
    restoring = TableRestore(stack.deployment, lambda _: None)
    point = restoring.restore("transactions-replayed")
    late = stack.validate()
    stack.process(late)
    assert late not in items(stack, "transactions-replayed")
    replayed, last = restoring.replay("transactions-replayed", since=point - timedelta(minutes=1))
    assert replayed > 0
    assert last is not None
    again = items(stack, "transactions-replayed")
    assert again == items(stack, restoring.source)
    assert again[late]["status"] == {"S": "processed"}
    assert restoring.verify("transactions-replayed")[1] == []
    yesterday = point - timedelta(days=1)
    assert restoring.replay("transactions-replayed", since=yesterday, until=yesterday)[0] == 0
    restoring.discard("transactions-replayed")


def test_a_point_that_cannot_be_restored_is_refused(stack: LambdaDynamodb) -> None:
    restoring = TableRestore(stack.deployment, lambda _: None)
    before = restoring.restore("transactions-first")
    restoring.discard("transactions-first")
    with pytest.raises(RestoreError, match="can be restored from"):
        restoring.restore("transactions-never", before - timedelta(days=400))
    with pytest.raises(RestoreError, match="own table"):
        restoring.discard(restoring.source)


def test_deploying_again_changes_nothing(stack: LambdaDynamodb) -> None:
    _, template = synthesise(suffix="dev-test-001", settings=SETTINGS)
    deployment = stack.deployment
    before = deployment.outputs()
    assert deployment.deploy(without_gaps(template), stack.code, lambda *_: None) == before


def test_an_operators_shell_gets_the_settings(stack: LambdaDynamodb) -> None:
    lines = stack.deployment.exports("payment-delivery").splitlines()
    assert "export REMIT_TRANSACTIONS_TABLE=transactions-dev-test-001" in lines
    assert all(line.startswith("export REMIT_") for line in lines)


def in_a_shell(emulator: Emulator, script: str) -> subprocess.CompletedProcess[str]:
    """What an operator types, in a shell that can reach the account."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=emulator.environment | {"PATH": path},
    )


WHERE = f"in account {ACCOUNT}, region {REGION}"


def test_a_shell_that_takes_the_settings_acts_on_the_deployment_and_says_so(
    stack: LambdaDynamodb,
) -> None:
    ran = in_a_shell(
        stack.emulator,
        'eval "$(remit outputs lambda-dynamodb --env dev-test-001 --shell)" && remit failed list',
    )
    assert (ran.returncode, ran.stderr.splitlines()) == (
        0,
        [
            f"acting on the stack payment-lambda-dynamodb-dev-test-001 {WHERE}",
            f"acting on the table transactions-dev-test-001 {WHERE}",
        ],
    )


def test_a_stack_that_is_not_there_is_one_line(stack: LambdaDynamodb) -> None:
    for command in ("outputs lambda-dynamodb --shell", "restore lambda-dynamodb"):
        ran = in_a_shell(stack.emulator, f"remit {command} --env dev-nowhere")
        assert (ran.returncode, ran.stderr.splitlines()) == (
            1,
            [
                f"acting on the stack payment-lambda-dynamodb-dev-nowhere {WHERE}",
                f"remit: There is no stack payment-lambda-dynamodb-dev-nowhere in {REGION}.",
            ],
        )


def test_settings_of_another_region_are_refused(stack: LambdaDynamodb) -> None:
    settings = stack.deployment.settings("payment-delivery") | {"AWS_REGION": "eu-west-1"}
    ran = run_remit(stack.emulator, settings, "keys", "list")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "are of a deployment in us-east-1, and its region is eu-west-1" in ran.stderr


def test_an_operators_commands_work_on_the_deployment(stack: LambdaDynamodb) -> None:
    emulator = stack.emulator
    settings = stack.deployment.settings("payment-delivery")

    def run(*arguments: str) -> Any:
        ended = run_remit(emulator, settings, *arguments, "--json")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    made = run("keys", "create", "--merchant", "operated")
    assert made["id"] in {key["id"] for key in run("keys", "list")}
    caller = Caller(emulator, stack.url, made["key"])
    transaction_id = caller.validate()
    listed = run("payments", "list", "--merchant", "operated")
    assert [payment["transaction_id"] for payment in listed] == [transaction_id]
    assert run("payments", "list", "--limit", "1") == listed
    assert run("audit", "verify")["ok"] is True
    assert isinstance(run("failed", "list"), list)
    assert caller.process(transaction_id).status_code == 200
    [charge] = run("operations", "list", "--payment", transaction_id)
    assert (charge["kind"], charge["state"]) == ("charge", "succeeded")
    assert run("operations", "show", charge["operation_id"]) == charge
    decision = ("operations", "decide", charge["operation_id"], "not-done")
    ended = run_remit(emulator, settings, *decision)
    assert "An operation that is succeeded cannot change." in " ".join(ended.stderr.split())
    assert run_remit(emulator, settings, "keys", "revoke", made["id"]).returncode == 0


@pytest.fixture
def commanded(stack: LambdaDynamodb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """An account on the emulator as the commands find it, with API Gateway's role for logs."""
    stack.client("apigateway").update_account(
        patchOperations=[
            {
                "op": "replace",
                "path": "/cloudwatchRoleArn",
                "value": "arn:aws:iam::123456789012:role/api-gateway-logs",
            }
        ]
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lambda_dynamodb, "CODE", stack.code)
    made = LambdaPackage(str(stack.code), "", stack.code.stat().st_size, 1)
    monkeypatch.setattr(lambda_dynamodb, "build_package", lambda *_, **__: made)
    return stack.emulator


def deploy(
    monkeypatch: pytest.MonkeyPatch, suffix: str, change: Any = lambda template: None
) -> Any:
    stack, template = synthesise(suffix=suffix)
    template = deepcopy(without_gaps(template))
    change(template)
    monkeypatch.setattr(lambda_dynamodb, "synthesise_in_subprocess", lambda **_: (stack, template))
    return lambda_dynamodb.deploy(suffix, architecture="arm64", ask=False)


def test_a_deployment_is_made_told_and_taken_down_leaving_nothing(
    commanded: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    outputs = deploy(monkeypatch, "dev-gone")
    assert set(outputs) == {
        *("APIEndpoint", "TransactionsTableName"),
        *("AlarmTopicArn", "DashboardName"),
    }
    written = json.loads((tmp_path / "cfn-outputs/flat-outputs.json").read_text())
    assert written == outputs
    said = capsys.readouterr()
    assert "create complete" in said.err
    assert "USD idle" in said.err
    assert said.out == ""
    commanded.client("s3").put_object(
        Bucket="payment-audit-logs-dev-gone-123456789012-us-east-1", Key="segments/1", Body=b"x"
    )
    lambda_dynamodb.destroy("dev-gone", ask=False)
    assert left_with("dev-gone", commanded) == []
    with pytest.raises(DeployError, match="There is no stack"):
        lambda_dynamodb.destroy("dev-gone", ask=False)


def test_a_failure_names_the_resource_and_leaves_nothing_half_done(
    commanded: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(template: dict[str, Any]) -> None:
        """An alarm that the emulator refuses once it is its turn."""
        metric = {"Id": "m0", "Expression": "1"}
        properties = {"Metrics": [metric], "EvaluationPeriods": 1, "ComparisonOperator": "x"}
        template["Resources"]["spoilt"] = {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": properties,
        }

    with pytest.raises(DeployError) as failed:
        deploy(monkeypatch, "dev-spoilt", spoil)
    assert "is in ROLLBACK_COMPLETE. What failed:" in str(failed.value)
    assert "  spoilt (AWS::CloudWatch::Alarm): " in str(failed.value)
    assert [name for name in left_with("dev-spoilt", commanded) if "payment-code" not in name] == []
    deploy(monkeypatch, "dev-spoilt")
    lambda_dynamodb.destroy("dev-spoilt", ask=False)
    assert left_with("dev-spoilt", commanded) == []


def test_a_template_that_cloudformation_does_not_take_is_said_so(
    commanded: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(template: dict[str, Any]) -> None:
        template["Resources"]["spoilt"] = {"Type": "AWS::No::Such", "Properties": {}}

    with pytest.raises(DeployError, match=r"does not take the template: .*AWS::No::Such"):
        deploy(monkeypatch, "dev-refused", spoil)


def test_prod_is_not_destroyed_while_it_is_protected(
    commanded: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(monkeypatch, "prod-kept")
    with pytest.raises(DeployError, match="protected from deletion"):
        lambda_dynamodb.destroy("prod-kept", ask=False)


def test_what_stands_in_the_way_is_said_before_anything_is_made(
    commanded: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = CloudFormationStack(
        "payment-lambda-dynamodb-dev-x", Names("dev-x"), client_of(commanded), REGION
    )
    assert [one.check for one in deployment.problems()] == ["concurrency", "logs"]
    with pytest.raises(DeployError, match="Say so with --yes"):
        terminal.confirm("Delete it?", ask=True)


def client_of(emulator: Emulator) -> Any:
    """Clients of an account that is new: little concurrency, no role for API Gateway's logs."""

    class New:
        def get_account_settings(self) -> dict[str, Any]:
            return {
                "AccountLimit": {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}
            }

        def get_account(self) -> dict[str, Any]:
            return {}

    return lambda service: (
        New() if service in ("lambda", "apigateway") else emulator.client(service)
    )


def test_a_wrong_name_is_refused_before_aws_is_asked() -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    for arguments, said in (
        (
            ("deploy", "lambda-dynamodb", "--env", "test"),
            "must begin with one of dev, staging, prod",
        ),
        (("deploy", "lambda-dynamodb", "--migration-date", "soon"), "must be a date"),
        (("outputs", "lambda-dynamodb"), "No region is set"),
        (("destroy", "lambda-dynamodb", "--env", "Dev"), "at most 24 small letters"),
        (("deploy", "elsewhere"), "elsewhere"),
    ):
        ran = subprocess.run(
            [str(Path(sys.executable).with_name("remit")), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environ,
            cwd=ROOT,
        )
        assert ran.returncode != 0
        assert said in ran.stderr + ran.stdout
        assert "Traceback" not in ran.stderr


def test_the_emulated_topology_takes_a_payment_and_leaves_nothing_behind(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [str(Path(sys.executable).with_name("remit")), "emulate", "lambda-dynamodb"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        cwd=ROOT,
    )
    assert running.stdout is not None
    said = []
    for line in running.stdout:
        said.append(line)
        if line.startswith("Stop:"):
            break
    text = "".join(said)
    assert "processed" in text
    assert "Your test key: sk_test_" in text
    assert "curl --cacert " in text
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 0
    steps = [line.split(" s  ", 1)[1] for line in errors.splitlines()]
    assert [step for step in steps if not step.startswith(" ")] == [
        "looking for the emulator",
        "starting the emulator",
        "packaging the functions",
        "synthesising the stack",
        "deploying to " + text.partition("AWS_ENDPOINT_URL=")[2].split()[0],
    ]
    assert any(re.fullmatch(r"  \d+/\d+ \S+ create complete", step) for step in steps)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("remit")] == []
