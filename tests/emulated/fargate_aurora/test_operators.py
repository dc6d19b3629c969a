"""An operator's commands, from a machine that cannot reach the database."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from remit_infra.emulated.run_task import RunTaskEmulator
from remit_infra.restore.aurora import ClusterRestore
from tests.emulated.fargate_aurora.stack import SUFFIX, FargateAurora
from tests.emulated.harness import of_topology, run_remit

pytestmark = of_topology("fargate-aurora")


@pytest.fixture
def tasks(stack: FargateAurora) -> Iterator[RunTaskEmulator]:
    with RunTaskEmulator(stack, stack.folder) as running:
        yield running


class Operator:
    """A shell with the settings that `remit outputs --shell` prints."""

    def __init__(self, stack: FargateAurora) -> None:
        self._stack = stack
        lines = run_remit(
            stack.emulator, {}, "outputs", "fargate-aurora", "--env", SUFFIX, "--shell"
        ).stdout
        shell = f"{lines}\nenv -0"
        printed = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
        variables = (line.partition("=") for line in printed.stdout.split("\0"))
        self.settings = {n: v for n, _, v in variables if n.startswith("REMIT_")}

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return run_remit(self._stack.emulator, self.settings, *arguments)

    def data(self, *arguments: str) -> Any:
        ended = self.run(*arguments, "--json")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)


@pytest.fixture
def shell(stack: FargateAurora) -> Operator:
    return Operator(stack)


def test_an_operators_shell_knows_nothing_of_what_it_cannot_reach(shell: Operator) -> None:
    told = {name.removeprefix("REMIT_").partition("_")[0] for name in shell.settings}
    assert not told & {"DATABASE", "CACHE", "QUIET"}
    assert json.loads(shell.settings["REMIT_OPERATOR_TASK"])["cluster"] == (
        f"payment-cluster-{SUFFIX}"
    )


def test_keys_are_made_listed_and_revoked_by_a_task(
    stack: FargateAurora, shell: Operator, tasks: RunTaskEmulator
) -> None:
    made = shell.data("keys", "create", "--merchant", "operated", "--label", "Käse")
    listed = shell.run("keys", "list", "--json")
    assert made["id"] in {key["id"] for key in json.loads(listed.stdout)}
    assert "takes about a minute" in listed.stderr
    with stack.api() as api:
        api.key = made["key"]
        transaction_id = api.validate()
    assert shell.data("operations", "list", "--payment", transaction_id) == []
    assert shell.run("keys", "revoke", made["id"]).returncode == 0
    gone = shell.run("keys", "revoke", "nobody's")
    assert (gone.returncode, "There is no key nobody's." in gone.stderr) == (1, True)
    assert [json.loads(command[1])["job"] for command, _ in tasks.ran] == [
        *("add_key", "keys", "operations", "revoke_key", "revoke_key")
    ]
    assert {(command[0], status) for command, status in tasks.ran} == {("operate", 0)}
    # What was made here has been in nobody's log and in no task's definition.
    assert made["key"] not in json.dumps(tasks.ran)


def test_a_task_that_fails_is_one_clear_line(
    stack: FargateAurora, shell: Operator, tasks: RunTaskEmulator
) -> None:
    told = json.loads(shell.settings["REMIT_OPERATOR_TASK"])
    told["task_definition"] = stack.names("task", "payment-nothing")
    shell.settings["REMIT_OPERATOR_TASK"] = json.dumps(told)
    failed = shell.run("keys", "list")
    assert failed.returncode == 1
    assert f"payment-nothing-{SUFFIX} cannot be run" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert tasks.ran == []


def test_failed_work_is_listed_and_sent_back_without_a_task(
    stack: FargateAurora, shell: Operator
) -> None:
    sqs = stack.client("sqs")
    body = {"id": "0197f2d4-8a51-7c3e-9d0b-5f6a7b8c9d0f", "topic": "work", "kind": "mystery"}
    body["created_at"] = "2026-11-21T10:00:00Z"
    sqs.send_message(QueueUrl=stack.queue_url("payment-dlq"), MessageBody=json.dumps(body))
    [listed] = shell.data("failed", "list")
    assert (listed["state"], listed["message"]["kind"]) == ("dead", "mystery")
    sent = shell.run("failed", "redrive", "--all")
    while "1 sent back" not in sent.stdout:  # looked at a moment ago, and hidden for another
        assert sent.returncode == 0, sent.stderr
        sent = shell.run("failed", "redrive", "--all")
    assert stack.waiting("payment-dlq") == 0
    sqs.purge_queue(QueueUrl=stack.queue_url("payment-queue"))


def test_the_trail_is_verified_and_the_rest_says_that_it_is_out_of_reach(
    shell: Operator,
) -> None:
    assert shell.data("audit", "verify")["ok"] is True
    beyond = shell.run("payments", "list")
    assert "reached from within its network alone" in " ".join(beyond.stderr.split())


def test_what_is_not_deployed_is_said(stack: FargateAurora) -> None:
    asked = ("outputs", "fargate-aurora", "--env", "dev-nowhere", "--shell")
    refused = run_remit(stack.emulator, {}, *asked)
    assert refused.returncode == 1
    assert refused.stdout.startswith("export REMIT_OUTPUTS_FAILED=")
    assert "dev-nowhere is not deployed here: " in refused.stderr


def test_a_restored_database_is_proven_by_a_task_with_a_secret_of_its_own(
    stack: FargateAurora, tasks: RunTaskEmulator
) -> None:
    secrets = stack.client("secretsmanager")
    login = secrets.get_secret_value(SecretId=stack.secret_arn)["SecretString"]
    own = secrets.create_secret(Name="rds-restored", SecretString=login)["ARN"]
    restoring = ClusterRestore(stack.client, SUFFIX, lambda _: None)
    endpoint = f"localhost:{stack.database.port}"
    verified = restoring.verify("payment-db-restored", endpoint, own)
    [(there,)] = stack.rows("SELECT count(*)::int FROM payments")
    assert (verified.payments, verified.discrepancies) == (there, [])
    assert tasks.ran == [(["reconcile", "--json"], 0)]
    policies = stack.client("iam").list_role_policies(
        RoleName=stack.names("role", "payment-worker")
    )
    assert "payment-db-restored" not in policies["PolicyNames"]
    secrets.delete_secret(SecretId=own, ForceDeleteWithoutRecovery=True)
