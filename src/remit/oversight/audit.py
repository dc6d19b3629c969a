"""The audit trail at rest: sealed segments in a bucket, each holding the hash of the one before.

    segments/000000000007.jsonl   a header line, then one audit entry a line
    seals/000000000007.json       the segment's number, SHA-256 and count

A change inside a segment breaks its seal, a changed or missing segment breaks the next one's
header, and a missing last segment leaves its seal behind. `verify` needs nothing but the bucket.
Whoever can rewrite the whole bucket can rewrite the whole chain: keep the head that `verify` prints
somewhere else, or lock the bucket.
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
DIGESTS = "seals/"
GENESIS = "0" * 64
PAGE = 1_000


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a segment. `previous` is the SHA-256 of the segment before, in hex."""

    segment: int
    previous: str
    count: int
    sealed_at: datetime


class SegmentDigest(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment must still be. The newest seal is the head of the chain."""

    segment: int
    sha256: str
    count: int


class TamperFound(msgspec.Struct, frozen=True, kw_only=True):
    """The first place where the trail is not what was sealed."""

    key: str
    problem: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """The whole trail holds. Keep `head` elsewhere to prove later that nothing was cut off."""

    segments: int
    entries: int
    head: str


_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError)

_header = msgspec.json.Decoder(Header)
_entry = msgspec.json.Decoder(AuditEntry)
_seal = msgspec.json.Decoder(SegmentDigest)


def segment_key(number: int) -> str:
    return f"{SEGMENTS}{number:012d}.jsonl"


def digest_key(number: int) -> str:
    return f"{DIGESTS}{number:012d}.json"


class AuditArchiver:
    """Archives audit entries. Several may run at once: who stores a number first has sealed it.

    Remembers the head it saw last, so that each round only looks for what came after it.
    """

    def __init__(self, app: App, moved: Callable[[], None] = lambda: None) -> None:
        """Calls `moved` on the way through a long trail."""
        self._app = app
        self._moved = moved
        self._head = SegmentDigest(segment=0, sha256=GENESIS, count=0)
        self._caught_up = False

    async def archive(self) -> int:
        """Seals the entries that wait, one segment at most; how many entries that was."""
        if not self._caught_up:
            await self._catch_up()
        entries = await self._app.audit.log.unarchived(self._app.settings.archive_batch)
        if not entries:
            return 0
        number = self._head.segment + 1
        header = Header(
            segment=number,
            previous=self._head.sha256,
            count=len(entries),
            sealed_at=self._app.clock(),
        )
        body = b"".join(msgspec.json.encode(line) + b"\n" for line in (header, *entries))
        if not await self._app.audit.bucket.put_new(segment_key(number), body):
            self._caught_up = False
            return 0
        await self._finish(number, body, entries)
        return len(entries)

    async def _catch_up(self) -> None:
        """Finishes what another archiver, or one that died, stored after the head known here.

        A number that was sealed once is never used again, so that what was cut off stays missing.
        It is read first: a segment is stored before its entries are marked, so it must be there.
        """
        marked = await self._app.database.books.last_segment()
        async for number, body in _segments(self._app.audit.bucket, self._head.segment):
            lines = body.splitlines()[1:]
            await self._finish(number, body, [_entry.decode(line) for line in lines])
            self._moved()
        if self._head.segment < marked:
            self._head = replace(self._head, segment=marked)
        self._caught_up = True

    async def _finish(self, number: int, body: bytes, entries: Sequence[AuditEntry]) -> None:
        seal = SegmentDigest(
            segment=number, sha256=hashlib.sha256(body).hexdigest(), count=len(entries)
        )
        await self._app.audit.bucket.put_new(digest_key(number), msgspec.json.encode(seal))
        await self._app.audit.log.mark_archived([entry.id for entry in entries], number)
        self._head = seal


async def verify(bucket: Bucket) -> Verified | TamperFound:
    """Reads the whole trail, in memory bounded by one segment, and names the first broken place."""
    previous, expected, total = GENESIS, 1, 0
    async for number, body in _segments(bucket, 0):
        key = segment_key(number)
        if number != expected:
            return TamperFound(key=segment_key(expected), problem="the segment is missing")
        if (problem := _check_segment(number, body, previous)) is not None:
            return TamperFound(key=key, problem=problem)
        seal_body = await bucket.get(digest_key(number))
        if seal_body is None:
            return TamperFound(key=digest_key(number), problem="the seal is missing")
        previous = hashlib.sha256(body).hexdigest()
        count = body.count(b"\n") - 1
        try:
            sealed = _seal.decode(seal_body)
        except _UNREADABLE:
            return TamperFound(key=digest_key(number), problem="the seal cannot be read")
        if sealed != SegmentDigest(segment=number, sha256=previous, count=count):
            return TamperFound(key=key, problem="the segment is not the one that was sealed")
        total += count
        expected += 1
    if await bucket.list(DIGESTS, digest_key(expected - 1), 1):
        return TamperFound(key=segment_key(expected), problem="the segment is missing")
    return Verified(segments=expected - 1, entries=total, head=previous)


async def copy_trail(source: Bucket, target: Bucket) -> int:
    """Copies every segment and seal as it is, so the chain is the same; how many are new. What is
    in the target already stays.
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
    lines = body.splitlines()
    try:
        header = _header.decode(lines[0]) if lines else None
        for line in lines[1:]:
            _entry.decode(line)
    except _UNREADABLE:
        return "a line cannot be read"
    if header is None or header.segment != number:
        return "the header is not this segment's"
    if header.previous != previous:
        return "the segment does not follow the one before it"
    if header.count != len(lines) - 1:
        return f"{header.count} entries were sealed and {len(lines) - 1} are there"
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
