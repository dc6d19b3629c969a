"""An operator's job as a task: what is asked of AWS, and what is made of its answers."""

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
WHERE = RunTask(
    cluster="payment-cluster-dev",
    task_definition="payment-migration-task-dev",
    container="payment",
    subnets=("subnet-1", "subnet-2"),
    groups=("sg-1",),
    log_group="/ecs/payment-dev",
    stream_prefix="payment-migration",
)
STOPPED = {"exitCode": 0}


class Cluster:
    """ECS and CloudWatch Logs, as far as one task needs them. `log` is what the log has at each
    look, and `states` what the task is in; None is a task that is not known yet.
    """

    def __init__(
        self,
        log: list[list[str]],
        *,
        states: tuple[str | None, ...] = ("STOPPED",),
        failures: tuple[str, ...] = (),
        stopped: dict[str, Any] | None = None,
        reason: str | None = None,
    ) -> None:
        self.calls: list[str] = []
        self.asked: dict[str, Any] = {}
        self._log = log
        self._states = list(states)
        self._failures = failures
        self._container = STOPPED if stopped is None else stopped
        self._reason = reason

    def operator(self) -> OperatorTask:
        return OperatorTask(self, self, WHERE, pause=self.pause)

    async def pause(self, seconds: float) -> None:
        self.calls.append(f"pause {seconds:g}")

    def run_task(self, **asked: Any) -> dict[str, Any]:
        """Takes nothing that the real one would refuse."""
        model: Any = Session().get_service_model("ecs").operation_model("RunTask")
        validate_parameters(asked, model.input_shape)
        self.calls.append("run")
        self.asked = asked
        failures = [{"reason": reason} for reason in self._failures]
        return {"tasks": [] if failures else [{"taskArn": TASK}], "failures": failures}

    def describe_tasks(self, *, cluster: str, tasks: list[str]) -> dict[str, Any]:
        assert (cluster, tasks) == (WHERE.cluster, [TASK])
        self.calls.append("look")
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if state is None:
            return {"tasks": [], "failures": [{"reason": "MISSING"}]}
        found = {
            "lastStatus": state,
            "containers": [self._container],
            "stoppedReason": self._reason,
        }
        return {"tasks": [found], "failures": []}

    def get_log_events(self, *, nextToken: str = "", **asked: Any) -> dict[str, Any]:  # noqa: N803
        assert asked == {
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


async def test_a_job_is_a_task_that_is_waited_for_and_read() -> None:
    cluster = Cluster(
        [[], ['{"answer": [1, 2]}']], states=(None, "PROVISIONING", "RUNNING", "STOPPED")
    )
    assert await cluster.operator().ask("failed", limit=10) == [1, 2]
    assert cluster.calls == [
        "run",
        *(["look", "pause 3"] * 3),
        "look",
        *("read", "pause 1", "read"),
    ]
    [told] = cluster.asked["overrides"]["containerOverrides"]
    assert told == {"name": "payment", "command": ["operate", '{"job": "failed", "limit": 10}']}
    network = cluster.asked["networkConfiguration"]["awsvpcConfiguration"]
    assert network == {
        "subnets": ["subnet-1", "subnet-2"],
        "securityGroups": ["sg-1"],
        "assignPublicIp": "DISABLED",
    }
    assert (cluster.asked["cluster"], cluster.asked["taskDefinition"]) == (
        "payment-cluster-dev",
        "payment-migration-task-dev",
    )


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (['{"answer": null}'], None),
        (["a warning", '{"answer": true}', "another"], True),
        (['{"answer": ["a}', 'b"', ', {"c": 1}', "]}"], ["a}b", {"c": 1}]),
    ],
)
async def test_an_answer_is_found_between_other_lines_and_put_together(
    lines: list[str], answer: object
) -> None:
    assert await Cluster([lines]).operator().ask("keys") == answer


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        (
            Cluster([[]], failures=("RESOURCE:FARGATE",)),
            "ECS did not start payment-migration-task-dev: RESOURCE:FARGATE.",
        ),
        (
            Cluster([[]], stopped={}, reason="CannotPullContainerError: not found"),
            "The task 0123456789abcdef failed: CannotPullContainerError: not found",
        ),
        (
            Cluster([["Traceback", "remit: The database is away."]], stopped={"exitCode": 1}),
            "The task 0123456789abcdef failed: The database is away.",
        ),
        (
            Cluster([[]], stopped={"exitCode": 137, "reason": "OutOfMemoryError"}),
            "The task 0123456789abcdef failed: OutOfMemoryError",
        ),
        (
            Cluster([[]]),
            "The task 0123456789abcdef ended well and said nothing: see /ecs/payment-dev later.",
        ),
        (
            Cluster([[]], states=("RUNNING",)),
            "The task 0123456789abcdef has not ended after 300 s, and may still do what it was "
            "asked. Its log is in /ecs/payment-dev.",
        ),
    ],
    ids=["not started", "not begun", "failed", "killed", "silent", "endless"],
)
async def test_a_task_that_does_not_answer_says_why(cluster: Cluster, said: str) -> None:
    with pytest.raises(Unavailable) as refused:
        await cluster.operator().ask("keys")
    assert refused.value.message == said


