"""The laptop's bucket and topics, as plain files in the data folder.

The bucket is a folder with one file for each object. A topic is a file of JSON lines, which
`tail -f` can follow.
"""

import asyncio
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from remit.domain.change import Message

DRAFT = ".draft-"
"""The prefix of a file that is not an object yet."""

TOPIC_FILE_BYTES = 64 * 2**20
"""The size at which a topic's file is renamed. One earlier file is kept."""


class FolderBucket:
    """Bucket in a folder.

    An object is written to a draft, flushed and then linked, so that no reader sees a part of it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put_new(self, key: str, body: bytes) -> bool:
        return await asyncio.to_thread(_put_new, self._folder / key, body)

    async def get(self, key: str) -> bytes | None:
        return await asyncio.to_thread(_get, self._folder / key)

    async def list(self, prefix: str, after: str, limit: int) -> list[str]:
        keys = await asyncio.to_thread(_keys, self._folder, prefix)
        return [key for key in keys if key > after][:limit]


class FileTopic:
    """Publisher to a file, with one JSON line for each message."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def publish(self, messages: Sequence[Message]) -> None:
        lines = b"".join(msgspec.json.encode(message) + b"\n" for message in messages)
        await asyncio.to_thread(_append, self._path, lines)


def _put_new(path: Path, body: bytes) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=DRAFT) as draft:
        draft.write(body)
        draft.flush()
        os.fsync(draft.fileno())
        try:
            path.hardlink_to(draft.name)
        except FileExistsError:
            return False
    flush_folder(path.parent)
    return True


def _get(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _keys(folder: Path, prefix: str) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in (folder / prefix).rglob("*")
        if path.is_file() and not path.name.startswith(DRAFT)
    )


def _append(path: Path, lines: bytes) -> None:
    with suppress(FileNotFoundError):
        if path.stat().st_size > TOPIC_FILE_BYTES:
            path.replace(path.with_suffix(".earlier.jsonl"))
    with path.open("ab") as file:
        file.write(lines)


def flush_folder(folder: Path) -> None:
    """Makes a new file name in the folder durable. An fsync of the file alone does not."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
