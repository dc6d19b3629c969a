"""Queue, topic, bucket and vault on AWS keep their ports' promises."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from msgspec import structs

from remit.adapters.aws.cloudwatch import CloudWatchMeasures, CloudWatchMetrics
from remit.adapters.aws.kms import KmsKey, kms_vault
from remit.adapters.aws.s3 import S3Bucket
from remit.adapters.aws.sns import SnsTopic
from remit.adapters.aws.sqs import SqsQueue
from remit.assembly.service import assemble
from remit.delivery.relay import consume_batch, relay
from remit.domain.change import Message, Topic
from remit.domain.errors import CardUnreadable, Unavailable
from remit.domain.health_state import Check
from remit.domain.payment import State
from remit.oversight.audit import AuditArchiver, Verified, verify
from remit.oversight.reconcile import reconcile
from remit.payments.process import ProcessRequest, enqueue
from remit.ports.app import App
from remit.settings import Settings, SettingsError
from remit_infra.model.service_env import DYNAMODB_SETTINGS
from tests.builders import (
    DECLINED_CARD,
    GOOD_CARD,
    caller,
    make_table,
    plain_card,
    processor_of,
    rewired,
)
from tests.contracts.changes import a_message
from tests.unit.arranged import a_processed, a_validated, current

MAX_RECEIVES = 3


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield


@pytest.fixture
def queue() -> SqsQueue:
    client = boto3.client("sqs")
    dead = client.create_queue(QueueName="failed-transactions-dlq-test")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
    redrive = {"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": MAX_RECEIVES}
    url = client.create_queue(
        QueueName="failed-transactions-test",
        Attributes={"VisibilityTimeout": "0", "RedrivePolicy": json.dumps(redrive)},
    )["QueueUrl"]
    return SqsQueue(client, url, dead, retry_seconds=0.0)


@pytest.fixture
def bucket() -> S3Bucket:
    client = boto3.client("s3")
    client.create_bucket(Bucket="audit-test")
    return S3Bucket(client, "audit-test")


async def test_a_message_is_received_until_it_is_deleted(in_memory: App, queue: SqsQueue) -> None:
    messages = [a_message(in_memory, Topic.WORK) for _ in range(25)]
    await queue.send(messages)
    received: dict[str, Message] = {}
    while found := await queue.receive(100):
        for delivery in found:
            received[delivery.message.id] = delivery.message
            assert delivery.receives == 1
            await queue.delete(delivery)
    assert received == {message.id: message for message in messages}


async def test_work_that_keeps_failing_is_a_dead_letter_and_is_redriven(
    in_memory: App, queue: SqsQueue
) -> None:
    messages = [a_message(in_memory, Topic.WORK) for _ in range(2)]
    await queue.send(messages)
    for _ in range(MAX_RECEIVES):
        for delivery in await queue.receive(10):
            await queue.retry(delivery, "error")
    assert await queue.receive(10) == []
    dead = await queue.dead_letters(10)
    assert {delivery.message.id for delivery in dead} == {message.id for message in messages}
    assert await queue.dead() == 2


async def test_dead_letters_go_back_to_work_one_or_all(
    in_memory: App, queue: SqsQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.adapters.aws.sqs.PEEK_SECONDS", 0)
    messages = [a_message(in_memory, Topic.WORK) for _ in range(3)]
    await queue.send(messages)
    for _ in range(MAX_RECEIVES + 1):
        await queue.receive(10)
    assert await queue.redrive(in_memory.new_id()) == 0
    assert await queue.redrive(messages[1].id) == 1
    [back] = await queue.receive(10)
    assert back.message == messages[1]
    assert await queue.redrive(None) == 2
    assert await queue.dead_letters(10) == []


async def test_queued_payments_are_taken_through_sqs(in_memory: App, queue: SqsQueue) -> None:
    app = rewired(in_memory, queue=queue, failed=queue)
    payment = await a_validated(app)
    await enqueue(app, caller(), ProcessRequest(payment.id))
    processor_of(app).faults.append("down")
    await relay(app)
    assert await consume_batch(app) == 1
    assert (await current(app, payment)).state is State.VALIDATED
    assert await consume_batch(app) == 1
    assert (await current(app, payment)).state is State.CAPTURED
    assert await consume_batch(app) == 0


async def test_a_topic_delivers_every_message_whole(in_memory: App) -> None:
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    arn = sns.create_topic(Name="payment-notifications-test")["TopicArn"]
    url = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
    sns.subscribe(
        TopicArn=arn,
        Protocol="sqs",
        Endpoint="arn:aws:sqs:us-east-1:123456789012:subscriber",
        Attributes={"RawMessageDelivery": "true"},
    )
    messages = [a_message(in_memory) for _ in range(12)]
    await SnsTopic(sns, arn).publish(messages)
    told: dict[str, Any] = {}
    while found := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["kind"]
    ).get("Messages"):
        for one in found:
            body = json.loads(one["Body"])
            told[body["id"]] = body["detail"]
            assert one["MessageAttributes"]["kind"]["StringValue"] == "payment_intent.created"
            sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
    assert told == {message.id: message.detail for message in messages}


async def test_a_key_in_a_bucket_is_written_once(bucket: S3Bucket) -> None:
    assert await bucket.put_new("a/1", b"first") is True
    assert await bucket.put_new("a/1", b"second") is False
    assert await bucket.get("a/1") == b"first"
    assert await bucket.get("a/2") is None
    for key in ("a/3", "a/2", "b/1"):
        await bucket.put_new(key, b"")
    assert await bucket.list("a/", "", 10) == ["a/1", "a/2", "a/3"]
    assert await bucket.list("a/", "a/1", 1) == ["a/2"]


async def test_the_audit_trail_holds_in_a_bucket(in_memory: App, bucket: S3Bucket) -> None:
    app = rewired(in_memory, bucket=bucket)
    await a_processed(app)
    assert await AuditArchiver(app).archive() == 3
    verified = await verify(bucket)
    assert isinstance(verified, Verified)
    assert (verified.segments, verified.entries) == (1, 3)


async def test_a_card_opens_under_its_kms_key_and_its_own_payment() -> None:
    kms = boto3.client("kms")

    def key(**more: Any) -> str:
        made: str = kms.create_key(**more)["KeyMetadata"]["KeyId"]
        return made

    mac = key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    ours = key()
    vault = kms_vault(kms, key_id=ours, mac_key_id=mac)
    sealed = await vault.encrypt(plain_card(), "payment-1")
    again = kms_vault(kms, key_id=ours, mac_key_id=mac)
    assert await again.decrypt(sealed, "payment-1") == plain_card()
    assert again.fingerprint(b"x") == vault.fingerprint(b"x")
    with pytest.raises(CardUnreadable):
        await again.decrypt(sealed, "payment-2")
    with pytest.raises(CardUnreadable):
        await KmsKey(kms, ours).unwrap(b"not wrapped by KMS")


async def test_aws_that_cannot_be_reached_is_unavailable(tmp_path: Path) -> None:
    client = boto3.client("s3", endpoint_url="http://127.0.0.1:9", region_name="us-east-1")
    with pytest.raises(Unavailable):
        await S3Bucket(client, "b").get("k")


WATCHED = """[{"name": "api-5xx", "namespace": "AWS/ApiGateway", "metric": "5XXError",
    "dimensions": {"ApiName": "payment-api-test"}, "statistic": "Sum", "period_seconds": 60,
    "periods": 2, "threshold": 10}]"""


async def test_a_metric_fails_when_all_its_newest_periods_are_above_the_threshold() -> None:
    cloudwatch = boto3.client("cloudwatch")
    now = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    measures = CloudWatchMeasures(cloudwatch, WATCHED, lambda: now)

    def put(value: float, minutes_ago: int) -> None:
        datum = {
            "MetricName": "5XXError",
            "Dimensions": [{"Name": "ApiName", "Value": "payment-api-test"}],
            "Timestamp": now - timedelta(minutes=minutes_ago),
            "Value": value,
        }
        cloudwatch.put_metric_data(Namespace="AWS/ApiGateway", MetricData=[datum])

    assert await measures() == {"api-5xx": Check(ok=True)}
    put(11, minutes_ago=2)
    assert await measures() == {"api-5xx": Check(ok=True)}
    put(12, minutes_ago=1)
    assert await measures() == {"api-5xx": Check(ok=False, detail="12, and 10 is the most")}
    assert await CloudWatchMeasures(cloudwatch, None, lambda: now)() == {}


async def test_all_that_was_counted_goes_in_one_call_under_the_service() -> None:
    cloudwatch = boto3.client("cloudwatch")
    metrics = CloudWatchMetrics(cloudwatch, "payment-worker")
    await metrics.write()
    assert cloudwatch.list_metrics()["Metrics"] == []
    for age in (1.5, 61.0, 0.0):
        metrics.seconds("OutboxAge", age)
    metrics.count("payment_intent.succeeded")
    metrics.count("payment_intent.succeeded", 41)
    await metrics.write()
    await metrics.write()
    found = {metric["MetricName"]: metric for metric in cloudwatch.list_metrics()["Metrics"]}
    assert found.keys() == {"OutboxAge", "payment_intent.succeeded"}
    for metric in found.values():
        assert metric["Namespace"] == "Remit"
        assert metric["Dimensions"] == [{"Name": "service", "Value": "payment-worker"}]


class Cloudwatch:
    """A client that takes metrics when it likes."""

    def __init__(self) -> None:
        self.down = True
        self.taken: list[dict[str, Any]] = []

    def put_metric_data(self, **asked: Any) -> None:
        if self.down:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "PutMetricData")
        self.taken.append(asked)


async def test_what_cloudwatch_did_not_take_goes_with_the_next_call() -> None:
    cloudwatch = Cloudwatch()
    metrics = CloudWatchMetrics(cloudwatch, "payment-worker")
    metrics.seconds("OutboxAge", 61.0)
    await metrics.write()
    metrics.seconds("OutboxAge", 2.0)
    for number in range(10_000):
        metrics.count(f"name-{number}")
    await metrics.write()
    cloudwatch.down = False
    await metrics.write()
    [taken] = cloudwatch.taken
    assert len(taken["MetricData"]) == 500
    assert taken["MetricData"][0] == {
        "MetricName": "OutboxAge",
        "Dimensions": [{"Name": "service", "Value": "payment-worker"}],
        "Unit": "Seconds",
        "StatisticValues": {"SampleCount": 2, "Sum": 63.0, "Minimum": 2.0, "Maximum": 61.0},
    }


def settings_of_a_deployment() -> Settings:
    """Everything that the service on DynamoDB needs, made as a deployment makes it."""
    make_table(boto3.client("dynamodb"), "transactions-test")
    sqs = boto3.client("sqs")
    return structs.replace(
        settings_in_aws(),
        transactions_table="transactions-test",
        work_queue_url=sqs.create_queue(QueueName="failed")["QueueUrl"],
        work_dead_letter_url=sqs.create_queue(QueueName="dead")["QueueUrl"],
    )


def settings_in_aws() -> Settings:
    """What is around the database."""
    sns, kms = boto3.client("sns"), boto3.client("kms")
    boto3.client("s3").create_bucket(Bucket="audit-test")
    mac = kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    return Settings(
        notification_topic_arn=sns.create_topic(Name="notifications")["TopicArn"],
        alarm_topic_arn=sns.create_topic(Name="alarms")["TopicArn"],
        audit_bucket="audit-test",
        card_key_id=kms.create_key()["KeyMetadata"]["KeyId"],
        fingerprint_key_id=mac["KeyMetadata"]["KeyId"],
    )


async def test_a_payment_is_taken_and_proven_on_aws_alone() -> None:
    app = assemble(settings_of_a_deployment())
    payment = await a_processed(app)
    assert payment.state is State.CAPTURED
    declined = await a_processed(app, card=DECLINED_CARD)
    assert declined.state is State.DECLINED
    await app.database.ping()
    while await relay(app) or await AuditArchiver(app).archive():
        pass
    assert [found async for found in reconcile(app)] == []
    [item] = boto3.client("dynamodb").scan(
        TableName="transactions-test",
        FilterExpression="transaction_id = :id",
        ExpressionAttributeValues={":id": {"S": payment.id}},
    )["Items"]
    shown = {name: value["S"] for name, value in item.items() if "S" in value}
    assert (shown["status"], shown["amount"], shown["currency"]) == ("processed", "100.00", "USD")
    assert shown["created_at"] < shown["processed_at"]
    assert GOOD_CARD not in str(item)


async def test_a_deployment_that_lacks_a_setting_names_it() -> None:
    whole = settings_of_a_deployment()
    for name in set(DYNAMODB_SETTINGS) - {"transactions_table"}:
        with pytest.raises(SettingsError, match=f"REMIT_{name.upper()} is not set"):
            assemble(structs.replace(whole, **{name: None}))
