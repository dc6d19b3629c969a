"""One emulated AWS for all of these tests, with the topology deployed in it and asked over HTTP."""

import asyncio
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request

import asyncpg
import pytest

from remit.assembly.service import assemble
from remit.clock_and_ids import new_secret
from remit.oversight.api_keys import create_key
from remit.ports.app import App
from remit.settings import read_settings
from remit_infra.build.lambda_package import build_package
from remit_infra.deploy.cloudformation import CloudFormationStack
from remit_infra.emulated.database import EmulatedDatabase
from remit_infra.emulated.emulator import ACCOUNT, REGION, Emulator, install, without_gaps
from remit_infra.model.environments import Names
from remit_infra.topologies.lambda_dynamodb.stack import synthesise
from tests.tidy.tree import ROOT

HERE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
OUR_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
DOWN, LATE = "6.66", "7.77"
"""Amounts for which the simulated processor is down, and does not answer in time."""

PATIENCE_SECONDS = 240.0
"""Of a caller: where fifty functions start at once, the last of them answers after a minute."""

SETTINGS = {
    "simulator_down_at": "666",
    "simulator_timeout_at": "777",
    "processor_timeout_seconds": "1",
    "claim_margin_seconds": "1",
}


class Answer(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str]


class Caller:
    """Whoever asks the deployed service over HTTP."""

    def __init__(self, emulator: Emulator, url: str, key: str = "") -> None:
        self.emulator = emulator
        self.url = url
        self.key = key

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {"content-type": "application/json", "x-api-key": self.key}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = Request(
            self.url + path, method=method, data=data if method == "POST" else None, headers=sent
        )
        try:
            answer = self.emulator.open(request, PATIENCE_SECONDS)
        except HTTPError as error:
            answer = error
        with answer:
            found = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, json.loads(answer.read() or b"null"), found)

    def validate(self, amount: str = "99.99", **more: Any) -> str:
        card = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123"}
        answer = self.ask("POST", "/validate", {"amount": amount, "card": card, **more})
        assert (answer.status, answer.body["status"]) == (200, "validated"), answer
        return str(answer.body["transaction_id"])

    def process(self, transaction_id: str, **headers: str) -> Answer:
        return self.ask("POST", "/process", {"transaction_id": transaction_id}, **headers)


