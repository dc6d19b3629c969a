"""What a payment is said to use is what the service uses in memory, where it is counted."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from remit.adapters.aws import sns
from remit.adapters.files.vault import EnvelopeVault, FileKey
from remit.delivery.relay import relay
from remit.domain.change import Message
from remit.entrypoints.worker import METRICS_INTERVAL_SECONDS, MONITOR_INTERVAL_SECONDS
from remit.oversight.audit.archiver import AuditArchiver
from remit.payments.process import ProcessRequest, process
from remit.payments.results import Accepted
from remit.payments.validate import validate
from remit.ports.app import App
from remit.settings import Settings
from remit_infra.plan.cost_containers import METRICS_SECONDS, MONITOR_SECONDS, QUEUE_WAIT_SECONDS
from remit_infra.plan.pricing import MONTH_MINUTES
from remit_infra.plan.usage import ENTRIES_PER_SEGMENT, KMS_REQUESTS, MESSAGES_PER_PUBLISH, USES
from tests.builders import caller, memory_app, order, plain_card

PAYMENTS = 20


class CountingKey(FileKey):
    """A master key that counts its requests, as KMS does."""

    def __init__(self) -> None:
        super().__init__(bytes(32))
        self.requests = Counter[str]()

    async def new_data_key(self) -> tuple[bytes, bytes]:
        self.requests["new"] += 1
        return await super().new_data_key()

    async def unwrap(self, wrapped: bytes) -> bytes:
        self.requests["unwrap"] += 1
        return await super().unwrap(wrapped)


@dataclass
class Delivered:
    """What was sent, and how many objects were put."""

    messages: list[Message] = field(default_factory=list)
    objects: int = 0


async def relay_and_archive(app: App, delivered: Delivered) -> None:
    delivered.messages += await relay(app)
    delivered.objects += 2 * bool(await AuditArchiver(app).archive())


async def pay(app: App) -> None:
    validated = await validate(app, caller(), order(), None)
    assert isinstance(validated, Accepted)
    await process(app, caller(), ProcessRequest(validated.payment.id))


def test_a_payment_is_two_notifications_and_no_work_for_the_queue(tmp_path: Path) -> None:
    app, delivered = memory_app(tmp_path), Delivered()

    async def scenario() -> None:
        await pay(app)
        await relay_and_archive(app, delivered)

    asyncio.run(scenario())
    assert [message.topic for message in delivered.messages] == ["notifications"] * 2
    for use in USES.values():
        assert use.batched["sns_publish"].alone == 2
    assert USES["fargate-aurora"].number["sqs_request"] < 0.1


def test_each_step_by_itself_is_a_segment_and_its_digest(tmp_path: Path) -> None:
    app, delivered = memory_app(tmp_path), Delivered()

    async def scenario() -> None:
        validated = await validate(app, caller(), order(), None)
        assert isinstance(validated, Accepted)
        await relay_and_archive(app, delivered)
        await process(app, caller(), ProcessRequest(validated.payment.id))
        await relay_and_archive(app, delivered)

    asyncio.run(scenario())
    assert delivered.objects == USES["fargate-aurora"].batched["s3_put"].alone == 4


def test_payments_of_one_round_share_a_segment(tmp_path: Path) -> None:
    app, delivered = memory_app(tmp_path), Delivered()

    async def scenario() -> None:
        for _ in range(PAYMENTS):
            await pay(app)
        await relay_and_archive(app, delivered)

    asyncio.run(scenario())
    packed = USES["lambda-postgres"].batched["s3_put"]
    assert (delivered.objects, packed.rounds) == (2, 2 * MONTH_MINUTES)
    assert packed.packed == 2 * 3 / app.settings.archive_batch


def test_one_data_key_serves_many_cards(tmp_path: Path) -> None:
    key = CountingKey()
    vault = EnvelopeVault(key, lambda: bytes(32))
    app = replace(memory_app(tmp_path), vault=vault)

    async def scenario() -> None:
        for _ in range(PAYMENTS):
            await pay(app)
        # Another process decrypts what this one encrypted.
        other = EnvelopeVault(key, lambda: bytes(32))
        for number in range(PAYMENTS):
            await other.decrypt(
                await vault.encrypt(plain_card(), f"payment-{number}"), f"payment-{number}"
            )

    asyncio.run(scenario())
    assert key.requests == {"new": 1, "unwrap": 1}
    assert KMS_REQUESTS * 1_000_000 > 3 * MONTH_MINUTES / 5


def test_a_worker_without_work_makes_requests_as_often_as_the_estimate_says() -> None:
    settings = Settings()
    assert settings.work_wait_seconds == QUEUE_WAIT_SECONDS
    assert (MONITOR_INTERVAL_SECONDS, METRICS_INTERVAL_SECONDS) == (
        MONITOR_SECONDS,
        METRICS_SECONDS,
    )
    assert settings.archive_batch == ENTRIES_PER_SEGMENT
    assert sns.BATCH == MESSAGES_PER_PUBLISH
