"""Restoring Aurora: what is asked of RDS, what is run in the network, and what is left behind."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.session import Session
from botocore.validate import validate_parameters
from moto import mock_aws

from remit.oversight.reconcile import Discrepancy
from remit_infra.restore.aurora import ClusterRestore, report_in_log, restore_request
from remit_infra.restore.dynamodb import RestoreError
from tests.service import run_command

SUFFIX = "staging-001"
SOURCE, TARGET = f"payment-db-{SUFFIX}", f"payment-db-restored-{SUFFIX}-20261121-101500"
ROLE = f"payment-worker-{SUFFIX}"
TASK = "arn:aws:ecs:us-east-1:123456789012:task/payment-cluster/0123456789abcdef"
SOUND = ["{", '  "payments": 7,', '  "discrepancies": []', "}"]
WRONG = [
    "a warning",
    *json.dumps(
        {
            "payments": 7,
            "discrepancies": [{"check": "ledger", "record": "r", "problem": "does not sum"}],
        },
        indent=2,
    ).splitlines(),
    "remit: 1 do not agree",
]


class Tasks:
    """ECS and CloudWatch Logs with the worker's service, and a task that says `lines`."""

    def __init__(self, lines: list[str], exit_status: int | None = 0) -> None:
        self._lines = lines
        self._exit_status = exit_status
        self.asked: dict[str, Any] = {}
        self.seen_policies: list[str] = []

    def describe_services(self, **_: Any) -> dict[str, Any]:
        network = {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}
        service = {
            "status": "ACTIVE",
            "taskDefinition": "payment-worker-task:3",
            "networkConfiguration": {"awsvpcConfiguration": network},
        }
        return {"services": [service]}

    def describe_task_definition(self, **_: Any) -> dict[str, Any]:
        options = {"awslogs-group": "/ecs/payment", "awslogs-stream-prefix": "payment-worker"}
        container = {"name": "payment", "logConfiguration": {"options": options}}
        return {"taskDefinition": {"containerDefinitions": [container]}}

    def run_task(self, **asked: Any) -> dict[str, Any]:
        model: Any = Session().get_service_model("ecs").operation_model("RunTask")
        validate_parameters(asked, model.input_shape)
        self.asked = asked
        self.seen_policies = boto3.client("iam").list_role_policies(RoleName=ROLE)["PolicyNames"]
        return {"tasks": [{"taskArn": TASK}], "failures": []}

    def describe_tasks(self, **_: Any) -> dict[str, Any]:
        container = {} if self._exit_status is None else {"exitCode": self._exit_status}
        return {"tasks": [{"lastStatus": "STOPPED", "containers": [container]}]}

    def get_log_events(self, *, nextToken: str = "", **_: Any) -> dict[str, Any]:  # noqa: N803
        lines = [] if nextToken else self._lines
        return {"events": [{"message": line} for line in lines], "nextForwardToken": "f/1"}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A deployed cluster as the topology makes it, and the worker's role."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        key = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
        boto3.client("rds").create_db_cluster(
            DBClusterIdentifier=SOURCE,
            Engine="aurora-postgresql",
            DBClusterParameterGroupName="payment-db-parameters-16",
            MasterUsername="payments_admin",
            ManageMasterUserPassword=True,
            MasterUserSecretKmsKeyId=key,
            KmsKeyId=key,
            StorageEncrypted=True,
            DeletionProtection=True,
            ServerlessV2ScalingConfiguration={"MinCapacity": 0.5, "MaxCapacity": 8},
            Tags=[{"Key": "Environment", "Value": "staging"}],
        )
        boto3.client("iam").create_role(RoleName=ROLE, AssumeRolePolicyDocument="{}")
        yield


def restoring(tasks: Tasks, say: Callable[[str], None] = lambda _: None) -> ClusterRestore:
    clients: Any = {"ecs": tasks, "logs": tasks}
    make: Any = boto3.client
    return ClusterRestore(
        lambda service: clients.get(service) or make(service), SUFFIX, say, lambda _: None
    )


def clusters() -> list[str]:
    found = boto3.client("rds").describe_db_clusters()["DBClusters"]
    return sorted(str(cluster["DBClusterIdentifier"]) for cluster in found)


@pytest.mark.usefixtures("account")
def test_a_new_cluster_is_made_signed_in_to_and_proven() -> None:
    tasks = Tasks(SOUND)
    recovery = restoring(tasks).run(TARGET)
    assert (recovery.cluster, recovery.payments, recovery.discrepancies) == (TARGET, 7, [])
    assert set(clusters()) == {SOURCE, TARGET}
    rds = boto3.client("rds")
    [made] = rds.describe_db_clusters(DBClusterIdentifier=TARGET)["DBClusters"]
    [source] = rds.describe_db_clusters(DBClusterIdentifier=SOURCE)["DBClusters"]
    for kept in ("KmsKeyId", "DBClusterParameterGroup", "DBSubnetGroup", "DeletionProtection"):
        assert made[kept] == source[kept]
    [instance] = rds.describe_db_instances(DBInstanceIdentifier=f"{TARGET}-1")["DBInstances"]
    assert (instance["DBInstanceClass"], instance["PubliclyAccessible"]) == ("db.serverless", False)
    [told] = tasks.asked["overrides"]["containerOverrides"]
    assert told["command"] == ["reconcile", "--json"]
    assert {one["name"]: one["value"] for one in told["environment"]} == {
        "REMIT_DATABASE_ENDPOINT": made["Endpoint"],
        "REMIT_DATABASE_SECRET_ARN": made["MasterUserSecret"]["SecretArn"],
    }
    assert made["MasterUserSecret"]["SecretArn"] != source["MasterUserSecret"]["SecretArn"]


