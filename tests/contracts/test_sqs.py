"""SQS for workers that receive for themselves: batches, bodies nobody can read, what is hidden."""

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
from remit.delivery.relay import consume_batch, relay
from remit.domain.change import UNREADABLE, Topic
from remit.domain.errors import Unavailable
from remit.domain.payment import State
from remit.payments.process import ProcessRequest, enqueue
from remit.ports.app import App
from remit.ports.delivery import MAX_BACKOFF_SECONDS, ReceivedMessage, backoff
from tests.builders import InTurn, caller, rewired
from tests.contracts.changes import a_message
from tests.unit.arranged import a_validated, current

MAX_RECEIVES = 3
POISON = '{"id": "Grüße \U0001f600", "kind":  \t"process",\n "unknown": 1'


class Counted:
    """A client that counts its calls, and how many there were at once."""

    def __init__(self, client: Any) -> None:
        self._client = InTurn(client)
        self._lock = Lock()
        self.calls: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.failing: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(**asked: Any) -> Any:
            with self._lock:
                self.calls.append(name)
                self.asked.append(asked)
            if name in self.failing:
                return {"Failed": [{"Id": "0"}]}
            return method(**asked)

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
def client() -> Counted:
    return Counted(boto3.client("sqs"))


@pytest.fixture
def urls(client: Counted) -> tuple[str, str]:
    dead = client.create_queue(QueueName="dead")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
    redrive = {"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": MAX_RECEIVES}
    attributes = {"RedrivePolicy": json.dumps(redrive)}
    return client.create_queue(QueueName="work", Attributes=attributes)["QueueUrl"], dead


@pytest.fixture
def queue(client: Counted, urls: tuple[str, str]) -> SqsQueue:
    client.calls.clear()
    client.asked.clear()
    return SqsQueue(client, *urls, retry_seconds=0.0, visibility_seconds=300)


async def received(queue: SqsQueue, number: int) -> list[ReceivedMessage]:
    found: list[ReceivedMessage] = []
    while len(found) < number:
        found += await queue.receive(10)
    return found


async def test_deletes_that_come_together_go_together(
    in_memory: App, queue: SqsQueue, client: Counted
) -> None:
    await queue.send([a_message(in_memory, Topic.WORK) for _ in range(25)])
    deliveries = await received(queue, 25)
    await asyncio.gather(*(queue.delete(delivery) for delivery in deliveries))
    assert client.calls.count("delete_message_batch") == 3
    assert await queue.receive(10) == []


async def test_a_message_that_is_not_deleted_is_told(
    in_memory: App, queue: SqsQueue, client: Counted
) -> None:
    await queue.send([a_message(in_memory, Topic.WORK) for _ in range(2)])
    client.failing.add("delete_message_batch")
    outcomes = await asyncio.gather(
        *(queue.delete(delivery) for delivery in await received(queue, 2)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [Unavailable, type(None)]


async def test_a_body_nobody_can_read_is_buried_shown_and_redriven_byte_for_byte(
    in_memory: App,
    queue: SqsQueue,
    client: Counted,
    urls: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("remit.adapters.aws.sqs.PEEK_SECONDS", 0)
    app = rewired(in_memory, queue=queue, failed=queue)
    payment = await a_validated(app)
    await enqueue(app, caller(), ProcessRequest(payment.id))
    sqs_id = client.send_message(QueueUrl=urls[0], MessageBody=POISON)["MessageId"]
    await relay(app)
    for _ in range(MAX_RECEIVES):
        await consume_batch(app)
    assert (await current(app, payment)).state is State.CAPTURED
    assert await queue.receive(10) == []
    [dead] = await queue.dead_letters(10)
    assert (dead.message.id, dead.message.kind) == (sqs_id, UNREADABLE)
    assert await queue.redrive(sqs_id) == 1
    assert await queue.dead() == 0
    [back] = client.receive_message(QueueUrl=urls[0])["Messages"]
    assert back["Body"] == POISON


async def test_a_message_is_hidden_for_as_long_as_it_is_told_and_handed_back_at_once(
    in_memory: App, queue: SqsQueue, client: Counted
) -> None:
    await queue.send([a_message(in_memory, Topic.WORK)])
    [delivery] = await received(queue, 1)
    assert client.asked[-1]["VisibilityTimeout"] == 300
    await queue.extend(delivery, 150.2)
    assert client.asked[-1]["VisibilityTimeout"] == 151
    assert await queue.receive(10) == []
    await queue.extend(delivery, 0)
    [again] = await queue.receive(10)
    assert (again.message, again.receives) == (delivery.message, 2)


class Refusing:
    """A client that refuses to hide a message, and says why."""

    def __init__(self, code: str) -> None:
        self._code = code

    def change_message_visibility(self, **_: Any) -> None:
        raise ClientError({"Error": {"Code": self._code}}, "ChangeMessageVisibility")


async def test_a_message_whose_time_is_over_is_left_to_come_back(in_memory: App) -> None:
    delivery = ReceivedMessage(message=a_message(in_memory, Topic.WORK), receipt="r", receives=1)
    over = SqsQueue(
        Refusing("AWS.SimpleQueueService.MessageNotInflight"), "", "", retry_seconds=2.0
    )
    await over.extend(delivery, 300)
    await over.retry(delivery, "error")
    with pytest.raises(ClientError):
        await SqsQueue(Refusing("AccessDenied"), "", "", retry_seconds=2.0).extend(delivery, 300)


def test_a_pause_doubles_and_never_exceeds_what_a_queue_allows() -> None:
    assert [backoff(2.0, receives) for receives in (1, 2, 3)] == [2, 4, 8]
    assert backoff(2.0, 10_000) == MAX_BACKOFF_SECONDS < 12 * 3_600


async def test_a_receive_waits_for_the_first_message(
    client: Counted, urls: tuple[str, str]
) -> None:
    queue = SqsQueue(client, *urls, retry_seconds=2.0, wait_seconds=1)
    assert await queue.receive(100) == []
    asked = client.asked[-1]
    assert (asked["WaitTimeSeconds"], asked["MaxNumberOfMessages"]) == (1, 10)


async def test_a_worker_takes_what_is_in_sqs(in_memory: App, queue: SqsQueue) -> None:
    app = rewired(in_memory, queue=queue, failed=queue)
    payments = [await a_validated(app) for _ in range(12)]
    for payment in payments:
        await enqueue(app, caller(), ProcessRequest(payment.id))
    await relay(app)
    stop = asyncio.Event()
    consuming = asyncio.create_task(Consumer(app).run(stop))
    async with asyncio.timeout(60):
        for payment in payments:
            while (await current(app, payment)).state is not State.CAPTURED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        stop.set()
        await consuming
    assert await queue.receive(10) == []


async def test_batches_go_to_a_topic_side_by_side_and_one_that_fails_is_told(
    in_memory: App,
) -> None:
    client = Counted(boto3.client("sns"))
    topic = SnsTopic(client, client.create_topic(Name="notifications")["TopicArn"])
    messages = [a_message(in_memory) for _ in range(95)]
    await topic.publish(messages)
    assert client.calls.count("publish_batch") == 10
    assert sorted(
        entry["Id"] for asked in client.asked[1:] for entry in asked["PublishBatchRequestEntries"]
    ) == [message.id for message in messages]
    client.failing.add("publish_batch")
    with pytest.raises(Unavailable):
        await topic.publish(messages)
