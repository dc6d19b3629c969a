"""Topologies on emulated AWS, as their callers and their operators have them.

Each topology is deployed once in a run, by the fixture of its name, and every suite shares it. Its
tests run in one worker, one after the other: a test leaves the topology as it found it.
"""

import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from remit.clock_and_ids import new_secret
from remit.oversight.api_keys import NewKey, create_key
from remit.oversight.audit.segments import CHECKPOINTS
from remit.ports.app import App
from remit_infra.build.lambda_package import build_package
from remit_infra.emulated.database import EmulatedDatabase
from remit_infra.emulated.emulator import ACCOUNT, REGION, Emulator, install
from tests.tidy.tree import ROOT

ARCHITECTURE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

DOWN, LATE = "6.66", "7.77"
"""Amounts for which the simulated processor is down, and does not answer in time."""

SETTINGS = {
    "simulator_down_at": "666",
    "simulator_timeout_at": "777",
    "processor_timeout_seconds": "1",
    "claim_margin_seconds": "1",
}
CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123"}
BAD_BODIES = [b"", b"null", b"[]", b"{", b'{"amount": -5}', b'{"amount": NaN}']

CALLER_SECONDS = 240.0
"""How long a caller waits: where fifty functions start at once, the last answers after a minute."""


def of_topology(topology: str, seconds: int = 600) -> list[pytest.MarkDecorator]:
    """The marks of tests of a deployed topology, each of which may take so long."""
    return [pytest.mark.slow, pytest.mark.timeout(seconds), pytest.mark.xdist_group(topology)]


class Caller:
    """A merchant who calls the deployed service over HTTP."""

    def __init__(self, emulator: Emulator, url: str, key: str = "") -> None:
        self.url = url
        self.key = key
        self._trust = emulator.trust

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """One request on a connection of its own; names of headers have underscores."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.request(
            method,
            self.url + path,
            content=content if method == "POST" else None,
            headers={"content-type": "application/json", "x-api-key": self.key, **named},
            timeout=CALLER_SECONDS,
            trust_env=False,
            verify=self._trust,
        )

    def validate(self, amount: str = "99.99", **more: Any) -> str:
        response = self.send("POST", "/validate", {"amount": amount, "card": CARD, **more})
        assert response.status_code == 200, response.text
        body = response.json()
        assert body["status"] == "validated"
        return str(body["transaction_id"])

    def process(self, transaction_id: str, **headers: str) -> httpx.Response:
        return self.send("POST", "/process", {"transaction_id": transaction_id}, **headers)


def assert_refused(response: httpx.Response, status: int, type_: str) -> None:
    assert (response.status_code, response.json()["error"]["type"]) == (status, type_)


def run_remit(
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


def as_operator(emulator: Emulator, patch: pytest.MonkeyPatch) -> None:
    """Gives the test the environment of an operator's shell, for this account."""
    for name, value in emulator.environment.items():
        patch.setenv(name, value)


async def a_key(app: App) -> NewKey:
    """A new test key of the merchant `acme`."""
    return await create_key(app, merchant_id="acme", mode="test", label="", random=new_secret())


def new_emulator(folder: Path) -> Emulator:
    command = install(ROOT / ".venv/emulator", ROOT / "requirements/emulator.lock")
    return Emulator(command, folder)


def new_database(emulator: Emulator, folder: Path) -> EmulatedDatabase:
    certificate = emulator.certificate
    return EmulatedDatabase(folder, certificate=certificate, key=certificate.with_suffix(".key"))


def function_zip(target: Path, database_ca: Path | None = None) -> Path:
    """The functions' code, for this machine's Python."""
    build_package(
        target,
        python=PYTHON,
        architecture=ARCHITECTURE,
        requirements=ROOT / "requirements/function.lock",
        database_ca=database_ca,
    )
    return target


def subscribe(emulator: Emulator, topic: str) -> Callable[[], list[dict[str, Any]]]:
    """Everything that is published to the topic from now on, when called."""
    sqs, sns = emulator.client("sqs"), emulator.client("sns")
    # Not after the topic: what has the stack's suffix must be gone when the stack is.
    name = f"test-{time.time_ns()}"
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


def refusals_of(emulator: Emulator, function: str) -> list[str]:
    """The lines in which a function has logged that AWS refused an action."""
    found = emulator.client("logs").filter_log_events(
        logGroupName=f"/aws/lambda/{function}", filterPattern='"not authorized to perform"'
    )
    return [event["message"] for event in found["events"]]


def _for_topics(queue_arn: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def rows_of(database: EmulatedDatabase, query: str, *args: object) -> list[Any]:
    """The rows of a query, sent as the database's owner."""

    async def fetch() -> list[Any]:
        connection = await asyncpg.connect(database.url.replace("/postgres?", "/payments?"))
        try:
            return [tuple(row) for row in await connection.fetch(query, *args)]
        finally:
            await connection.close()

    return asyncio.run(fetch())


def eventually(found: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What `found` returns once it is true. Fails if it never is."""
    end = time.monotonic() + seconds
    while not (answer := found()):
        if time.monotonic() > end:
            pytest.fail(f"Nothing in {seconds:.0f} s.")
        time.sleep(0.1)
    return answer


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


def checkpoints(s3: Any) -> list[tuple[str, str]]:
    """The bucket and key of each signature of the archived audit trail."""
    return [
        (bucket, found["Key"])
        for bucket in (one["Name"] for one in s3.list_buckets()["Buckets"])
        if "audit" in bucket
        for found in s3.list_objects_v2(Bucket=bucket, Prefix=CHECKPOINTS).get("Contents", [])
    ]


def forget_checkpoints(s3: Any) -> None:
    """Deletes the signatures, so that the next archiver has to sign the trail."""
    for bucket, key in checkpoints(s3):
        s3.delete_object(Bucket=bucket, Key=key)
