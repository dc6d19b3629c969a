"""Restores Aurora to a point in time, into a new cluster, and proves what is in it.

    restore   Aurora's continuous backup, to any second of the days it is kept, up to minutes ago
    sign in   an administrator's secret of the new cluster's own: the old one may be of a later day
    verify    `remit reconcile` in a task, for nothing else reaches a database in that network

The old cluster is never touched.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from remit.adapters.aws.ecs import read_of, run_to_end
from remit.clock_and_ids import now as clock
from remit.domain.errors import RemitError
from remit.oversight.reconcile import Discrepancy
from remit.settings import PREFIX
from remit_infra.components.roles import VERSION
from remit_infra.deploy.operator_settings import one_off
from remit_infra.model.aws_account import Clients
from remit_infra.model.environments import Names
from remit_infra.model.permissions import READ_DATABASE_SECRET
from remit_infra.restore.dynamodb import RestoreError

INSTANCE_CLASS = "db.serverless"
POLL_SECONDS = 10.0
RESTORE_SECONDS = 4 * 3_600
"""How long a restore may take: Aurora reads the whole volume and the log since its last backup."""

RECONCILE_SECONDS = 3_600
NOT_THERE = frozenset({"DBClusterNotFoundFault", "DBInstanceNotFound", "DBInstanceNotFoundFault"})


class ReconcileReport(msgspec.Struct, frozen=True):
    """What `remit reconcile --json` says."""

    payments: int
    discrepancies: list[Discrepancy]


class ClusterRecovery(msgspec.Struct, frozen=True, kw_only=True):
    """What was recovered: until when, in how long, and what is wrong with it."""

    cluster: str
    endpoint: str
    recovery_point: datetime
    recovery_seconds: float
    payments: int
    discrepancies: list[Discrepancy]


class ClusterRestore:
    """Of one deployment's database. Raises RestoreError, DeployError."""

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
        """A name for a new cluster that begins at that time."""
        return f"{self._names('database', 'payment-db-restored')}-{at:%Y%m%d-%H%M%S}"

    def run(
        self, target: str, *, at: datetime | None = None, drill: bool = False
    ) -> ClusterRecovery:
        """Restores into `target` and verifies it. A drill deletes it, however that went."""
        began = clock()
        try:
            point = self.restore(target, at, protected=not drill)
            endpoint, secret_arn = self.sign_in(target)
            verified = self.verify(target, endpoint, secret_arn)
            return ClusterRecovery(
                cluster=target,
                endpoint=endpoint,
                recovery_point=point,
                recovery_seconds=round((clock() - began).total_seconds(), 1),
                payments=verified.payments,
                discrepancies=verified.discrepancies,
            )
        except (ClientError, RemitError) as error:
            raise RestoreError(f"{target}: {error}") from error
        finally:
            if drill:
                self.discard(target)

    def restore(self, target: str, at: datetime | None, *, protected: bool) -> datetime:
        """Makes `target` as the cluster was then, with its network, keys and size. The point."""
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
        self._until("the volume", lambda: self._cluster(target)["Status"] == "available")
        self._rds.create_db_instance(
            DBInstanceIdentifier=_instance(target),
            DBClusterIdentifier=target,
            DBInstanceClass=INSTANCE_CLASS,
            Engine=source["Engine"],
            PubliclyAccessible=False,
        )
        self._until("the instance", lambda: self._status(_instance(target)) == "available")
        return point

    def sign_in(self, target: str) -> tuple[str, str]:
        """Endpoint and secret of the new cluster. RDS makes a password that nobody sees."""
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

        self._until("the administrator's secret", has_secret)
        cluster = self._cluster(target)
        return cluster["Endpoint"], cluster["MasterUserSecret"]["SecretArn"]

    def verify(self, target: str, endpoint: str, secret_arn: str) -> ReconcileReport:
        """What `remit reconcile` says of the new cluster, in a task as the worker's are."""
        self._say(f"verifying the books, payments, processor and audit trail of {target}")
        where = one_off(self._client, self._suffix, "payment-worker-task")
        told = {
            f"{PREFIX}DATABASE_ENDPOINT": endpoint,
            f"{PREFIX}DATABASE_SECRET_ARN": secret_arn,
        }

        async def examine() -> ReconcileReport:
            ended = await run_to_end(
                self._client("ecs"),
                where,
                started_by="remit restore",
                limit_seconds=RECONCILE_SECONDS,
                command=["reconcile", "--json"],
                environment=told,
            )
            return await read_of(self._client("logs"), where, ended, report_in_log)

        with self._worker_may_log_in(target, secret_arn):
            return asyncio.run(examine())

    @contextmanager
    def _worker_may_log_in(self, target: str, secret_arn: str) -> Iterator[None]:
        """Its role knows one secret, the old cluster's: for a while it has this one too."""
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
                {"Version": VERSION, "Statement": [statement]}
            ).decode(),
        )
        try:
            yield
        finally:
            iam.delete_role_policy(RoleName=role, PolicyName=target)

    def discard(self, target: str) -> None:
        """Deletes a cluster that a drill made, with its instance, secret and backups."""
        if target == self.source:
            raise RestoreError(f"{target} is the deployment's own database.")
        try:
            with _if_it_is_there():
                self._rds.delete_db_instance(
                    DBInstanceIdentifier=_instance(target), SkipFinalSnapshot=True
                )
            with _if_it_is_there():
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
        [found] = self._rds.describe_db_instances(DBInstanceIdentifier=instance)["DBInstances"]
        return str(found["DBInstanceStatus"])

    def _until(self, what: str, done: Callable[[], bool]) -> None:
        for _ in range(int(RESTORE_SECONDS / POLL_SECONDS)):
            if done():
                return
            self._pause(POLL_SECONDS)
        raise RestoreError(f"After {RESTORE_SECONDS / 3_600:.0f} hours {what} is not there yet.")


