"""The real clock and ids."""

import time
from datetime import UTC
from uuid import RFC_4122, UUID

import pytest

from remit.clock_and_ids import Ids, new_id, now
from remit.domain.ids import is_id


def test_an_id_is_a_uuid_of_version_7_that_holds_the_time() -> None:
    before = time.time_ns() // 1_000_000
    id_ = new_id()
    after = time.time_ns() // 1_000_000
    parsed = UUID(id_)
    assert (str(parsed), parsed.version, parsed.variant) == (id_, 7, RFC_4122)
    assert before <= parsed.int >> 80 <= after
    assert is_id(id_)


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    ids = [new_id() for _ in range(20_000)]
    assert ids == sorted(set(ids))
    assert all(is_id(id_) for id_ in ids)


def test_ids_keep_their_order_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([2_000_000_999_999, 2_000_000_999_999, 1_000_000_000_000, 2_000_001_000_001])
    monkeypatch.setattr("remit.clock_and_ids.time_ns", lambda: next(times))
    new_id = Ids()
    ids = [new_id() for _ in range(4)]
    assert ids == sorted(set(ids))
    assert [UUID(id_).int >> 80 for id_ in ids] == [2_000_000, 2_000_001, 2_000_001, 2_000_001]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "order-1",
        "018f4e7c-1234-4abc-8def-0123456789ab",
        "018f4e7c-1234-7abc-0def-0123456789ab",
        "018F4E7C-1234-7ABC-8DEF-0123456789AB",
        "018f4e7c-1234-7abc-8def-0123456789ab".replace("-", ""),
        "018f4e7c-1234-7abc-8def-0123456789ab\n",
    ],
    ids=["empty", "word", "version 4", "variant", "capitals", "no dashes", "newline"],
)
def test_text_of_another_form_is_no_id(text: str) -> None:
    assert not is_id(text)


def test_the_clock_is_in_utc() -> None:
    assert now().tzinfo is UTC
