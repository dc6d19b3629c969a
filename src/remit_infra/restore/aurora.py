"""Restores Aurora to a point in time, into a new cluster, and verifies the copy.

    restore   from Aurora's continuous backup, to any second of its days, up to some minutes ago
    secret    a new administrator's secret: the old one may have rotated since the point
    verify    `remit reconcile` in a task, because only tasks reach a database in that network

The old cluster is never changed.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from remit.adapters.aws.ecs import TaskOverrides, read_log, run_until_stopped
from remit.clock_and_ids import now
from remit.domain.errors import RemitError
from remit.oversight.reconcile import Discrepancy
from remit.settings import PREFIX
from remit_infra.components.roles import POLICY_VERSION
from remit_infra.deploy.operator_settings import run_task_of
from remit_infra.model.aws_account import Clients
from remit_infra.model.environments import Names
from remit_infra.model.permissions import READ_DATABASE_SECRET
from remit_infra.restore.dynamodb import RestoreError

INSTANCE_CLASS = "db.serverless"
POLL_SECONDS = 10.0
RESTORE_SECONDS = 4 * 3_600
"""The time limit: Aurora copies the whole volume and applies the log since its last backup."""

VERIFY_SECONDS = 3_600
NOT_FOUND = frozenset({"DBClusterNotFoundFault", "DBInstanceNotFound", "DBInstanceNotFoundFault"})


class ReconcileReport(msgspec.Struct, frozen=True):
    """The output of `remit reconcile --json`."""

    payments: int
    discrepancies: list[Discrepancy]


class ClusterRecovery(msgspec.Struct, frozen=True, kw_only=True):
    """A restored cluster: its recovery point and time, and the discrepancies in it."""

    cluster: str
    endpoint: str
    recovery_point: datetime
    recovery_seconds: float
    payments: int
    discrepancies: list[Discrepancy]


class ClusterRestore:
    """The restore of one deployment's database. Raises RestoreError, DeployError."""

    def __init__(
        self,
        client: Clients,
        suffix: str,
        say: Callable[[str], None],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._rds = client("rds")
        self._suffix = suffix
        self._names = Names(suffix)
        self._say = say
        self._pause = pause
        self.source = self._names("database", "payment-db")

    def target(self, at: datetime) -> str:
        """The name of the new cluster for a restore that starts at that time."""
        return f"{self._names('database', 'payment-db-restored')}-{at:%Y%m%d-%H%M%S}"

    def run(
        self, target: str, *, at: datetime | None = None, drill: bool = False
    ) -> ClusterRecovery:
        """Restores into `target` and verifies it. A drill then deletes it, also on failure."""
        start = now()
        try:
            point = self.restore(target, at, protected=not drill)
            endpoint, secret_arn = self.make_secret(target)
            report = self.verify(target, endpoint, secret_arn)
            return ClusterRecovery(
                cluster=target,
                endpoint=endpoint,
                recovery_point=point,
                recovery_seconds=round((now() - start).total_seconds(), 1),
                payments=report.payments,
                discrepancies=report.discrepancies,
            )
        except (ClientError, RemitError) as error:
            raise RestoreError(f"{target}: {error}") from error
        finally:
            if drill:
                self.discard(target)

    def restore(self, target: str, at: datetime | None, *, protected: bool) -> datetime:
        """Makes `target` with the data of that time and the network, keys and size of the source.
        Returns the point.
        """
        source = self._cluster(self.source)
        earliest = source["EarliestRestorableTime"].astimezone(UTC)
        latest = source["LatestRestorableTime"].astimezone(UTC)
        point = at or latest
        if not earliest <= point <= latest:
            raise RestoreError(f"{self.source} can be restored from {earliest} to {latest}.")
        self._say(f"restoring {self.source} to {point:%Y-%m-%d %H:%M:%S} UTC as {target}")
        self._rds.restore_db_cluster_to_point_in_time(
            **restore_request(source, target, at, protected=protected)
        )
        self._wait_for("the volume", lambda: self._cluster(target)["Status"] == "available")
        self._rds.create_db_instance(
            DBInstanceIdentifier=_instance(target),
            DBClusterIdentifier=target,
            DBInstanceClass=INSTANCE_CLASS,
            Engine=source["Engine"],
            PubliclyAccessible=False,
        )
        self._wait_for("the instance", lambda: self._status(_instance(target)) == "available")
        return point

    def make_secret(self, target: str) -> tuple[str, str]:
        """Lets RDS generate a new password. Returns the new cluster's endpoint and secret."""
        source = self._cluster(self.source)
        self._rds.modify_db_cluster(
            DBClusterIdentifier=target,
            ManageMasterUserPassword=True,
            MasterUserSecretKmsKeyId=source["MasterUserSecret"]["KmsKeyId"],
            ApplyImmediately=True,
        )

        def has_secret() -> bool:
            cluster = self._cluster(target)
            secret = cluster.get("MasterUserSecret", {})
            return (cluster["Status"], secret.get("SecretStatus")) == ("available", "active")

        self._wait_for("the administrator's secret", has_secret)
        cluster = self._cluster(target)
        return cluster["Endpoint"], cluster["MasterUserSecret"]["SecretArn"]

    def verify(self, target: str, endpoint: str, secret_arn: str) -> ReconcileReport:
        """Compares the data of the new cluster, in a task with the worker's role."""
        self._say(f"verifying the books, payments, processor and audit trail of {target}")
        task = run_task_of(self._client, self._suffix, "payment-worker-task")
        environment = {
            f"{PREFIX}DATABASE_ENDPOINT": endpoint,
            f"{PREFIX}DATABASE_SECRET_ARN": secret_arn,
        }

        async def run() -> ReconcileReport:
            stopped = await run_until_stopped(
                self._client("ecs"),
                task,
                started_by="remit restore",
                limit_seconds=VERIFY_SECONDS,
                overrides=TaskOverrides(["reconcile", "--json"], environment),
            )
            return await read_log(self._client("logs"), task, stopped, report_in_log)

        with self._worker_reads_secret(target, secret_arn):
            return asyncio.run(run())

    @contextmanager
    def _worker_reads_secret(self, target: str, secret_arn: str) -> Iterator[None]:
        """Allows the worker's role to read the new secret, within the `with` block only."""
        statement = {
            "Sid": READ_DATABASE_SECRET.sid,
            "Effect": "Allow",
            "Action": list(READ_DATABASE_SECRET.actions),
            "Resource": secret_arn,
        }
        iam, role = self._client("iam"), self._names("role", "payment-worker")
        iam.put_role_policy(
            RoleName=role,
            PolicyName=target,
            PolicyDocument=msgspec.json.encode(
                {"Version": POLICY_VERSION, "Statement": [statement]}
            ).decode(),
        )
        try:
            yield
        finally:
            iam.delete_role_policy(RoleName=role, PolicyName=target)

    def discard(self, target: str) -> None:
        """Deletes the cluster of a drill with its instance, secret and backups."""
        if target == self.source:
            raise RestoreError(f"{target} is the deployment's own database.")
        try:
            with _ignore_not_found():
                self._rds.delete_db_instance(
                    DBInstanceIdentifier=_instance(target), SkipFinalSnapshot=True
                )
            with _ignore_not_found():
                self._rds.delete_db_cluster(DBClusterIdentifier=target, SkipFinalSnapshot=True)
        except ClientError as error:
            raise RestoreError(f"{target} is still there, and costs: {error}") from error
        self._say(f"deleting {target}")

    def _cluster(self, name: str) -> dict[str, Any]:
        try:
            [cluster] = self._rds.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"]
        except ClientError as error:
            raise RestoreError(f"There is no cluster {name}: {error}") from error
        return dict(cluster)

    def _status(self, instance: str) -> str:
        [described] = self._rds.describe_db_instances(DBInstanceIdentifier=instance)["DBInstances"]
        return str(described["DBInstanceStatus"])

    def _wait_for(self, what: str, is_ready: Callable[[], bool]) -> None:
        for _ in range(int(RESTORE_SECONDS / POLL_SECONDS)):
            if is_ready():
                return
            self._pause(POLL_SECONDS)
        raise RestoreError(f"After {RESTORE_SECONDS / 3_600:.0f} hours {what} is not there yet.")


def restore_request(
    source: dict[str, Any], target: str, at: datetime | None, *, protected: bool
) -> dict[str, Any]:
    """The request to RDS. Without these values it would use its default network and size."""
    request: dict[str, Any] = {
        "SourceDBClusterIdentifier": source["DBClusterIdentifier"],
        "DBClusterIdentifier": target,
        **({"UseLatestRestorableTime": True} if at is None else {"RestoreToTime": at}),
        "DBSubnetGroupName": source["DBSubnetGroup"],
        "VpcSecurityGroupIds": [
            group["VpcSecurityGroupId"] for group in source["VpcSecurityGroups"]
        ],
        "DBClusterParameterGroupName": source["DBClusterParameterGroup"],
        "KmsKeyId": source["KmsKeyId"],
        "Port": source["Port"],
        "EnableIAMDatabaseAuthentication": source["IAMDatabaseAuthenticationEnabled"],
        "CopyTagsToSnapshot": source["CopyTagsToSnapshot"],
        "DeletionProtection": protected and source["DeletionProtection"],
        # RDS rejects tags whose keys are reserved for AWS.
        "Tags": [tag for tag in source.get("TagList", []) if not tag["Key"].startswith("aws:")],
    }
    for name, source_name in (
        ("ServerlessV2ScalingConfiguration", "ServerlessV2ScalingConfiguration"),
        ("NetworkType", "NetworkType"),
        ("EnableCloudwatchLogsExports", "EnabledCloudwatchLogsExports"),
    ):
        if source_name in source:
            request[name] = source[source_name]
    return request


def report_in_log(lines: Sequence[str]) -> ReconcileReport | None:
    """The report, whose JSON takes several of a log's lines. None if there is none."""
    starts = [number for number, line in enumerate(lines) if line == "{"]
    ends = [number for number, line in enumerate(lines) if line == "}"]
    with suppress(IndexError, msgspec.DecodeError):
        return msgspec.json.decode("\n".join(lines[starts[0] : ends[-1] + 1]), type=ReconcileReport)
    return None


@contextmanager
def _ignore_not_found() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in NOT_FOUND:
            raise


def _instance(cluster: str) -> str:
    return f"{cluster}-1"
