"""The adapters to SQS, SNS, S3, KMS and CloudWatch, against AWS in memory."""

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
from remit.adapters.aws.kms_signer import KmsSigner
from remit.adapters.aws.s3 import S3Bucket
from remit.adapters.aws.sns import SnsTopic
from remit.adapters.aws.sqs import SqsQueue
from remit.assembly.service import assemble
from remit.delivery.relay import relay
from remit.delivery.work_messages import handle_batch
from remit.domain.change import Message, Topic
from remit.domain.errors import CardUnreadable, Unavailable
from remit.domain.health_state import Check
from remit.domain.payment import State
from remit.oversight.audit.archiver import AuditArchiver
from remit.oversight.audit.verification import VerifiedTrail, verify
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
    replace_parts,
)
from tests.contracts.changes import a_message
from tests.unit.steps import a_processed_payment, a_validated_payment, current

MAX_RECEIVES = 3

P256: Any = {"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}


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
    while batch := await queue.receive(100):
        for item in batch:
            received[item.message.id] = item.message
            assert item.receives == 1
            await queue.delete(item)
    assert received == {message.id: message for message in messages}


async def test_a_message_that_keeps_failing_is_a_dead_letter(
    in_memory: App, queue: SqsQueue
) -> None:
    messages = [a_message(in_memory, Topic.WORK) for _ in range(2)]
    await queue.send(messages)
    for _ in range(MAX_RECEIVES):
        for received in await queue.receive(10):
            await queue.retry(received, "error")
    assert await queue.receive(10) == []
    dead = await queue.dead_letters(10)
    assert {received.message.id for received in dead} == {message.id for message in messages}
    assert await queue.count_dead_letters() == 2


async def test_one_dead_letter_or_all_are_redriven(
    in_memory: App, queue: SqsQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.adapters.aws.sqs.PEEK_SECONDS", 0)
    messages = [a_message(in_memory, Topic.WORK) for _ in range(3)]
    await queue.send(messages)
    for _ in range(MAX_RECEIVES + 1):
        await queue.receive(10)
    assert await queue.redrive(in_memory.new_id()) == 0
    assert await queue.redrive(messages[1].id) == 1
    [redriven] = await queue.receive(10)
    assert redriven.message == messages[1]
    assert await queue.redrive(None) == 2
    assert await queue.dead_letters(10) == []


async def test_queued_payments_are_processed_through_sqs(in_memory: App, queue: SqsQueue) -> None:
    app = replace_parts(in_memory, queue=queue, failed=queue)
    payment = await a_validated_payment(app)
    await enqueue(app, caller(), ProcessRequest(payment.id))
    processor_of(app).faults.append("down")
    await relay(app)
    assert await handle_batch(app) == 1
    assert (await current(app, payment)).state is State.UNKNOWN
    assert await handle_batch(app) == 1
    assert (await current(app, payment)).state is State.CAPTURED
    assert await handle_batch(app) == 0


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
    details: dict[str, Any] = {}
    while items := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["kind"]
    ).get("Messages"):
        for item in items:
            body = json.loads(item["Body"])
            details[body["id"]] = body["detail"]
            assert item["MessageAttributes"]["kind"]["StringValue"] == "payment_intent.created"
            sqs.delete_message(QueueUrl=url, ReceiptHandle=item["ReceiptHandle"])
    assert details == {message.id: message.detail for message in messages}


async def test_a_key_in_a_bucket_is_written_once(bucket: S3Bucket) -> None:
    assert await bucket.put_new("a/1", b"first") is True
    assert await bucket.put_new("a/1", b"second") is False
    assert await bucket.get("a/1") == b"first"
    assert await bucket.get("a/2") is None
    for key in ("a/3", "a/2", "b/1"):
        await bucket.put_new(key, b"")
    assert await bucket.list("a/", "", 10) == ["a/1", "a/2", "a/3"]
    assert await bucket.list("a/", "a/1", 1) == ["a/2"]


async def test_the_audit_trail_is_verified_in_a_bucket(in_memory: App, bucket: S3Bucket) -> None:
    app = replace_parts(in_memory, bucket=bucket)
    await a_processed_payment(app)
    assert await AuditArchiver(app).archive() == 3
    verified = await verify(bucket)
    assert isinstance(verified, VerifiedTrail)
    assert (verified.segments, verified.entries) == (1, 3)


async def test_a_card_is_decrypted_under_its_kms_key_for_its_own_payment() -> None:
    kms = boto3.client("kms")

    def create_key(**parameters: Any) -> str:
        key_id: str = kms.create_key(**parameters)["KeyMetadata"]["KeyId"]
        return key_id

    mac = create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    ours = create_key()
    vault = kms_vault(kms, key_id=ours, mac_key_id=mac)
    encrypted = await vault.encrypt(plain_card(), "payment-1")
    again = kms_vault(kms, key_id=ours, mac_key_id=mac)
    assert await again.decrypt(encrypted, "payment-1") == plain_card()
    assert again.fingerprint(b"x") == vault.fingerprint(b"x")
    with pytest.raises(CardUnreadable):
        await again.decrypt(encrypted, "payment-2")
    with pytest.raises(CardUnreadable):
        await KmsKey(kms, ours).unwrap(b"not wrapped by KMS")


async def test_aws_that_cannot_be_reached_is_unavailable(tmp_path: Path) -> None:
    client = boto3.client("s3", endpoint_url="http://127.0.0.1:9", region_name="us-east-1")
    with pytest.raises(Unavailable):
        await S3Bucket(client, "b").get("k")


MONITORED = """[{"name": "api-5xx", "namespace": "AWS/ApiGateway", "metric": "5XXError",
    "dimensions": {"ApiName": "payment-api-test"}, "statistic": "Sum", "period_seconds": 60,
    "periods": 2, "threshold": 10}]"""


async def test_a_metric_fails_when_all_its_newest_periods_are_above_the_threshold() -> None:
    cloudwatch = boto3.client("cloudwatch")
    now = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    measures = CloudWatchMeasures(cloudwatch, MONITORED, lambda: now)

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


async def test_all_metrics_go_in_one_call_with_the_service_as_dimension() -> None:
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
    """A client that takes no metrics while it is down."""

    def __init__(self) -> None:
        self.down = True
        self.calls: list[dict[str, Any]] = []

    def put_metric_data(self, **parameters: Any) -> None:
        if self.down:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "PutMetricData")
        self.calls.append(parameters)