async def test_what_aws_refuses_is_said() -> None:
    class Refusing(Cluster):
        def run_task(self, **asked: Any) -> dict[str, Any]:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "RunTask")

    with pytest.raises(Unavailable, match=r"payment-migration-task-dev cannot be asked: .*no"):
        await Refusing([[]]).operator().ask("keys")


async def test_a_job_that_is_too_long_to_be_told_is_not_begun() -> None:
    cluster = Cluster([[]])
    with pytest.raises(InvalidRequest, match="can be told 8192 characters, and this is 9"):
        await cluster.operator().ask("revoke_key", id="x" * 9_000)
    assert cluster.calls == []


async def test_the_secret_of_a_key_stays_where_it_was_made(in_memory: App) -> None:
    cluster = Cluster([['{"answer": null}']])
    keys = OperatorApiKeys(cluster.operator())
    made = await create_key(
        in_memory, merchant_id="acme", mode="test", label="", random=new_secret()
    )
    await keys.add(made.key, made.secret)
    told = json.dumps(cluster.asked)
    assert (made.key.hash in told, made.secret in told) == (True, False)
    answering = Cluster([['{"answer": false}']])
    at = datetime(2026, 11, 21, tzinfo=UTC)
    assert not await OperatorApiKeys(answering.operator()).revoke("nobody's", at)


def settings(**more: str | None) -> Settings:
    given: dict[str, str | None] = {
        "operator_task": msgspec.json.encode(WHERE).decode(),
        "work_queue_url": "https://sqs.us-east-1.amazonaws.com/123456789012/payments",
        "work_dead_letter_url": "https://sqs.us-east-1.amazonaws.com/123456789012/payments-dlq",
        "notification_topic_arn": "arn:aws:sns:us-east-1:123456789012:notifications",
        "alarm_topic_arn": "arn:aws:sns:us-east-1:123456789012:alarms",
        "audit_bucket": "payment-audit",
        "card_key_id": "card",
        "fingerprint_key_id": "fingerprint",
        **more,
    }
    return msgspec.convert(given, Settings)


async def test_an_operators_machine_asks_a_task_for_keys_and_sqs_for_failed_work() -> None:
    app = assemble(settings())
    assert isinstance(app.database.api_keys, OperatorApiKeys)
    assert isinstance(app.delivery.failed, SqsQueue)
    for refused in (
        app.database.reader.refunds("x"),
        app.database.books.count(),
        app.delivery.queue.receive(1),
    ):
        with pytest.raises(Unavailable, match=UNREACHABLE):
            await refused


@pytest.mark.parametrize("task", ["", "payment-migration-task-dev", '{"cluster": "c"}', "[]"])
def test_a_task_that_is_not_one_is_refused_by_name(task: str) -> None:
    with pytest.raises(SettingsError, match=r"^REMIT_OPERATOR_TASK: .+\.$"):
        assemble(settings(operator_task=task))