def restore_request(
    source: dict[str, Any], target: str, at: datetime | None, *, protected: bool
) -> dict[str, Any]:
    """What RDS is asked for. By itself it would choose another network and another size."""
    asked: dict[str, Any] = {
        "SourceDBClusterIdentifier": source["DBClusterIdentifier"],
        "DBClusterIdentifier": target,
        **({"UseLatestRestorableTime": True} if at is None else {"RestoreToTime": at}),
        "DBSubnetGroupName": source["DBSubnetGroup"],
        "VpcSecurityGroupIds": [one["VpcSecurityGroupId"] for one in source["VpcSecurityGroups"]],
        "DBClusterParameterGroupName": source["DBClusterParameterGroup"],
        "KmsKeyId": source["KmsKeyId"],
        "Port": source["Port"],
        "EnableIAMDatabaseAuthentication": source["IAMDatabaseAuthenticationEnabled"],
        "CopyTagsToSnapshot": source["CopyTagsToSnapshot"],
        "DeletionProtection": protected and source["DeletionProtection"],
        # AWS's own are not for others to set.
        "Tags": [one for one in source.get("TagList", []) if not one["Key"].startswith("aws:")],
    }
    for name, of_source in (
        ("ServerlessV2ScalingConfiguration", "ServerlessV2ScalingConfiguration"),
        ("NetworkType", "NetworkType"),
        ("EnableCloudwatchLogsExports", "EnabledCloudwatchLogsExports"),
    ):
        if of_source in source:
            asked[name] = source[of_source]
    return asked


def report_in_log(lines: Sequence[str]) -> ReconcileReport | None:
    """What the JSON of `remit reconcile` says, which is over several lines of a log."""
    starts = [number for number, line in enumerate(lines) if line == "{"]
    ends = [number for number, line in enumerate(lines) if line == "}"]
    with suppress(IndexError, msgspec.DecodeError):
        return msgspec.json.decode("\n".join(lines[starts[0] : ends[-1] + 1]), type=ReconcileReport)
    return None


@contextmanager
def _if_it_is_there() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in NOT_THERE:
            raise


def _instance(cluster: str) -> str:
    return f"{cluster}-1"
