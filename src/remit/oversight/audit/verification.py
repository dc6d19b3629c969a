"""Verifies the archived audit trail: nothing in it was changed, removed or reordered.

What the objects are is in `segments.py`. Segments that have reached the end of their retention may
be gone, all or some of them: the bucket deletes each object by itself. The oldest one that is left
names the hash of the one before, and a signed checkpoint after it vouches for that.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime

import msgspec

from remit.domain.change import AuditEntry
from remit.oversight.audit.segments import (
    CHECKPOINTS,
    DIGESTS,
    GENESIS,
    UNREADABLE,
    Checkpoint,
    SegmentDigest,
    SegmentHeader,
    checkpoint_key,
    decode_segment,
    digest_key,
    read_checkpoints,
    read_digest,
    read_segments,
    segment_key,
)
from remit.ports.app import App
from remit.ports.audit import Bucket, Signer


class TamperFound(msgspec.Struct, frozen=True, kw_only=True):
    """The first object that is missing or differs from what was archived."""

    key: str
    problem: str


class VerifiedTrail(msgspec.Struct, frozen=True, kw_only=True):
    """The whole trail is as it was archived, from the segment `first` on: those before it have
    reached the end of their retention.

    Keep `head` elsewhere, to prove later that the trail was not cut short.
    """

    segments: int
    entries: int
    head: str
    first: int = 1

    @property
    def last(self) -> int:
        return self.first + self.segments - 1


CheckEntries = Callable[[Sequence[AuditEntry]], Awaitable[str | None]]
"""What is wrong with the entries of a segment, or None."""


async def verify_archived(app: App) -> VerifiedTrail | TamperFound:
    """Verifies the trail of a service that may be archiving: its signatures, that its end was not
    cut off, and that the database has every entry as it was archived.

    An archiver stores a segment, then its digest, then marks its entries in the database. So the
    number that the database names first must be complete in the bucket afterwards, and the one
    segment after it may still be without its digest.
    """
    last = await app.database.books.last_segment()

    async def compare(entries: Sequence[AuditEntry]) -> str | None:
        ids = [entry.id for entry in entries]
        stored = {entry.id: entry for entry in await app.database.books.audit_entries(ids)}
        for entry in entries:
            if entry.id not in stored:
                return f"its entry {entry.id} is not in the database"
            if stored[entry.id] != entry:
                return f"its entry {entry.id} is another one in the database"
        return None

    number = 0 if last is None else last.number
    expired_before = app.settings.audit_expired_before(app.clock())
    trail = await verify(
        app.audit.bucket,
        app.audit.signer,
        expired_before=expired_before,
        unmarked_after=number,
        check_entries=compare,
    )
    is_short = isinstance(trail, VerifiedTrail) and trail.last < number
    if not is_short or (last is not None and _is_before(last.archived_at, expired_before)):
        return trail
    return TamperFound(
        key=segment_key(trail.last + 1 if isinstance(trail, VerifiedTrail) else number),
        problem=f"the segment is missing, and {number} were archived",
    )


async def verify_bucket(app: App) -> VerifiedTrail | TamperFound:
    """Verifies the trail and its signatures without the database."""
    expired_before = app.settings.audit_expired_before(app.clock())
    return await verify(app.audit.bucket, app.audit.signer, expired_before=expired_before)


async def verify(
    bucket: Bucket,
    signer: Signer | None = None,
    *,
    expired_before: datetime | None = None,
    unmarked_after: int | None = None,
    check_entries: CheckEntries | None = None,
) -> VerifiedTrail | TamperFound:
    """Reads the whole trail and names the first object that is wrong.

    It holds one segment in memory at a time. Without a `signer` checkpoints are not looked at. What
    was archived before `expired_before` may be gone. The last segment may be without its digest if
    its number is above `unmarked_after`: it is being archived, and is left out.
    """
    checkpoints: dict[int, Checkpoint] = {}
    if signer is not None:
        async for key, checkpoint in read_checkpoints(bucket):
            if checkpoint is None:
                return TamperFound(key=key, problem="the checkpoint cannot be read")
            is_signed = await signer.is_valid(checkpoint.message, checkpoint.signature)
            if not is_signed or key != checkpoint_key(checkpoint.segment):
                return TamperFound(key=key, problem="the checkpoint's signature is wrong")
            checkpoints[checkpoint.segment] = checkpoint
    walk = _Walk(bucket, checkpoints, expired_before, unmarked_after)
    async for number, body in read_segments(bucket, 0):
        entries = await walk.take(number, body)
        if isinstance(entries, TamperFound):
            return entries
        if check_entries is not None and (problem := await check_entries(entries)) is not None:
            return TamperFound(key=segment_key(number), problem=problem)
    return await walk.end(needs_checkpoint=signer is not None)


class _Walk:
    """The way along the chain, from its oldest segment to its newest."""

    def __init__(
        self,
        bucket: Bucket,
        checkpoints: Mapping[int, Checkpoint],
        expired_before: datetime | None,
        unmarked_after: int | None,
    ) -> None:
        self._bucket = bucket
        self._checkpoints = checkpoints
        self._expired_before = expired_before
        self._unmarked_after = unmarked_after
        self._first = 1
        self._expected = 1
        self._previous = GENESIS
        self._last_at: datetime | None = None
        self._signed_until: date | None = None
        self._total = 0
        self._is_incomplete = False

    async def take(self, number: int, body: bytes) -> Sequence[AuditEntry] | TamperFound:
        """The entries of the next segment, once it is verified."""
        key = segment_key(number)
        if self._is_incomplete:
            return TamperFound(key=digest_key(self._expected), problem="the digest is missing")
        try:
            header, entries = decode_segment(body)
        except UNREADABLE:
            header, entries = None, []
            if number == self._expected:
                return TamperFound(key=key, problem="a line cannot be read")
        if number != self._expected:
            if header is None or not _is_before(header.previous_at, self._expired_before):
                missing = segment_key(self._expected)
                return TamperFound(key=missing, problem="the segment is missing")
            if (found := self._begin(header)) is not None:
                return found
        elif (unsigned := self._find_unsigned_day()) is not None:
            return unsigned
        if header is None or header.segment != number:
            return TamperFound(key=key, problem="the header names another segment")
        if (problem := _problem_of(header, entries, self._previous)) is not None:
            return TamperFound(key=key, problem=problem)
        is_complete = await self._check_digests(header, body)
        if isinstance(is_complete, TamperFound):
            return is_complete
        if not is_complete:
            self._is_incomplete = True
            return ()
        self._previous = hashlib.sha256(body).hexdigest()
        self._last_at = header.archived_at
        self._total += len(entries)
        self._expected += 1
        return entries

    def _begin(self, header: SegmentHeader) -> TamperFound | None:
        """Begins with the oldest segment whose retention is not over."""
        number = header.segment
        self._first, self._expected, self._previous = number, number, header.previous
        self._total = 0
        earlier = [c for c in self._checkpoints.values() if c.segment < number]
        self._signed_until = max((c.archived_at.date() for c in earlier), default=None)
        before = self._checkpoints.get(number - 1)
        if before is not None and before.sha256 != header.previous:
            key = segment_key(number)
            return TamperFound(key=key, problem="the segment does not follow the one before it")
        return None

    async def end(self, *, needs_checkpoint: bool) -> VerifiedTrail | TamperFound:
        """The verified trail, unless its end is missing."""
        segments = self._expected - self._first
        newest = max(self._checkpoints.values(), key=lambda c: c.segment, default=None)
        has_more = newest is not None and newest.segment >= self._expected
        if has_more and newest and not _is_before(newest.archived_at, self._expired_before):
            return TamperFound(key=segment_key(self._expected), problem="the segment is missing")
        is_kept = not _is_before(self._last_at, self._expired_before)
        if needs_checkpoint and newest is None and segments > 1 and is_kept:
            return TamperFound(key=CHECKPOINTS, problem="no checkpoint is there")
        for key in await self._bucket.list(DIGESTS, digest_key(self._expected - 1), 1):
            digest = await self._read_digest(int(key[len(DIGESTS) : -len(".json")]))
            is_expired = digest and _is_before(digest.archived_at, self._expired_before)
            if not is_expired:
                missing = segment_key(self._expected)
                return TamperFound(key=missing, problem="the segment is missing")
        return VerifiedTrail(
            segments=segments, entries=self._total, head=self._previous, first=self._first
        )

    async def _check_digests(self, header: SegmentHeader, body: bytes) -> TamperFound | bool:
        """Compares a segment with its digest and its checkpoint, if it has one. False if it is
        being archived, so that it has no digest yet.
        """
        number, sha256 = header.segment, hashlib.sha256(body).hexdigest()
        try:
            digest = await read_digest(self._bucket, number)
        except UNREADABLE:
            return TamperFound(key=digest_key(number), problem="the digest cannot be read")
        if digest is None and not _is_before(header.archived_at, self._expired_before):
            if self._unmarked_after is None or number <= self._unmarked_after:
                return TamperFound(key=digest_key(number), problem="the digest is missing")
            return False
        expected = SegmentDigest(
            segment=number,
            sha256=sha256,
            count=header.count,
            archived_at=digest.archived_at and header.archived_at if digest else None,
        )
        if digest is not None and digest != expected:
            return TamperFound(
                key=segment_key(number), problem="the segment does not match its digest"
            )
        checkpoint = self._checkpoints.get(number)
        if checkpoint is None:
            return True
        if (checkpoint.sha256, checkpoint.archived_at) != (sha256, header.archived_at):
            return TamperFound(
                key=checkpoint_key(number), problem="another segment was signed than is there"
            )
        self._signed_until = max(checkpoint.archived_at.date(), self._signed_until or date.min)
        return True

    def _find_unsigned_day(self) -> TamperFound | None:
        """The segment before, if its day has no checkpoint although one was signed before it. The
        next segment is archived after that.
        """
        if self._signed_until is None or self._last_at is None:
            return None
        if self._last_at.date() <= self._signed_until:
            return None
        key = checkpoint_key(self._expected - 1)
        day = self._last_at.date()
        return TamperFound(key=key, problem=f"no checkpoint of {day} is there")

    async def _read_digest(self, number: int) -> SegmentDigest | None:
        try:
            return await read_digest(self._bucket, number)
        except UNREADABLE:
            return None


def _problem_of(header: SegmentHeader, entries: Sequence[AuditEntry], previous: str) -> str | None:
    if header.previous != previous:
        return "the segment does not follow the one before it"
    if header.count != len(entries):
        return f"{header.count} entries were archived and {len(entries)} are there"
    return None


def _is_before(at: datetime | None, expired_before: datetime | None) -> bool:
    """Whether what was archived then has reached the end of its retention."""
    return at is not None and expired_before is not None and at < expired_before
