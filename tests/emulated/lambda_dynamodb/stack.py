"""lambda-dynamodb, deployed by CloudFormation, as its callers and its operators have it."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from remit.assembly.service import assemble
from remit.ports.app import App
from remit.settings import read_settings
from remit_infra.deploy.cloudformation import CloudFormationStack
from remit_infra.emulated.emulator import REGION, Emulator, without_gaps
from remit_infra.model.environments import Names
from remit_infra.topologies.lambda_dynamodb.stack import synthesise
from tests.emulated.harness import (
    SETTINGS,
    Caller,
    a_key,
    as_operator,
    function_zip,
    new_emulator,
    refusals_of,
    subscribe,
)

SUFFIX = "dev-test-001"


class LambdaDynamodb(Caller):
    def __init__(
        self, emulator: Emulator, deployment: CloudFormationStack, url: str, code: Path
    ) -> None:
        super().__init__(emulator, url)
        self.emulator = emulator
        self.deployment = deployment
        self.code = code
        self.client = emulator.client
        self.names = deployment.names
        self._samples = 1.0
        self.ran: set[str] = set()
        """The functions that tests have run themselves."""

    def item(self, transaction_id: str) -> dict[str, Any]:
        found = self.client("dynamodb").get_item(
            TableName=self.names("table", "transactions"),
            Key={"transaction_id": {"S": transaction_id}},
        )
        item: dict[str, Any] = found.get("Item", {})
        return item

    def run(self, function: str, job: str) -> Any:
        """One call of a function as the clock makes it."""
        self.ran.add(function)
        called = self.client("lambda").invoke(
            FunctionName=self.names("function", function), Payload=json.dumps({"job": job})
        )
        return json.loads(called["Payload"].read())

    def refusals(self, role: str) -> list[str]:
        """The lines in which the function of this role has logged that AWS refused an action."""
        return refusals_of(self.emulator, self.names("function", role))

    @contextmanager
    def with_settings(self, function: str, **variables: str) -> Iterator[None]:
        """The function with these environment variables, for a while."""
        before = self.deployment.settings(function)
        self.configure(function, before | variables)
        try:
            yield
        finally:
            self.configure(function, before)

    def configure(self, function: str, variables: dict[str, str]) -> None:
        """From now on the function runs in a new container, with these variables."""
        self.client("lambda").update_function_configuration(
            FunctionName=self.names("function", function), Environment={"Variables": variables}
        )

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
        return subscribe(self.emulator, self.names("topic", topic))


@contextmanager
def deployed(folder: Path) -> Iterator[LambdaDynamodb]:
    """With a merchant's key."""
    code = function_zip(folder / "function.zip")
    with new_emulator(folder / "emulator") as emulator:
        name, template = synthesise(suffix=SUFFIX, settings=SETTINGS)
        deployment = CloudFormationStack(name, Names(SUFFIX), emulator.client, REGION)
        outputs = deployment.deploy(without_gaps(template), code, lambda *_: None)
        # Which the emulator's CloudFormation leaves out.
        emulator.client("dynamodb").update_continuous_backups(
            TableName=outputs["TransactionsTableName"],
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        )
        url = emulator.api_url(outputs["APIEndpoint"])
        made = LambdaDynamodb(emulator, deployment, url, code)
        with pytest.MonkeyPatch.context() as patch:
            as_operator(emulator, patch)
            made.key = asyncio.run(a_key(made.app())).secret
        yield made


def left_with(suffix: str, emulator: Emulator) -> list[str]:
    """The names of everything that there is with this suffix."""
    listed: list[Any] = [
        emulator.client("dynamodb").list_tables()["TableNames"],
        emulator.client("sqs").list_queues().get("QueueUrls", []),
        emulator.client("sns").list_topics()["Topics"],
        emulator.client("s3").list_buckets()["Buckets"],
        emulator.client("lambda").list_functions()["Functions"],
        emulator.client("iam").list_roles()["Roles"],
        emulator.client("iam").list_policies(Scope="Local")["Policies"],
        emulator.client("logs").describe_log_groups()["logGroups"],
        emulator.client("cloudwatch").describe_alarms(MaxRecords=100)["MetricAlarms"],
        emulator.client("cloudwatch").list_dashboards()["DashboardEntries"],
        emulator.client("events").list_rules()["Rules"],
        emulator.client("apigateway").get_rest_apis()["items"],
        emulator.client("kms").list_aliases()["Aliases"],
        emulator.client("wafv2").list_web_acls(Scope="REGIONAL")["WebACLs"],
        emulator.client("lambda").list_event_source_mappings()["EventSourceMappings"],
    ]
    return [str(one) for found in listed for one in found if suffix in str(one)]