def remit(
    emulator: Emulator, settings: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """A command as an operator types it, in a shell with the deployment's settings."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("remit")), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], **emulator.environment, **settings},
    )


class Deployed(Caller):
    """The deployed topology, as a caller and as an operator see it."""

    def __init__(self, emulator: Emulator, deployment: CloudFormationStack, url: str) -> None:
        super().__init__(emulator, url)
        self.deployment = deployment
        self.client = emulator.client
        self.names = deployment.names
        self._samples = 1.0

    def item(self, transaction_id: str) -> dict[str, Any]:
        found = self.client("dynamodb").get_item(
            TableName=self.names("table", "transactions"),
            Key={"transaction_id": {"S": transaction_id}},
        )
        item: dict[str, Any] = found.get("Item", {})
        return item

    def run(self, function: str, job: str) -> Any:
        """One call of a function as the clock makes it."""
        answer = self.client("lambda").invoke(
            FunctionName=self.names("function", function), Payload=json.dumps({"job": job})
        )
        return json.loads(answer["Payload"].read())

    @contextmanager
    def configured(self, function: str, **variables: str) -> Iterator[None]:
        """The function with these environment variables, for a while."""
        name = self.names("function", function)
        before = self.deployment.settings(function)
        configure = self.client("lambda").update_function_configuration
        configure(FunctionName=name, Environment={"Variables": before | variables})
        try:
            yield
        finally:
            configure(FunctionName=name, Environment={"Variables": before})

    def latency(self, milliseconds: float) -> None:
        """Counts requests to the API in each of the last minutes that took so long: each time a
        thousand times as many as before, so that they alone make the average.
        """
        now = time.time()
        self._samples *= 1_000.0
        dimensions = {"ApiName": self.names("api", "payment-api"), "Stage": "dev"}
        self.client("cloudwatch").put_metric_data(
            Namespace="AWS/ApiGateway",
            MetricData=[
                {
                    "MetricName": "Latency",
                    "Dimensions": [{"Name": n, "Value": v} for n, v in dimensions.items()],
                    "Timestamp": now - 60 * minutes,
                    "Values": [milliseconds],
                    "Counts": [self._samples],
                }
                for minutes in range(4)
            ],
        )

    def app(self) -> App:
        """The same service, assembled on this machine as an operator's command would."""
        variables = self.deployment.settings("payment-delivery")
        return assemble(read_settings(variables))

    def subscribe(self, topic: str) -> Callable[[], list[dict[str, Any]]]:
        """Everything that is published to the topic from now on, when asked."""
        return subscribe(self.emulator, self.names("topic", topic))


def subscribe(emulator: Emulator, topic: str) -> Callable[[], list[dict[str, Any]]]:
    """Everything that is published to the topic from now on, when asked."""
    sqs, sns = emulator.client("sqs"), emulator.client("sns")
    name = f"{topic}-{time.time_ns()}"
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
    url = sqs.create_queue(QueueName=name, Attributes={"Policy": _for_topics(arn)})["QueueUrl"]
    sns.subscribe(
        TopicArn=f"arn:aws:sns:{REGION}:{ACCOUNT}:{topic}",
        Protocol="sqs",
        Endpoint=arn,
        Attributes={"RawMessageDelivery": "true"},
    )
    received: list[dict[str, Any]] = []

    def read() -> list[dict[str, Any]]:
        while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                received.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return received

    return read


def _for_topics(queue_arn: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def left_of(emulator: Emulator) -> list[str]:
    """What there still is of a stack in Pulumi that was destroyed. A key is only ever deleted after
    a waiting period, and ECS keeps the records of services and definitions that are not in use.
    """
    found = emulator.client("resourcegroupstaggingapi").get_resources(
        TagFilters=[{"Key": "Project", "Values": ["payment-processing"]}]
    )
    kms, ecs = emulator.client("kms"), emulator.client("ecs")
    left = []
    for arn in (one["ResourceARN"] for one in found["ResourceTagMappingList"]):
        if ":kms:" in arn:
            state = kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"]
        elif ":task-definition/" in arn:
            state = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]["status"]
        elif ":service/" in arn:
            _, cluster, service = arn.split("/")
            state = _service_state(ecs, cluster, service)
        else:
            state = "there"
        if state not in ("INACTIVE", "PendingDeletion"):
            left.append(f"{arn}: {state}")
    return left


def _service_state(ecs: Any, cluster: str, service: str) -> str:
    try:
        found = ecs.describe_services(cluster=cluster, services=[service])["services"]
    except ecs.exceptions.ClusterNotFoundException:
        return "INACTIVE"
    return str(found[0]["status"]) if found else "INACTIVE"


def rows_of(database: EmulatedDatabase, query: str, *args: object) -> list[Any]:
    """What a query answers, asked as the database's owner."""

    async def ask() -> list[Any]:
        connection = await asyncpg.connect(database.url.replace("/postgres?", "/payments?"))
        try:
            return [tuple(row) for row in await connection.fetch(query, *args)]
        finally:
            await connection.close()

    return asyncio.run(ask())


def eventually(found: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What `found` answers once it answers anything. Fails if it never does."""
    end = time.monotonic() + seconds
    while not (answer := found()):
        if time.monotonic() > end:
            pytest.fail(f"Nothing in {seconds:.0f} s.")
        time.sleep(0.1)
    return answer


@pytest.fixture(scope="session")
def function_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("package") / "function.zip"
    build_package(
        target,
        python=OUR_PYTHON,
        architecture=HERE,
        requirements=ROOT / "requirements/function.lock",
    )
    return target


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    command = install(ROOT / ".venv/emulator", ROOT / "requirements/emulator.lock")
    folder = tmp_path_factory.mktemp("emulator")
    with Emulator(command, folder) as running:
        yield running
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def deployed(emulator: Emulator, function_zip: Path) -> Deployed:
    stack, template = synthesise(suffix="dev-test-001", settings=SETTINGS)
    deployment = CloudFormationStack(stack, Names("dev-test-001"), emulator.client, REGION)
    outputs = deployment.deploy(without_gaps(template), function_zip, lambda *_: None)
    # Which the emulator's CloudFormation leaves out.
    emulator.client("dynamodb").update_continuous_backups(
        TableName=outputs["TransactionsTableName"],
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
    )
    made = Deployed(emulator, deployment, emulator.api_url(outputs["APIEndpoint"]))
    with pytest.MonkeyPatch.context() as patch:
        as_operator(emulator, patch)
        key = asyncio.run(
            create_key(
                made.app(), merchant_id="acme", mode="test", label="tests", random=new_secret()
            )
        )
    made.key = key.secret
    return made


def as_operator(emulator: Emulator, patch: pytest.MonkeyPatch) -> None:
    """The environment of an operator's shell, for this account."""
    for name, value in emulator.environment.items():
        patch.setenv(name, value)


@pytest.fixture(autouse=True)
def operator(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    as_operator(emulator, monkeypatch)


@pytest.fixture
def quick_retries(deployed: Deployed) -> Iterator[None]:
    """The failure queue hands a message out again after a second, not after three minutes."""
    sqs = deployed.client("sqs")
    url = sqs.get_queue_url(QueueName=deployed.names("queue", "failed-transactions"))["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})
    yield
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "180"})
