"""The API keeps its own OpenAPI document: every call that it allows, and many that it forbids."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from remit.domain.errors import InvalidRequest
from remit.http.errors import HTTP_ERRORS, STATUSES
from remit.settings import Settings
from remit_infra.emulated.ports import free_port
from tests.builders import memory_app
from tests.integration.http_server import HttpServer


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    chosen = Settings(port=free_port(), rate_burst=10**9)
    with HttpServer(memory_app(tmp_path_factory.mktemp("described"), settings=chosen)) as server:
        yield server


def test_every_response_is_as_the_document_says(described: HttpServer) -> None:
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


def test_the_document_is_right_wherever_the_service_is(described: HttpServer) -> None:
    """It names no host, no port and no scheme: behind a proxy all of them are others."""
    document = described.get("/openapi.json").body
    assert (document["openapi"], document["servers"]) == ("3.1.0", [{"url": "/"}])
    assert str(described.app.settings.port) not in json.dumps(document)


def test_every_operation_stands_in_a_chapter(described: HttpServer) -> None:
    document = described.get("/openapi.json").body
    operations = [one for path in document["paths"].values() for one in path.values()]
    chapters = [tag["name"] for tag in document["tags"]]
    assert chapters == ["Payments", "Health"]
    assert [one["operationId"] for one in operations if one["tags"][0] not in chapters] == []


def test_the_document_tells_every_status_and_code_of_an_error(described: HttpServer) -> None:
    description = described.get("/openapi.json").body["info"]["description"]
    errors = description.partition("# Errors")[2]
    places = [*STATUSES.values(), *((error.status, error.type) for error in HTTP_ERRORS.values())]
    assert [place for place in places if f"| {place[0]} `{place[1]}` |" not in errors] == []
    codes = {*HTTP_ERRORS, *(kind.code for kind in STATUSES if kind is not InvalidRequest)}
    assert [code for code in sorted(codes) if f"`{code}`" not in errors] == []


def test_the_document_tells_the_three_ways_to_send_a_key(described: HttpServer) -> None:
    document = described.get("/openapi.json").body
    assert document["security"] == [{"key": []}, {"bearer": []}, {"basic": []}]
    assert set(document["components"]["securitySchemes"]) == {"key", "bearer", "basic"}
    for header in ("`x-api-key: sk_test_…`", "`Authorization: Bearer sk_test_…`", "`curl -u sk"):
        assert header in document["info"]["description"]
