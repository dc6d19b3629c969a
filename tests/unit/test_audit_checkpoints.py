"""The archived trail over time: signed once a day, and verified when its beginning is gone."""

import hashlib

import msgspec
import pytest
from msgspec.structs import replace

from remit.adapters.memory.services import MemorySigner
from remit.oversight.audit.archiver import AuditArchiver, copy_trail
from remit.oversight.audit.segments import (
    CHECKPOINTS,
    DIGESTS,
    SEGMENTS,
    Checkpoint,
    SegmentDigest,
    checkpoint_key,
    decode_segment,
    digest_key,
    segment_key,
)
from remit.oversight.audit.verification import (
    TamperFound,
    VerifiedTrail,
    verify,
    verify_archived,
)
from remit.ports.app import App
from remit.settings import Settings
from tests.builders import AppFactory, clock_of, replace_parts
from tests.unit.steps import a_processed_payment, archive_all, objects_of, store_of

RETENTION_DAYS = 90
DAYS = 10


async def a_day(app: App) -> None:
    """Two payments, whose six entries are archived in three segments, and the night after."""
    for _ in range(2):
        await a_processed_payment(app)
    await archive_all(app)
    clock_of(app).advance(24 * 3600)


@pytest.fixture
async def app(new_app: AppFactory) -> App:
    """Ten days with three segments each, in a bucket that keeps them for ninety."""
    app = new_app(settings=Settings(archive_batch=2, audit_retention_days=RETENTION_DAYS))
    for _ in range(DAYS):
        await a_day(app)
    return app


def keys_of(app: App, prefix: str) -> list[str]:
    return sorted(key for key in objects_of(app.audit.bucket) if key.startswith(prefix))


