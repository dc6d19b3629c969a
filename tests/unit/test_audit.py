"""The archive of the audit trail: each entry is archived once, and every change is found."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec
import pytest

from remit.adapters.aws.operator_client import UnreachablePort
from remit.entrypoints.cli.audit import verify_trail
from remit.oversight.audit.archiver import AuditArchiver
from remit.oversight.audit.segments import digest_key, segment_key
from remit.oversight.audit.verification import TamperFound, VerifiedTrail, verify, verify_archived
from remit.ports.app import App
from remit.ports.audit import Bucket
from remit.settings import Settings
from tests.builders import AppFactory, replace_parts
from tests.unit.steps import a_processed_payment, archive_all, objects_of, store_of


@pytest.fixture
async def app(new_app: AppFactory) -> App:
    """Four payments, whose entries are archived in six segments of two."""
    app = new_app(settings=Settings(archive_batch=2))
    for _ in range(4):
        await a_processed_payment(app)
    await archive_all(app)
    return app


def replace_first(body: bytes, old: bytes, new: bytes) -> bytes:
    assert old in body
    return body.replace(old, new, 1)


async def test_every_entry_is_archived_once_and_in_order(app: App) -> None:
    bodies = [
        body for key, body in sorted(objects_of(app.audit.bucket).items()) if "segments" in key
    ]
    lines = [line for body in bodies for line in body.splitlines()[1:]]
    assert [msgspec.json.decode(line)["id"] for line in lines] == [
        entry.id for entry in store_of(app).audit
    ]
    verified = await verify(app.audit.bucket)
    assert isinstance(verified, VerifiedTrail)
    assert (verified.segments, verified.entries) == (6, 12)
    assert await AuditArchiver(app).archive() == 0


async def test_an_empty_trail_is_verified(in_memory: App) -> None:
    assert await verify(in_memory.audit.bucket) == VerifiedTrail(
        segments=0, entries=0, head="0" * 64
    )


@pytest.mark.parametrize("number", [1, 3, 6])
async def test_a_changed_entry_is_named(app: App, number: int) -> None:
    objects, key = objects_of(app.audit.bucket), segment_key(number)
    objects[key] = replace_first(objects[key], b'"amount_minor":10000', b'"amount_minor":10001')
    assert await verify(app.audit.bucket) == TamperFound(
        key=key, problem="the segment does not match its digest"
    )


async def test_a_removed_or_doubled_line_is_named(app: App) -> None:
    objects, key = objects_of(app.audit.bucket), segment_key(2)
    whole = objects[key]
    header, one, two = whole.splitlines(keepends=True)
    for lines, there in (([header, one], 1), ([header, one, two, two], 3), ([header], 0)):
        objects[key] = b"".join(lines)
        problem = f"2 entries were archived and {there} are there"
        assert await verify(app.audit.bucket) == TamperFound(key=key, problem=problem)
    objects[key] = header + two + one
    assert await verify(app.audit.bucket) == TamperFound(
        key=key, problem="the segment does not match its digest"
    )
    objects[key] = header + one + b"not json\n"
    assert await verify(app.audit.bucket) == TamperFound(key=key, problem="a line cannot be read")
    objects[key] = b""
    assert await verify(app.audit.bucket) == TamperFound(
        key=key, problem="the header names another segment"
    )


@pytest.mark.parametrize("number", [1, 4, 6])
async def test_a_missing_segment_is_named_even_the_last(app: App, number: int) -> None:
    del objects_of(app.audit.bucket)[segment_key(number)]
    assert await verify(app.audit.bucket) == TamperFound(
        key=segment_key(number), problem="the segment is missing"
    )


async def test_a_missing_or_altered_digest_is_named(app: App) -> None:
    objects, key = objects_of(app.audit.bucket), digest_key(5)
    digest = objects.pop(key)
    assert await verify(app.audit.bucket) == TamperFound(key=key, problem="the digest is missing")
    objects[key] = b"\xff"
    assert await verify(app.audit.bucket) == TamperFound(
        key=key, problem="the digest cannot be read"
    )
    objects[key] = replace_first(digest, b'"count":2', b'"count":3')
    assert await verify(app.audit.bucket) == TamperFound(
        key=segment_key(5), problem="the segment does not match its digest"
    )


async def test_segments_that_changed_places_are_named(app: App) -> None:
    objects = objects_of(app.audit.bucket)
    for make in (segment_key, digest_key):
        objects[make(2)], objects[make(3)] = objects[make(3)], objects[make(2)]
    assert await verify(app.audit.bucket) == TamperFound(
        key=segment_key(2), problem="the header names another segment"
    )


async def test_a_segment_with_a_forged_digest_breaks_the_next_one(app: App) -> None:
    objects = objects_of(app.audit.bucket)
    forged = replace_first(objects[segment_key(2)], b'"amount_minor":10000', b'"amount_minor":1')
    objects[segment_key(2)] = forged
    digest = {"segment": 2, "sha256": hashlib.sha256(forged).hexdigest(), "count": 2}
    objects[digest_key(2)] = msgspec.json.encode(digest)
    assert await verify(app.audit.bucket) == TamperFound(
        key=segment_key(3), problem="the segment does not follow the one before it"
    )


async def test_archivers_at_once_archive_each_entry_once(new_app: AppFactory) -> None:
    app = new_app(settings=Settings(archive_batch=3))
    archivers = [AuditArchiver(app) for _ in range(5)]
    for _ in range(5):
        await a_processed_payment(app)
        await asyncio.gather(*(archiver.archive() for archiver in archivers))
    await asyncio.gather(*(archive_all(app) for _ in range(3)))
    verified = await verify(app.audit.bucket)
    assert isinstance(verified, VerifiedTrail)
    assert verified.entries == len(store_of(app).audit) == 15


async def test_a_segment_of_an_archiver_that_died_is_completed_by_the_next(app: App) -> None:
    # It died after it stored the segment, so there is no digest, and the entries are not marked.
    store = store_of(app)
    del objects_of(app.audit.bucket)[digest_key(6)]
    store.segments = {
        entry: segment for entry, segment in store.segments.items() if segment.number != 6
    }
    await a_processed_payment(app)
    await archive_all(app)
    verified = await verify(app.audit.bucket)
    assert isinstance(verified, VerifiedTrail)
    assert verified.entries == len(store.audit) == 15


async def test_a_segment_number_that_was_cut_off_is_never_used_again(app: App) -> None:
    for make in (segment_key, digest_key):
        del objects_of(app.audit.bucket)[make(6)]
    await a_processed_payment(app)
    await archive_all(app)
    assert await verify(app.audit.bucket) == TamperFound(
        key=segment_key(6), problem="the segment is missing"
    )


class ObservedBucket:
    """A bucket that calls `look` before and after each object that is stored."""

    def __init__(self, bucket: Bucket, look: Callable[[], Awaitable[None]]) -> None:
        self._bucket = bucket
        self._look = look
        self.get, self.list = bucket.get, bucket.list

    async def put_new(self, key: str, body: bytes) -> bool:
        await self._look()
        is_new = await self._bucket.put_new(key, body)
        await self._look()
        return is_new


async def test_the_trail_is_whole_at_every_moment_of_its_archiving(in_memory: App) -> None:
    found: list[VerifiedTrail | TamperFound] = []

    async def look() -> None:
        found.append(await verify_archived(in_memory))

    for _ in range(2):
        await a_processed_payment(in_memory)
        bucket = ObservedBucket(in_memory.audit.bucket, look)
        await archive_all(replace(in_memory, audit=replace(in_memory.audit, bucket=bucket)))
    whole = [trail.segments for trail in found if isinstance(trail, VerifiedTrail)]
    assert whole == [0, 0, 0, 1, 1, 1, 1, 1, 1, 2]


async def test_a_digest_may_be_missing_of_the_segment_after_the_last_marked_one_alone(
    app: App,
) -> None:
    store, objects = store_of(app), objects_of(app.audit.bucket)
    del objects[digest_key(6)]
    assert await verify_archived(app) == TamperFound(
        key=digest_key(6), problem="the digest is missing"
    )
    store.segments = {
        entry: segment for entry, segment in store.segments.items() if segment.number < 5
    }
    del objects[digest_key(5)]
    assert await verify_archived(app) == TamperFound(
        key=digest_key(5), problem="the digest is missing"
    )


async def test_an_end_that_was_cut_off_with_its_digest_is_named(app: App) -> None:
    for make in (segment_key, digest_key):
        del objects_of(app.audit.bucket)[make(6)]
    assert isinstance(await verify(app.audit.bucket), VerifiedTrail)
    assert await verify_archived(app) == TamperFound(
        key=segment_key(6), problem="the segment is missing, and 6 were archived"
    )


async def test_without_the_database_a_missing_digest_must_be_missing_again(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    out_of_reach = replace_parts(app, books=UnreachablePort())
    objects, key = objects_of(app.audit.bucket), digest_key(6)
    digest = objects.pop(key)
    looks = 0

    async def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            objects[key] = digest

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert isinstance(await verify_trail(out_of_reach), VerifiedTrail)
    del objects[key]
    assert await verify_trail(out_of_reach) == TamperFound(key=key, problem="the digest is missing")
