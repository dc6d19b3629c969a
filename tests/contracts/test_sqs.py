"""SQS for workers: batches, unreadable bodies, visibility."""

import asyncio
import json
from collections.abc import Iterator
from threading import Lock
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from remit.adapters.aws.sns import SnsTopic
from remit.adapters.aws.sqs import SqsQueue
from remit.delivery.consumer import Consumer
from remit.delivery.relay import relay
from remit.delivery.work_messages import handle_batch
from remit.domain.change import UNREADABLE, Topic
from remit.domain.errors import NotAllSent, Unavailable
from remit.domain.payment import State
from remit.payments.process import ProcessRequest, enqueue
from remit.ports.app import App
from remit.ports.delivery import MAX_BACKOFF_SECONDS, ReceivedMessage, backoff
from tests.builders import SerialClient, caller, replace_parts
from tests.contracts.changes import a_message
from tests.unit.steps import a_validated_payment, current

MAX_RECEIVES = 3
POISON = '{"id": "Grüße \U0001f600", "kind":  \t"process",\n "unknown": 1'


class RecordingClient:
    """A client that records its calls. Those in `failing` report that each entry failed, or each of
    those in `refused`.
    """

    def __init__(self, client: Any) -> None:
        self._client = SerialClient(client)
        self._lock = Lock()
        self.calls: list[str] = []
        self.parameters: list[dict[str, Any]] = []
        self.failing: set[str] = set()
        self.refused: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(**parameters: Any) -> Any:
            with self._lock:
                self.calls.append(name)
                self.parameters.append(parameters)
            if name in self.failing:
                entries = parameters.get("Entries") or parameters["PublishBatchRequestEntries"]
                ids = {entry["Id"] for entry in entries}
                return {"Failed": [{"Id": id_} for id_ in (self.refused & ids or ids)]}
            return method(**parameters)

        vars(call)["__self__"] = method.__self__
        return call


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield


@pytest.fixture
def client() -> RecordingClient:
    return RecordingClient(boto3.client("sqs"))


@pytest.fixture
def urls(client: RecordingClient) -> tuple[str, str]:
    dead = client.create_queue(QueueName="dead")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
    redrive = {"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": MAX_RECEIVES}
    attributes = {"RedrivePolicy": json.dumps(redrive)}
    return client.create_queue(QueueName="work", Attributes=attributes)["QueueUrl"], dead


@pytest.fixture
def queue(client: RecordingClient, urls: tuple[str, str]) -> SqsQueue:
    client.calls.clear()
    client.parameters.clear()
    return SqsQueue(client, *urls, retry_seconds=0.0, visibility_seconds=300)


async def receive(queue: SqsQueue, number: int) -> list[ReceivedMessage]:
    received: list[ReceivedMessage] = []
    while len(received) < number:
        received += await queue.receive(10)
    return received


async def test_deletes_at_once_go_in_batches(
    in_memory: App, queue: SqsQueue, client: RecordingClient
) -> None:
    await queue.send([a_message(in_memory, Topic.WORK) for _ in range(25)])
    received = await receive(queue, 25)
    await asyncio.gather(*(queue.delete(item) for item in received))
    assert client.calls.count("delete_message_batch") == 3
    assert await queue.receive(10) == []


async def test_a_message_that_is_not_deleted_raises_an_error(
    in_memory: App, queue: SqsQueue, client: RecordingClient
) -> None:
    await queue.send([a_message(in_memory, Topic.WORK) for _ in range(2)])
    client.failing.add("delete_message_batch")
    client.refused.add("0")
    results = await asyncio.gather(
        *(queue.delete(item) for item in await receive(queue, 2)), return_exceptions=True
    )
    assert [type(result) for result in results] == [Unavailable, type(None)]


