"""The API keeps its own OpenAPI document: every call that it allows, and many that it forbids."""

from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from remit.settings import Settings
from tests.builders import memory_app
from tests.integration.served import Served
from tests.service import free_port


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    chosen = Settings(port=free_port(), rate_burst=10**9)
    with Served(memory_app(tmp_path_factory.mktemp("described"), settings=chosen)) as served:
        yield served


def test_every_call_is_answered_as_the_document_says(described: Served) -> None:
    schema = schemathesis.openapi.from_url(f"{described.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) == 5
    for operation in operations:

        @settings(
            max_examples=60,
            derandomize=True,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        )
        @given(case=operation.as_strategy())
        def call(case: Any) -> None:
            # Without that one check: a currency or a card that fits its pattern may not exist.
            case.call_and_validate(
                headers={"x-api-key": described.key}, excluded_checks=[positive_data_acceptance]
            )

        call()


def test_the_page_shows_every_path_and_needs_no_script(described: Served) -> None:
    with urlopen(f"{described.url}/docs") as response:
        page, headers = response.read().decode(), response.headers
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "<script" not in page
    document = described.get("/openapi.json").body
    assert document["openapi"] == "3.1.0"
    assert [path for path in document["paths"] if path not in page] == []