@pytest.mark.usefixtures("account")
def test_the_workers_role_has_the_new_secret_for_as_long_as_the_task_takes() -> None:
    tasks = Tasks(SOUND)
    restoring(tasks).run(TARGET)
    assert tasks.seen_policies == [TARGET]
    assert boto3.client("iam").list_role_policies(RoleName=ROLE)["PolicyNames"] == []


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(("lines", "status"), [(SOUND, 0), (["remit: away"], 1), ([], None)])
def test_a_drill_leaves_nothing_behind_however_it_goes(
    lines: list[str], status: int | None
) -> None:
    said: list[str] = []
    drilling = restoring(Tasks(lines, status), said.append)
    if status == 0:
        assert drilling.run(TARGET, drill=True).payments == 7
    else:
        with pytest.raises(RestoreError, match=f"{TARGET}: The task 0123456789abcdef failed: "):
            drilling.run(TARGET, drill=True)
    assert clusters() == [SOURCE]
    assert boto3.client("iam").list_role_policies(RoleName=ROLE)["PolicyNames"] == []
    assert said[-1] == f"deleting {TARGET}"


@pytest.mark.usefixtures("account")
def test_what_is_wrong_with_the_books_is_told() -> None:
    recovery = restoring(Tasks(WRONG, 1)).run(TARGET)
    assert recovery.discrepancies == [
        Discrepancy(check="ledger", record="r", problem="does not sum")
    ]


@pytest.mark.usefixtures("account")
def test_a_point_that_cannot_be_restored_is_refused_before_anything_is_made() -> None:
    with pytest.raises(RestoreError, match=f"{SOURCE} can be restored from "):
        restoring(Tasks(SOUND)).run(TARGET, at=datetime.now(UTC) - timedelta(days=400))
    assert clusters() == [SOURCE]
    with pytest.raises(RestoreError, match="the deployment's own database"):
        restoring(Tasks(SOUND)).discard(SOURCE)


def test_what_is_asked_of_rds_is_what_it_takes() -> None:
    """Aurora's own answer, as its API reference has it."""
    model: Any = Session().get_service_model("rds").operation_model("RestoreDBClusterToPointInTime")
    source = {
        "DBClusterIdentifier": SOURCE,
        "DBSubnetGroup": "payment-db-subnets",
        "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-db", "Status": "active"}],
        "DBClusterParameterGroup": "payment-db-parameters-16",
        "KmsKeyId": "arn:aws:kms:us-east-1:123456789012:key/data",
        "Port": 5_432,
        "IAMDatabaseAuthenticationEnabled": True,
        "CopyTagsToSnapshot": True,
        "DeletionProtection": True,
        "NetworkType": "DUAL",
        "EnabledCloudwatchLogsExports": ["postgresql"],
        "ServerlessV2ScalingConfiguration": {"MinCapacity": 0.0, "MaxCapacity": 4.0},
        "TagList": [
            {"Key": "Project", "Value": "payment-processing"},
            {"Key": "aws:cloudformation:stack-name", "Value": "s"},
        ],
    }
    at = datetime(2026, 11, 20, 12, tzinfo=UTC)
    asked = restore_request(source, TARGET, at, protected=False)
    validate_parameters(asked, model.input_shape)
    assert (asked["VpcSecurityGroupIds"], asked["NetworkType"]) == (["sg-db"], "DUAL")
    assert (asked["RestoreToTime"], asked["DeletionProtection"]) == (at, False)
    assert asked["Tags"] == [{"Key": "Project", "Value": "payment-processing"}]
    latest = restore_request(source, TARGET, None, protected=True)
    validate_parameters(latest, model.input_shape)
    assert (latest["UseLatestRestorableTime"], latest["DeletionProtection"]) == (True, True)
    assert "RestoreToTime" not in latest


def test_the_json_of_reconcile_is_found_between_other_lines() -> None:
    assert report_in_log(["a warning"]) is None
    assert report_in_log(["{", '  "payments": 7,']) is None
    found = report_in_log(WRONG)
    assert found is not None
    assert (found.payments, len(found.discrepancies)) == (7, 1)


def test_until_is_not_for_aurora(tmp_path: Path) -> None:
    ended = run_command(
        *("restore", "fargate-aurora", "--env", "dev", "--until", "2026-11-20T12:00:00"),
        folder=tmp_path,
    )
    assert (ended.returncode, "Aurora replays nothing" in ended.stderr) == (2, True)