async def test_an_unreadable_body_becomes_a_dead_letter_and_is_redriven_byte_for_byte(
    in_memory: App,
    queue: SqsQueue,
    client: RecordingClient,
    urls: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("remit.adapters.aws.sqs.PEEK_SECONDS", 0)
    app = replace_parts(in_memory, queue=queue, failed=queue)
    payment = await a_validated_payment(app)
    await enqueue(app, caller(), ProcessRequest(payment.id))
    sqs_id = client.send_message(QueueUrl=urls[0], MessageBody=POISON)["MessageId"]
    await relay(app)
    for _ in range(MAX_RECEIVES):
        await handle_batch(app)
    assert (await current(app, payment)).state is State.CAPTURED
    assert await queue.receive(10) == []
    [dead] = await queue.dead_letters(10)
    assert (dead.message.id, dead.message.kind) == (sqs_id, UNREADABLE)
    assert await queue.redrive(sqs_id) == 1
    assert await queue.count_dead_letters() == 0
    [redriven] = client.receive_message(QueueUrl=urls[0])["Messages"]
    assert redriven["Body"] == POISON


async def test_a_message_is_hidden_for_the_given_time_and_returned_at_once(
    in_memory: App, queue: SqsQueue, client: RecordingClient
) -> None:
    await queue.send([a_message(in_memory, Topic.WORK)])
    [received] = await receive(queue, 1)
    assert client.parameters[-1]["VisibilityTimeout"] == 300
    await queue.extend(received, 150.2)
    assert client.parameters[-1]["VisibilityTimeout"] == 151
    assert await queue.receive(10) == []
    await queue.extend(received, 0)
    [again] = await queue.receive(10)
    assert (again.message, again.receives) == (received.message, 2)


class FailingClient:
    """A client whose change of a message's visibility fails with a code."""

    def __init__(self, code: str) -> None:
        self._code = code

    def change_message_visibility(self, **_: Any) -> None:
        raise ClientError({"Error": {"Code": self._code}}, "ChangeMessageVisibility")


async def test_a_message_whose_receipt_lapsed_is_left_to_return(in_memory: App) -> None:
    received = ReceivedMessage(message=a_message(in_memory, Topic.WORK), receipt="r", receives=1)
    queue = SqsQueue(
        FailingClient("AWS.SimpleQueueService.MessageNotInflight"), "", "", retry_seconds=2.0
    )
    await queue.extend(received, 300)
    await queue.retry(received, "error")
    with pytest.raises(ClientError):
        await SqsQueue(FailingClient("AccessDenied"), "", "", retry_seconds=2.0).extend(
            received, 300
        )


def test_a_pause_doubles_and_never_exceeds_the_limit_of_a_queue() -> None:
    assert [backoff(2.0, receives) for receives in (1, 2, 3)] == [2, 4, 8]
    assert backoff(2.0, 10_000) == MAX_BACKOFF_SECONDS < 12 * 3_600


async def test_a_receive_waits_for_the_first_message(
    client: RecordingClient, urls: tuple[str, str]
) -> None:
    queue = SqsQueue(client, *urls, retry_seconds=2.0, wait_seconds=1)
    assert await queue.receive(100) == []
    parameters = client.parameters[-1]
    assert (parameters["WaitTimeSeconds"], parameters["MaxNumberOfMessages"]) == (1, 10)


async def test_a_worker_processes_the_messages_of_sqs(in_memory: App, queue: SqsQueue) -> None:
    app = replace_parts(in_memory, queue=queue, failed=queue)
    payments = [await a_validated_payment(app) for _ in range(12)]
    for payment in payments:
        await enqueue(app, caller(), ProcessRequest(payment.id))
    await relay(app)
    stop = asyncio.Event()
    consumer = asyncio.create_task(Consumer(app).run(stop))
    async with asyncio.timeout(60):
        for payment in payments:
            while (await current(app, payment)).state is not State.CAPTURED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        stop.set()
        await consumer
    assert await queue.receive(10) == []


async def test_batches_go_to_a_topic_at_once_and_a_failed_one_raises_an_error(
    in_memory: App,
) -> None:
    client = RecordingClient(boto3.client("sns"))
    topic = SnsTopic(client, client.create_topic(Name="notifications")["TopicArn"])
    messages = [a_message(in_memory) for _ in range(95)]
    await topic.publish(messages)
    assert client.calls.count("publish_batch") == 10
    assert sorted(
        entry["Id"]
        for parameters in client.parameters[1:]
        for entry in parameters["PublishBatchRequestEntries"]
    ) == [message.id for message in messages]
    client.failing.add("publish_batch")
    with pytest.raises(Unavailable) as nothing:
        await topic.publish(messages)
    assert not isinstance(nothing.value, NotAllSent)


async def test_the_messages_that_a_topic_or_queue_refuses_are_named(in_memory: App) -> None:
    client = RecordingClient(boto3.client("sns"))
    topic = SnsTopic(client, client.create_topic(Name="notifications")["TopicArn"])
    messages = [a_message(in_memory) for _ in range(3)]
    client.failing.add("publish_batch")
    client.refused.add(messages[1].id)
    with pytest.raises(NotAllSent) as some:
        await topic.publish(messages)
    assert some.value.refused == {messages[1].id}
    sqs = RecordingClient(boto3.client("sqs"))
    queue = SqsQueue(sqs, "url", "url", retry_seconds=1)
    sqs.failing.add("send_message_batch")
    sqs.refused.add(messages[2].id)
    with pytest.raises(NotAllSent) as some:
        await queue.send(messages)
    assert some.value.refused == {messages[2].id}
