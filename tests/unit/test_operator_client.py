"""An operator's job as an ECS task: the calls to AWS, and the results read from the log."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError
from botocore.session import Session
from botocore.validate import validate_parameters

from remit.adapters.aws.ecs import RunTask
from remit.adapters.aws.operator_client import UNREACHABLE, OperatorApiKeys, OperatorTask
from remit.adapters.aws.sqs import SqsQueue
from remit.assembly.service import assemble
from remit.clock_and_ids import new_secret
from remit.domain.errors import InvalidRequest, Unavailable
from remit.oversight.api_keys import create_key
from remit.ports.app import App
from remit.settings import Settings, SettingsError

TASK_ID = "0123456789abcdef"
TASK = f"arn:aws:ecs:us-east-1:123456789012:task/payment-cluster-dev/{TASK_ID}"
TASK_TO_RUN = RunTask(
    cluster="payment-cluster-dev",
    task_definition="payment-migration-task-dev",
    container="payment",
    subnets=("subnet-1", "subnet-2"),
    groups=("sg-1",),
    log_group="/ecs/payment-dev",
    stream_prefix="payment-migration",
)
SUCCEEDED = {"exitCode": 0}


class Cluster:
    """ECS and CloudWatch Logs with one task.

    `log` has the lines of each read of its log, and `states` its state at each description. None is
    a task that ECS does not list yet.
    """

    def __init__(
        self,
        log: list[list[str]],
        *,
        states: tuple[str | None, ...] = ("STOPPED",),
        failures: tuple[str, ...] = (),
        container: dict[str, Any] | None = None,
        reason: str | None = None,
    ) -> None:
        self.calls: list[str] = []
        self.parameters: dict[str, Any] = {}
        self._log = log
        self._states = list(states)
        self._failures = failures
        self._container = SUCCEEDED if container is None else container
        self._reason = reason

    def operator(self) -> OperatorTask:
        return OperatorTask(self, self, TASK_TO_RUN, pause=self.pause)

    async def pause(self, seconds: float) -> None:
        self.calls.append(f"pause {seconds:g}")

    def run_task(self, **parameters: Any) -> dict[str, Any]:
        """Rejects parameters that the real service would reject."""
        model: Any = Session().get_service_model("ecs").operation_model("RunTask")
        validate_parameters(parameters, model.input_shape)
        self.calls.append("run")
        self.parameters = parameters
        failures = [{"reason": reason} for reason in self._failures]
        return {"tasks": [] if failures else [{"taskArn": TASK}], "failures": failures}

    def describe_tasks(self, *, cluster: str, tasks: list[str]) -> dict[str, Any]:
        assert (cluster, tasks) == (TASK_TO_RUN.cluster, [TASK])
        self.calls.append("describe")
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if state is None:
            return {"tasks": [], "failures": [{"reason": "MISSING"}]}
        description = {
            "lastStatus": state,
            "containers": [self._container],
            "stoppedReason": self._reason,
        }
        return {"tasks": [description], "failures": []}

    def get_log_events(self, *, nextToken: str = "", **parameters: Any) -> dict[str, Any]:  # noqa: N803
        assert parameters == {
            "logGroupName": "/ecs/payment-dev",
            "logStreamName": f"payment-migration/payment/{TASK_ID}",
            "startFromHead": True,
        }
        if nextToken:
            return {"events": [], "nextForwardToken": nextToken}
        self.calls.append("read")
        lines = self._log.pop(0) if len(self._log) > 1 else self._log[0]
        if not lines:
            code = "ResourceNotFoundException"
            raise ClientError({"Error": {"Code": code, "Message": ""}}, "GetLogEvents")
        return {"events": [{"message": line} for line in lines], "nextForwardToken": "f/1"}


async def test_a_job_runs_a_task_waits_for_it_and_reads_its_log() -> None:
    cluster = Cluster(
        [[], ['{"result": [1, 2]}']], states=(None, "PROVISIONING", "RUNNING", "STOPPED")
    )
    assert await cluster.operator().run("failed", limit=10) == [1, 2]
    assert cluster.calls == [
        "run",
        *(["describe", "pause 3"] * 3),
        "describe",
        *("read", "pause 1", "read"),
    ]
    [override] = cluster.parameters["overrides"]["containerOverrides"]
    assert override == {"name": "payment", "command": ["operate", '{"job": "failed", "limit": 10}']}
    network = cluster.parameters["networkConfiguration"]["awsvpcConfiguration"]
    assert network == {
        "subnets": ["subnet-1", "subnet-2"],
        "securityGroups": ["sg-1"],
        "assignPublicIp": "DISABLED",
    }
    assert (cluster.parameters["cluster"], cluster.parameters["taskDefinition"]) == (
        "payment-cluster-dev",
        "payment-migration-task-dev",
    )


@pytest.mark.parametrize(
    ("lines", "result"),
    [
        (['{"result": null}'], None),
        (["a warning", '{"result": true}', "another"], True),
        (['{"result": ["a}', 'b"', ', {"c": 1}', "]}"], ["a}b", {"c": 1}]),
    ],
)
async def test_a_result_is_found_between_other_lines_and_joined(
    lines: list[str], result: object
) -> None:
    assert await Cluster([lines]).operator().run("keys") == result


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        (
            Cluster([[]], failures=("RESOURCE:FARGATE",)),
            "ECS did not start payment-migration-task-dev: RESOURCE:FARGATE.",
        ),
        (
            Cluster([[]], container={}, reason="CannotPullContainerError: not found"),
            "The task 0123456789abcdef failed: CannotPullContainerError: not found",
        ),
        (
            Cluster([["Traceback", "remit: The database is away."]], container={"exitCode": 1}),
            "The task 0123456789abcdef failed: The database is away.",
        ),
        (
            Cluster([[]], container={"exitCode": 137, "reason": "OutOfMemoryError"}),
            "The task 0123456789abcdef failed: OutOfMemoryError",
        ),
        (
            Cluster([[]]),
            "The task 0123456789abcdef succeeded, and its log did not arrive: see /ecs/payment-dev "
            "later.",
        ),
        (
            Cluster([[]], states=("RUNNING",)),
            "The task 0123456789abcdef has not stopped after 300 s, and may still be running. Its "
            "log is in /ecs/payment-dev.",
        ),
    ],
    ids=["not placed", "not started", "failed", "killed", "no log", "endless"],
)
async def test_a_task_without_a_result_says_why(cluster: Cluster, message: str) -> None:
    with pytest.raises(Unavailable) as raised:
        await cluster.operator().run("keys")
    assert raised.value.message == message


async def test_an_error_of_aws_is_in_the_message() -> None:
    class DeniedCluster(Cluster):
        def run_task(self, **parameters: Any) -> dict[str, Any]:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "RunTask")

    with pytest.raises(Unavailable, match=r"payment-migration-task-dev cannot be run: .*no"):
        await DeniedCluster([[]]).operator().run("keys")


async def test_a_job_that_is_too_long_for_a_command_is_not_run() -> None:
    cluster = Cluster([[]])
    with pytest.raises(
        InvalidRequest, match="overrides of 8192 characters at most, and these have 9"
    ):
        await cluster.operator().run("revoke_key", id="x" * 9_000)
    assert cluster.calls == []


async def test_the_secret_of_a_key_is_not_sent(in_memory: App) -> None:
    cluster = Cluster([['{"result": null}']])
    keys = OperatorApiKeys(cluster.operator())
    made = await create_key(
        in_memory, merchant_id="acme", mode="test", label="", random=new_secret()
    )
    await keys.add(made.key, made.secret)
    sent = json.dumps(cluster.parameters)
    assert (made.key.hash in sent, made.secret in sent) == (True, False)
    without_the_key = Cluster([['{"result": false}']])
    at = datetime(2026, 11, 21, tzinfo=UTC)
    assert not await OperatorApiKeys(without_the_key.operator()).revoke("unknown", at)


def settings(**others: str | None) -> Settings:
    fields: dict[str, str | None] = {
        "operator_task": msgspec.json.encode(TASK_TO_RUN).decode(),
        "work_queue_url": "https://sqs.us-east-1.amazonaws.com/123456789012/payments",
        "work_dead_letter_url": "https://sqs.us-east-1.amazonaws.com/123456789012/payments-dlq",
        "notification_topic_arn": "arn:aws:sns:us-east-1:123456789012:notifications",
        "alarm_topic_arn": "arn:aws:sns:us-east-1:123456789012:alarms",
        "audit_bucket": "payment-audit",
        "card_key_id": "card",
        "audit_key_id": "audit",
        "fingerprint_key_id": "fingerprint",
        **others,
    }
    return msgspec.convert(fields, Settings)


async def test_an_operators_machine_reads_keys_through_a_task_and_failed_work_from_sqs() -> None:
    app = assemble(settings())
    assert isinstance(app.database.api_keys, OperatorApiKeys)
    assert isinstance(app.delivery.failed, SqsQueue)
    for call in (
        app.database.reader.refunds("x"),
        app.database.books.count(),
        app.delivery.queue.receive(1),
    ):
        with pytest.raises(Unavailable, match=UNREACHABLE):
            await call


@pytest.mark.parametrize("task", ["", "payment-migration-task-dev", '{"cluster": "c"}', "[]"])
def test_a_setting_that_describes_no_task_is_rejected_by_name(task: str) -> None:
    with pytest.raises(SettingsError, match=r"^REMIT_OPERATOR_TASK: .+\.$"):
        assemble(settings(operator_task=task))
