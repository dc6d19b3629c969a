"""The folder bucket and the file topics: whole objects, written once, and whole lines."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier, Thread

import msgspec
import pytest

from remit.adapters.files import storage
from remit.adapters.files.storage import FileTopic, FolderBucket
from remit.domain.change import Message, Topic


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    return FolderBucket(tmp_path / "bucket")


def message(number: int, detail: str | None = None) -> Message:
    return Message(
        id=f"m{number}",
        topic=Topic.ALERTS,
        kind="test",
        created_at=datetime(2026, 11, 20, tzinfo=UTC),
        detail=detail,
    )


def ids_in(topic: Path) -> list[str]:
    """The ids of the messages in a topic's file, in order. Every line must be whole."""
    lines = topic.read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Message).id for line in lines]


async def test_an_object_is_read_as_it_was_written(bucket: FolderBucket) -> None:
    body = bytes(range(256)) * 4_000
    assert await bucket.put_new("segments/1.jsonl", body)
    assert await bucket.get("segments/1.jsonl") == body
    assert await bucket.get("segments/2.jsonl") is None


async def test_an_object_is_not_overwritten(bucket: FolderBucket) -> None:
    assert await bucket.put_new("digests/1.json", b"first")
    assert not await bucket.put_new("digests/1.json", b"second")
    assert await bucket.get("digests/1.json") == b"first"


async def test_no_draft_is_left_behind(bucket: FolderBucket, tmp_path: Path) -> None:
    await bucket.put_new("segments/1", b"first")
    await bucket.put_new("segments/1", b"second")
    assert [path.name for path in (tmp_path / "bucket" / "segments").iterdir()] == ["1"]


async def test_keys_are_listed_in_order_after_a_given_key(bucket: FolderBucket) -> None:
    for name in ("b", "a", "d", "c"):
        await bucket.put_new(f"segments/{name}", b"x")
    await bucket.put_new("digests/a", b"x")
    assert await bucket.list("segments/", "", 10) == [f"segments/{name}" for name in "abcd"]
    assert await bucket.list("segments/", "", 2) == ["segments/a", "segments/b"]
    assert await bucket.list("segments/", "segments/b", 10) == ["segments/c", "segments/d"]
    assert await bucket.list("segments/", "segments/d", 10) == []
    assert await bucket.list("nothing/", "", 10) == []


async def test_a_draft_is_not_listed(bucket: FolderBucket, tmp_path: Path) -> None:
    await bucket.put_new("segments/1", b"x")
    (tmp_path / "bucket" / "segments" / ".draft-abc").write_bytes(b"half")
    assert await bucket.list("segments/", "", 10) == ["segments/1"]


def test_of_many_writers_of_one_key_one_wins_and_no_reader_sees_a_part(
    bucket: FolderBucket,
) -> None:
    writers, rounds, size = 8, 10, 200_000
    start = Barrier(writers + 1)
    seen: list[bytes] = []

    def put(key: str, writer: int) -> bool:
        start.wait(10)
        return asyncio.run(bucket.put_new(key, bytes([writer]) * size))

    with ThreadPoolExecutor(writers) as threads:
        for number in range(rounds):
            key = f"segments/{number}"
            puts = [threads.submit(put, key, writer) for writer in range(writers)]
            start.wait(10)
            while not all(result.done() for result in puts):
                if (body := asyncio.run(bucket.get(key))) is not None:
                    seen.append(body)
            winners = [writer for writer, result in enumerate(puts) if result.result()]
            assert len(winners) == 1
            assert asyncio.run(bucket.get(key)) == bytes(winners) * size
    assert {len(body) for body in seen} <= {size}
    assert all(len(set(body)) == 1 for body in seen)


async def test_a_topic_appends_one_whole_line_for_each_message(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    await FileTopic(path).publish([message(1), message(2, "two\nlines")])
    await FileTopic(path).publish([message(3)])
    messages = [msgspec.json.decode(line, type=Message) for line in path.read_bytes().splitlines()]
    assert messages == [message(1), message(2, "two\nlines"), message(3)]
    assert path.read_bytes().endswith(b"\n")


def test_publishers_at_once_never_cut_each_others_lines(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"

    def publish(writer: int) -> None:
        for number in range(25):
            batch = [message(writer * 10_000 + number * 100 + n, "x" * 300) for n in range(40)]
            asyncio.run(FileTopic(path).publish(batch))

    writers = [Thread(target=publish, args=(writer,)) for writer in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    ids = ids_in(path)
    assert (len(ids), len(set(ids))) == (4_000, 4_000)


async def test_a_full_topic_file_is_renamed_and_one_earlier_file_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "TOPIC_FILE_BYTES", 100)
    path, earlier = tmp_path / "alerts.jsonl", tmp_path / "alerts.earlier.jsonl"
    topic = FileTopic(path)
    line = msgspec.json.encode(message(1)) + b"\n"
    assert 50 < len(line) <= 100
    await topic.publish([message(1)])
    await topic.publish([message(2)])
    assert (ids_in(path), earlier.exists()) == (["m1", "m2"], False)
    await topic.publish([message(3)])
    assert (ids_in(path), ids_in(earlier)) == (["m3"], ["m1", "m2"])
    await topic.publish([message(4)])
    await topic.publish([message(5)])
    assert (ids_in(earlier), ids_in(path)) == (["m3", "m4"], ["m5"])
