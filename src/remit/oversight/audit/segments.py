"""The objects of the archived audit trail: a chain of segments, and signatures of its head.

    segments/000000000007.jsonl     a header, then one audit entry a line
    digests/000000000007.json       the segment's number, SHA-256 and number of entries
    checkpoints/000000000007.json   the segment's number and SHA-256, signed

Each header holds the hash of the segment before, so that every change is found: inside a segment
by its digest, of a whole segment by the next header, of the last segment by the digest that is
left. Whoever can write to the bucket could write such a chain anew. The signature of the first
segment of each day keeps them from it: with it, every segment before is signed too. It is also
what the trail begins with once its first segments have reached the end of their retention.
"""

from collections.abc import AsyncIterator
from datetime import datetime

import msgspec

from remit.domain.change import AuditEntry
from remit.ports.audit import Bucket

SEGMENTS = "segments/"
DIGESTS = "digests/"
CHECKPOINTS = "checkpoints/"
GENESIS = "0" * 64
PAGE = 1_000


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first line of a segment. `previous` is the SHA-256 of the segment before, in hex, and
    `previous_at` is when that was archived.
    """

    segment: int
    previous: str
    count: int
    archived_at: datetime
    previous_at: datetime | None = None


class SegmentDigest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The digest of a segment, stored beside it. The newest digest is the head of the chain."""

    segment: int
    sha256: str
    count: int
    archived_at: datetime | None = None


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A segment's number, hash and time, signed with the key `key_id`."""

    segment: int
    sha256: str
    archived_at: datetime
    key_id: str
    signature: bytes

    @property
    def message(self) -> bytes:
        """What is signed."""
        signed = ("remit audit checkpoint", self.segment, self.sha256, self.archived_at)
        return msgspec.json.encode(signed)


START = SegmentDigest(segment=0, sha256=GENESIS, count=0)
"""The head of an empty trail."""

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError)

_header = msgspec.json.Decoder(SegmentHeader)
_entry = msgspec.json.Decoder(AuditEntry)
_digest = msgspec.json.Decoder(SegmentDigest)
_checkpoint = msgspec.json.Decoder(Checkpoint)


def segment_key(number: int) -> str:
    return f"{SEGMENTS}{number:012d}.jsonl"


def digest_key(number: int) -> str:
    return f"{DIGESTS}{number:012d}.json"


def checkpoint_key(number: int) -> str:
    return f"{CHECKPOINTS}{number:012d}.json"


def decode_segment(body: bytes) -> tuple[SegmentHeader | None, list[AuditEntry]]:
    """The header and entries of a segment. No header if it is empty. Raises one of UNREADABLE."""
    lines = body.splitlines()
    header = _header.decode(lines[0]) if lines else None
    return header, [_entry.decode(line) for line in lines[1:]]


async def read_digest(bucket: Bucket, number: int) -> SegmentDigest | None:
    """The digest of a segment, or None if there is none. Raises one of UNREADABLE."""
    body = await bucket.get(digest_key(number))
    return None if body is None else _digest.decode(body)


async def read_segments(bucket: Bucket, after: int) -> AsyncIterator[tuple[int, bytes]]:
    """Every segment numbered above `after`, in order."""
    async for key, body in _read(bucket, SEGMENTS, segment_key(after)):
        name = key.removeprefix(SEGMENTS).removesuffix(".jsonl")
        if name.isascii() and name.isdigit():
            yield int(name), body


async def last_checkpoint(bucket: Bucket) -> Checkpoint | None:
    """The newest checkpoint, or None if there is none that can be read."""
    last = ""
    while keys := await bucket.list(CHECKPOINTS, last, PAGE):
        last = keys[-1]
    body = await bucket.get(last) if last else None
    try:
        return None if body is None else _checkpoint.decode(body)
    except UNREADABLE:
        return None


async def read_checkpoints(bucket: Bucket) -> AsyncIterator[tuple[str, Checkpoint | None]]:
    """Every checkpoint with its key, in order. None for one that cannot be read."""
    async for key, body in _read(bucket, CHECKPOINTS, ""):
        try:
            yield key, _checkpoint.decode(body)
        except UNREADABLE:
            yield key, None


async def _read(bucket: Bucket, prefix: str, last: str) -> AsyncIterator[tuple[str, bytes]]:
    while keys := await bucket.list(prefix, last, PAGE):
        for last in keys:
            if (body := await bucket.get(last)) is not None:
                yield last, body