def expire(app: App, segments: int) -> None:
    """Lets the time pass after which the bucket deletes the first segments, and deletes them."""
    clock_of(app).advance((RETENTION_DAYS - DAYS + (segments + 2) // 3) * 24 * 3600)
    objects = objects_of(app.audit.bucket)
    for number in range(1, segments + 1):
        for make in (segment_key, digest_key, checkpoint_key):
            objects.pop(make(number), None)


async def whole(app: App) -> VerifiedTrail:
    trail = await verify_archived(app)
    assert isinstance(trail, VerifiedTrail), trail
    return trail


async def test_the_first_segment_of_each_day_is_signed(app: App) -> None:
    first_of_days = [checkpoint_key(3 * day + 1) for day in range(DAYS)]
    # The last day's is written before the next segment is.
    assert keys_of(app, CHECKPOINTS) == first_of_days
    assert (await whole(app)).segments == 3 * DAYS


async def test_a_new_archiver_begins_at_the_last_segment(app: App) -> None:
    """It reads neither the whole trail again nor marks its entries again."""
    bucket, read = app.audit.bucket, []
    get = bucket.get

    async def observe(key: str) -> bytes | None:
        read.append(key)
        return await get(key)

    bucket.get = observe  # type: ignore[method-assign]
    await a_processed_payment(app)
    await archive_all(app)
    bucket.get = get  # type: ignore[method-assign]
    assert not [key for key in read if key.startswith(SEGMENTS)]
    assert read[0] == digest_key(3 * DAYS)
    assert len([key for key in read if key.startswith(CHECKPOINTS)]) <= 3
    assert (await whole(app)).segments == 3 * DAYS + 2


@pytest.mark.parametrize("segments", [1, 2, 3, 9, 27])
async def test_a_trail_whose_beginning_has_expired_is_whole(app: App, segments: int) -> None:
    expire(app, segments)
    trail = await whole(app)
    assert (trail.first, trail.last) == (segments + 1, 3 * DAYS)
    await a_day(app)
    assert (await whole(app)).last == 3 * DAYS + 3


async def test_a_bucket_may_be_in_the_middle_of_deleting_what_has_expired(app: App) -> None:
    expire(app, 6)
    objects = objects_of(app.audit.bucket)
    for number in (8, 9):
        del objects[segment_key(number)]
    del objects[digest_key(7)]
    clock_of(app).advance(24 * 3600)
    assert (await whole(app)).first == 10


async def test_a_trail_of_which_everything_has_expired_is_whole(app: App) -> None:
    expire(app, 3 * DAYS)
    assert (await whole(app)).segments == 0
    await a_day(app)
    assert (await whole(app)).first == 3 * DAYS + 1


async def test_a_beginning_that_is_gone_before_its_time_is_named(app: App) -> None:
    objects = objects_of(app.audit.bucket)
    for number in (1, 2, 3):
        del objects[segment_key(number)], objects[digest_key(number)]
    assert await verify_archived(app) == TamperFound(
        key=segment_key(1), problem="the segment is missing"
    )


async def test_nothing_expires_where_no_retention_is_set(new_app: AppFactory) -> None:
    app = new_app(settings=Settings(archive_batch=2))
    for _ in range(DAYS):
        await a_day(app)
    expire(app, 1)
    clock_of(app).advance(10_000 * 24 * 3600)
    assert await verify_archived(app) == TamperFound(
        key=segment_key(1), problem="the segment is missing"
    )


def rewrite_from(app: App, number: int) -> None:
    """Changes a segment, and makes the chain after it anew, as one could who writes the bucket."""
    objects = objects_of(app.audit.bucket)
    previous = ""
    while (body := objects.get(segment_key(number))) is not None:
        header, entries = decode_segment(body)
        assert header is not None
        if previous:
            header = replace(header, previous=previous)
        else:
            entries[0] = replace(entries[0], actor="key:another")
        lines = [msgspec.json.encode(line) + b"\n" for line in (header, *entries)]
        objects[segment_key(number)] = body = b"".join(lines)
        previous = hashlib.sha256(body).hexdigest()
        digest = SegmentDigest(
            segment=number, sha256=previous, count=len(entries), archived_at=header.archived_at
        )
        objects[digest_key(number)] = msgspec.json.encode(digest)
        number += 1


@pytest.mark.parametrize("number", [2, 5, 25])
async def test_a_trail_that_was_written_anew_is_not_what_was_signed(app: App, number: int) -> None:
    rewrite_from(app, number)
    assert isinstance(await verify(app.audit.bucket), VerifiedTrail)
    signed = 3 * ((number + 1) // 3) + 1
    assert await verify(app.audit.bucket, app.audit.signer) == TamperFound(
        key=checkpoint_key(signed), problem="another segment was signed than is there"
    )


async def test_a_signature_that_another_key_made_is_named(app: App) -> None:
    rewrite_from(app, 3 * DAYS - 1)
    objects, key = objects_of(app.audit.bucket), checkpoint_key(3 * DAYS - 2)
    checkpoint = msgspec.json.decode(objects[key], type=Checkpoint)
    signature = await MemorySigner("another").sign(checkpoint.message)
    objects[key] = msgspec.json.encode(replace(checkpoint, signature=signature))
    assert await verify_archived(app) == TamperFound(
        key=key, problem="the checkpoint's signature is wrong"
    )
    objects[key] = b"{}"
    assert await verify_archived(app) == TamperFound(
        key=key, problem="the checkpoint cannot be read"
    )


@pytest.mark.parametrize("gone", [[10], [10, 13], list(range(10, 28, 3))])
async def test_a_day_without_its_signature_is_named(app: App, gone: list[int]) -> None:
    """So nobody can write a trail anew from the middle of a day on."""
    for number in gone:
        del objects_of(app.audit.bucket)[checkpoint_key(number)]
    assert await verify_archived(app) == TamperFound(
        key=checkpoint_key(10), problem="no checkpoint of 2026-11-23 is there"
    )


async def test_a_trail_without_any_signature_is_named(app: App) -> None:
    for key in keys_of(app, CHECKPOINTS):
        del objects_of(app.audit.bucket)[key]
    assert await verify_archived(app) == TamperFound(
        key=CHECKPOINTS, problem="no checkpoint is there"
    )


async def test_an_end_that_was_cut_off_was_signed(app: App) -> None:
    """Without the database, too."""
    for number in (28, 29, 30):
        for make in (segment_key, digest_key):
            del objects_of(app.audit.bucket)[make(number)]
    assert await verify(app.audit.bucket, app.audit.signer) == TamperFound(
        key=segment_key(28), problem="the segment is missing"
    )


class DeadSigner(MemorySigner):
    async def sign(self, message: bytes) -> bytes:
        raise ConnectionRefusedError


async def test_without_a_signature_nothing_more_is_archived(app: App) -> None:
    await a_processed_payment(app)
    deaf = replace_parts(app, signer=DeadSigner())
    archiver = AuditArchiver(deaf)
    assert await archiver.archive() == 2
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            await archiver.archive()
    assert (await whole(app)).last == 3 * DAYS + 1


async def test_a_copied_trail_is_signed_with_the_key_of_its_new_place(app: App) -> None:
    other = replace_parts(app, signer=MemorySigner("other"), bucket=type(app.audit.bucket)())
    await copy_trail(app.audit.bucket, other.audit.bucket)
    assert isinstance(await verify_archived(other), TamperFound)
    await AuditArchiver(other).sign()
    assert (await whole(other)).segments == 3 * DAYS
    assert len(keys_of(other, DIGESTS)) == 3 * DAYS
    assert keys_of(other, CHECKPOINTS) == [checkpoint_key(3 * DAYS)]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("remove", "its entry {id} is not in the database"),
        ("alter", "its entry {id} is another one in the database"),
    ],
)
async def test_an_entry_that_was_changed_in_the_database_is_named(
    app: App, change: str, problem: str
) -> None:
    store = store_of(app)
    entry = store.audit[7]
    store.audit[7:8] = [] if change == "remove" else [replace(entry, actor="key:another")]
    assert await verify_archived(app) == TamperFound(
        key=segment_key(4), problem=problem.format(id=entry.id)
    )


async def test_a_restored_database_gets_back_the_entries_that_it_lost(app: App) -> None:
    store = store_of(app)
    whole_trail = list(store.audit)
    del store.audit[30:]
    kept = {entry.id for entry in store.audit}
    store.segments = {id_: segment for id_, segment in store.segments.items() if id_ in kept}
    assert isinstance(await verify_archived(app), TamperFound)
    await archive_all(app)
    assert store.audit == whole_trail
    assert (await whole(app)).segments == 3 * DAYS


async def test_clocks_that_disagree_about_the_day_break_nothing(new_app: AppFactory) -> None:
    """Around midnight, archivers in turn, of which one is behind."""
    app = new_app(settings=Settings(archive_batch=2))
    clock = clock_of(app)
    clock.advance(12 * 3600 - 60)
    archivers = [AuditArchiver(app) for _ in range(2)]
    for number in range(8):
        await a_processed_payment(app)
        clock.advance(180 if number % 2 else -120)
        for archiver in archivers:
            await archiver.archive()
    await archive_all(app)
    assert (await whole(app)).segments > 8