async def test_metrics_that_cloudwatch_did_not_take_go_with_the_next_call() -> None:
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
    [call] = cloudwatch.calls
    assert len(call["MetricData"]) == 500
    assert call["MetricData"][0] == {
        "MetricName": "OutboxAge",
        "Dimensions": [{"Name": "service", "Value": "payment-worker"}],
        "Unit": "Seconds",
        "StatisticValues": {"SampleCount": 2, "Sum": 63.0, "Minimum": 2.0, "Maximum": 61.0},
    }


def settings_of_a_deployment() -> Settings:
    """The settings of the service on DynamoDB, with every resource that they name."""
    make_table(boto3.client("dynamodb"), "transactions-test")
    sqs = boto3.client("sqs")
    return structs.replace(
        settings_in_aws(),
        transactions_table="transactions-test",
        work_queue_url=sqs.create_queue(QueueName="failed")["QueueUrl"],
        work_dead_letter_url=sqs.create_queue(QueueName="dead")["QueueUrl"],
    )


def settings_in_aws() -> Settings:
    """The settings of a deployment without its database, with every resource that they name."""
    sns, kms = boto3.client("sns"), boto3.client("kms")
    boto3.client("s3").create_bucket(Bucket="audit-test")
    mac = kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    audit = kms.create_key(**P256)
    return Settings(
        notification_topic_arn=sns.create_topic(Name="notifications")["TopicArn"],
        alarm_topic_arn=sns.create_topic(Name="alarms")["TopicArn"],
        audit_bucket="audit-test",
        audit_key_id=audit["KeyMetadata"]["KeyId"],
        card_key_id=kms.create_key()["KeyMetadata"]["KeyId"],
        fingerprint_key_id=mac["KeyMetadata"]["KeyId"],
    )


async def test_a_signature_of_kms_is_of_one_message_and_one_key() -> None:
    kms = boto3.client("kms")
    signer, other = (
        KmsSigner(kms, kms.create_key(**P256)["KeyMetadata"]["KeyId"]) for _ in range(2)
    )
    signature = await signer.sign(b"head 7")
    assert await signer.is_valid(b"head 7", signature)
    assert not await signer.is_valid(b"head 8", signature)
    assert not await other.is_valid(b"head 7", signature)


async def test_a_payment_is_processed_and_reconciled_on_aws_alone() -> None:
    app = assemble(settings_of_a_deployment())
    payment = await a_processed_payment(app)
    assert payment.state is State.CAPTURED
    declined = await a_processed_payment(app, card=DECLINED_CARD)
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
    attributes = {name: value["S"] for name, value in item.items() if "S" in value}
    assert (attributes["status"], attributes["amount"], attributes["currency"]) == (
        "processed",
        "100.00",
        "USD",
    )
    assert attributes["created_at"] < attributes["processed_at"]
    assert GOOD_CARD not in str(item)


async def test_a_deployment_that_lacks_a_setting_names_it() -> None:
    whole = settings_of_a_deployment()
    for name in set(DYNAMODB_SETTINGS) - {"transactions_table"}:
        with pytest.raises(SettingsError, match=f"REMIT_{name.upper()} is not set"):
            assemble(structs.replace(whole, **{name: None}))
