"""The assembled service's own ids, clock, and what it needs before it starts."""

import time
from datetime import UTC
from pathlib import Path
from uuid import RFC_4122, UUID

import pytest

from remit.assembly.service import assemble
from remit.clock_and_ids import Ids, new_id, now
from remit.domain.ids import is_id
from remit.settings import Settings, SettingsError


def test_an_id_is_a_uuid_of_version_7_that_holds_the_time() -> None:
    before = time.time_ns() // 1_000_000
    made = new_id()
    after = time.time_ns() // 1_000_000
    read = UUID(made)
    assert (str(read), read.version, read.variant) == (made, 7, RFC_4122)
    assert before <= read.int >> 80 <= after
    assert is_id(made)


def test_ids_made_in_a_row_sort_in_that_row() -> None:
    made = [new_id() for _ in range(20_000)]
    assert made == sorted(set(made))
    assert all(is_id(one) for one in made)


def test_ids_keep_their_order_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([2_000_000_999_999, 2_000_000_999_999, 1_000_000_000_000, 2_000_001_000_001])
    monkeypatch.setattr("remit.clock_and_ids.time_ns", lambda: next(times))
    ids = Ids()
    made = [ids() for _ in range(4)]
    assert made == sorted(set(made))
    assert [UUID(one).int >> 80 for one in made] == [2_000_000, 2_000_001, 2_000_001, 2_000_001]


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
def test_other_text_is_no_id(text: str) -> None:
    assert not is_id(text)


def test_the_clock_is_in_utc() -> None:
    assert now().tzinfo is UTC


def test_without_a_database_nothing_is_assembled(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="REMIT_DATABASE_URL is not set"):
        assemble(Settings(data_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []
