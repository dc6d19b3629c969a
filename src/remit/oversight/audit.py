"""The archive of the audit trail: a chain of segments in a bucket.

    segments/000000000007.jsonl   a header, then one audit entry a line
    digests/000000000007.json     the segment's number, SHA-256 and number of entries

Each header holds the hash of the segment before, so that every change is found: inside a segment
by its digest, of a whole segment by the next header, of the last segment by the digest that is
left. `verify` reads the bucket and nothing else; `verify_archived` also compares it with the
database, which knows the number of the last segment. The chain does not protect against a rewrite
of the whole bucket: keep the head that `verify` returns elsewhere, or lock the bucket.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from remit.domain.change import AuditEntry
from remit.ports.app import App
from remit.ports.audit import Bucket

SEGMENTS = "segments/"
DIGESTS = "digests/"
GENESIS = "0" * 64
PAGE = 1_000


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a segment. `previous` is the SHA-256 of the segment before, in hex."""

    segment: int
    previous: str
    count: int
    archived_at: datetime


class SegmentDigest(msgspec.Struct, frozen=True, kw_only=True):
    """The digest of a segment, stored beside it. The newest digest is the head of the chain."""

    segment: int
    sha256: str
    count: int


class TamperFound(msgspec.Struct, frozen=True, kw_only=True):
    """The first object that is missing or differs from what was archived."""

    key: str
    problem: str


class VerifiedTrail(msgspec.Struct, frozen=True, kw_only=True):
    """The whole trail is as it was archived.

    Keep `head` elsewhere, to prove later that the trail was not cut short.
    """

    segments: int
    entries: int
    head: str


_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError)

_header = msgspec.json.Decoder(SegmentHeader)
_entry = msgspec.json.Decoder(AuditEntry)
_digest = msgspec.json.Decoder(SegmentDigest)


def segment_key(number: int) -> str:
    return f"{SEGMENTS}{number:012d}.jsonl"


def digest_key(number: int) -> str:
    return f"{DIGESTS}{number:012d}.json"


class AuditArchiver:
    """Archives audit entries in segments. Several archivers may run at once.

    The bucket decides between them: the first to store a segment's number has archived it. Each
    archiver remembers the head of the chain, so that a round reads only what came after it. It
    calls `report_progress` on its way through a long trail.
    """

    def __init__(self, app: App, report_progress: Callable[[], None] = lambda: None) -> None:
        self._app = app
        self._report_progress = report_progress
        self._head = SegmentDigest(segment=0, sha256=GENESIS, count=0)
        self._is_current = False

    async def archive(self) -> int:
        """Archives the waiting entries, at most one segment of them. Returns how many."""
        if not self._is_current:
            await self._catch_up()
        entries = await self._app.audit.log.unarchived(self._app.settings.archive_batch)
        if not entries:
            return 0
        number = self._head.segment + 1
        header = SegmentHeader(
            segment=number,
            previous=self._head.sha256,
            count=len(entries),
            archived_at=self._app.clock(),
        )
        body = b"".join(msgspec.json.encode(line) + b"\n" for line in (header, *entries))
        if not await self._app.audit.bucket.put_new(segment_key(number), body):
            self._is_current = False
            return 0
        await self._complete(number, body, entries)
        return len(entries)

    async def _catch_up(self) -> None:
        """Completes the segments after the known head that another archiver stored, or one that
        died.

        A number that was archived once is never used again, so that a segment that was cut off
        stays missing. The last number is read first: a segment is stored before its entries are
        marked, so a marked segment must be in the bucket.
        """
        last = await self._app.database.books.last_segment()
        async for number, body in _segments(self._app.audit.bucket, self._head.segment):
            lines = body.splitlines()[1:]
            await self._complete(number, body, [_entry.decode(line) for line in lines])
            self._report_progress()
        if self._head.segment < last:
            self._head = replace(self._head, segment=last)
        self._is_current = True

    async def _complete(self, number: int, body: bytes, entries: Sequence[AuditEntry]) -> None:
        """Stores the segment's digest, marks its entries, and makes it the head."""
        digest = SegmentDigest(
            segment=number, sha256=hashlib.sha256(body).hexdigest(), count=len(entries)
        )
        await self._app.audit.bucket.put_new(digest_key(number), msgspec.json.encode(digest))
        await self._app.audit.log.mark_archived([entry.id for entry in entries], number)
        self._head = digest


async def verify_archived(app: App) -> VerifiedTrail | TamperFound:
    """Verifies the trail of a service that may be archiving, and that its end was not cut off.

    An archiver stores a segment, then its digest, then marks its entries in the database. So the
    number that the database names first must be complete in the bucket afterwards, and the one
    segment after it may still be without its digest.
    """
    last = await app.database.books.last_segment()
    trail = await verify(app.audit.bucket, unmarked_after=last)
    if isinstance(trail, VerifiedTrail) and trail.segments < last:
        return TamperFound(
            key=segment_key(trail.segments + 1),
            problem=f"the segment is missing, and {last} were archived",
        )
    return trail


async def verify(
    bucket: Bucket, *, unmarked_after: int | None = None
) -> VerifiedTrail | TamperFound:
    """Reads the whole trail and names the first object that is wrong.

    It holds one segment in memory at a time. The last segment may be without its digest if its
    number is above `unmarked_after`: it is being archived, and is left out.
    """
    previous, expected, total = GENESIS, 1, 0
    is_incomplete = False
    async for number, body in _segments(bucket, 0):
        key = segment_key(number)
        if is_incomplete:
            return TamperFound(key=digest_key(expected), problem="the digest is missing")
        if number != expected:
            return TamperFound(key=segment_key(expected), problem="the segment is missing")
        if (problem := _check_segment(number, body, previous)) is not None:
            return TamperFound(key=key, problem=problem)
        stored = await bucket.get(digest_key(number))
        if stored is None:
            if unmarked_after is None or number <= unmarked_after:
                return TamperFound(key=digest_key(number), problem="the digest is missing")
            is_incomplete = True
            continue
        previous = hashlib.sha256(body).hexdigest()
        count = body.count(b"\n") - 1
        try:
            digest = _digest.decode(stored)
        except _UNREADABLE:
            return TamperFound(key=digest_key(number), problem="the digest cannot be read")
        if digest != SegmentDigest(segment=number, sha256=previous, count=count):
            return TamperFound(key=key, problem="the segment does not match its digest")
        total += count
        expected += 1
    if await bucket.list(DIGESTS, digest_key(expected - 1), 1):
        return TamperFound(key=segment_key(expected), problem="the segment is missing")
    return VerifiedTrail(segments=expected - 1, entries=total, head=previous)


async def copy_trail(source: Bucket, target: Bucket) -> int:
    """Copies every segment and digest unchanged, so that the chain stays the same.

    Objects that the target has already are left. Returns how many were copied.
    """
    copied = 0
    for prefix in (SEGMENTS, DIGESTS):
        last = ""
        while keys := await source.list(prefix, last, PAGE):
            for last in keys:
                body = await source.get(last)
                copied += body is not None and await target.put_new(last, body)
    return copied


def _check_segment(number: int, body: bytes, previous: str) -> str | None:
    """The problem of the segment, if it has one."""
    lines = body.splitlines()
    try:
        header = _header.decode(lines[0]) if lines else None
        for line in lines[1:]:
            _entry.decode(line)
    except _UNREADABLE:
        return "a line cannot be read"
    if header is None or header.segment != number:
        return "the header names another segment"
    if header.previous != previous:
        return "the segment does not follow the one before it"
    if header.count != len(lines) - 1:
        return f"{header.count} entries were archived and {len(lines) - 1} are there"
    return None


async def _segments(bucket: Bucket, after: int) -> AsyncIterator[tuple[int, bytes]]:
    """Every segment numbered above `after`, in order."""
    last = segment_key(after)
    while keys := await bucket.list(SEGMENTS, last, PAGE):
        for last in keys:
            body = await bucket.get(last)
            name = last.removeprefix(SEGMENTS).removesuffix(".jsonl")
            if body is not None and name.isascii() and name.isdigit():
                yield int(name), body
