"""Archives the audit trail: writes its entries to the bucket, segment by segment, and signs them.

What the objects are is in `segments.py`.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import date

import msgspec
from msgspec.structs import replace

from remit.domain.change import AuditEntry
from remit.oversight.audit.segments import (
    DIGESTS,
    PAGE,
    SEGMENTS,
    START,
    UNREADABLE,
    Checkpoint,
    SegmentDigest,
    SegmentHeader,
    checkpoint_key,
    decode_segment,
    digest_key,
    last_checkpoint,
    read_digest,
    read_segments,
    segment_key,
)
from remit.ports.app import App
from remit.ports.audit import ArchivedSegment, Bucket


class AuditArchiver:
    """Archives audit entries in segments. Several archivers may run at once.

    The bucket decides between them: the first to store a segment's number has archived it. Each
    archiver remembers the head of the chain, so that a round reads only what came after it. A new
    one begins at the last segment that the database names. It calls `report_progress` on its way
    through what came after that.
    """

    def __init__(self, app: App, report_progress: Callable[[], None] = lambda: None) -> None:
        self._app = app
        self._report_progress = report_progress
        self._head = START
        self._signed_on: date | None = None
        self._is_current = False

    async def archive(self) -> int:
        """Archives the waiting entries, at most one segment of them. Returns how many.

        The head is signed first if it is of a later day than the newest checkpoint. Without a
        signature nothing more is archived.
        """
        await self.sign()
        entries = await self._app.audit.log.unarchived(self._app.settings.archive_batch)
        if not entries:
            return 0
        number = self._head.segment + 1
        header = SegmentHeader(
            segment=number,
            previous=self._head.sha256,
            count=len(entries),
            archived_at=self._app.clock(),
            previous_at=self._head.archived_at,
        )
        body = b"".join(msgspec.json.encode(line) + b"\n" for line in (header, *entries))
        if not await self._app.audit.bucket.put_new(segment_key(number), body):
            self._is_current = False
            return 0
        await self._complete(header, body, entries)
        return len(entries)

    async def sign(self) -> None:
        """Signs the trail as it is, unless its head is of a day that is signed."""
        if not self._is_current:
            await self._catch_up()
        at = self._head.archived_at
        if at is None or (self._signed_on is not None and at.date() <= self._signed_on):
            return
        signer = self._app.audit.signer
        checkpoint = Checkpoint(
            segment=self._head.segment,
            sha256=self._head.sha256,
            archived_at=at,
            key_id=signer.key_id,
            signature=b"",
        )
        signed = replace(checkpoint, signature=await signer.sign(checkpoint.message))
        key = checkpoint_key(checkpoint.segment)
        await self._app.audit.bucket.put_new(key, msgspec.json.encode(signed))
        self._signed_on = at.date()

    async def _catch_up(self) -> None:
        """Completes the segments after the known head that another archiver stored, or one that
        died. A database that was restored gets the entries back that it has lost.

        A number that was archived once is never used again, so that a segment that was cut off
        stays missing. The last number is read first: a segment is stored before its entries are
        marked, so a marked segment must be in the bucket.
        """
        bucket = self._app.audit.bucket
        last = await self._app.database.books.last_segment()
        if last is not None and self._head.segment < last.number:
            self._head = await _find_digest(bucket, last.number) or replace(
                self._head, segment=last.number, archived_at=last.archived_at
            )
        async for _, body in read_segments(bucket, self._head.segment):
            header, entries = decode_segment(body)
            if header is not None:
                await self._app.audit.log.restore(entries)
                await self._complete(header, body, entries)
            self._report_progress()
        checkpoint = await last_checkpoint(bucket)
        self._signed_on = None if checkpoint is None else checkpoint.archived_at.date()
        self._is_current = True

    async def _complete(
        self, header: SegmentHeader, body: bytes, entries: Sequence[AuditEntry]
    ) -> None:
        """Stores the segment's digest, marks its entries, and makes it the head."""
        digest = SegmentDigest(
            segment=header.segment,
            sha256=hashlib.sha256(body).hexdigest(),
            count=len(entries),
            archived_at=header.archived_at,
        )
        bucket, log = self._app.audit.bucket, self._app.audit.log
        await bucket.put_new(digest_key(digest.segment), msgspec.json.encode(digest))
        entry_ids = [entry.id for entry in entries]
        await log.mark_archived(entry_ids, ArchivedSegment(digest.segment, header.archived_at))
        self._head = digest


async def copy_trail(source: Bucket, target: Bucket) -> int:
    """Copies every segment and digest unchanged, so that the chain stays the same. Checkpoints are
    not copied: the target has another key.

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


async def _find_digest(bucket: Bucket, number: int) -> SegmentDigest | None:
    try:
        return await read_digest(bucket, number)
    except UNREADABLE:
        return None
