"""What is wrong around a body: size, media type, slow and cut-off senders, paths, headers."""

import json
import socket

import pytest

from tests.builders import GOOD_CARD
from tests.integration.conftest import Serve
from tests.integration.served import JSON, Served
from tests.integration.test_http_bad_input import FINE, fine, refused_once, wrong
from tests.unit.arranged import store_of

LIMIT_BYTES = 65_536


@pytest.mark.parametrize(
    "media", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""]
)
def test_what_is_not_json_is_refused(served: Served, media: str | None) -> None:
    headers = {"x-api-key": served.key} | ({} if media is None else {"content-type": media})
    answer = served.send("POST", "/validate", fine().encode(), headers)
    error = wrong("content_type", "Send JSON with Content-Type: application/json.")
    assert (answer.status, answer.body["error"]) == (415, error)
    refused_once(served, "validate", "content_type")


TOO_LARGE_BODY = wrong("body_too_large", "The body is larger than 65536 bytes.")


def padded(size: int) -> bytes:
    return fine().encode().ljust(size)


def test_a_body_of_the_largest_size_is_taken_and_one_byte_more_is_not(served: Served) -> None:
    headers = JSON | {"x-api-key": served.key}
    assert served.send("POST", "/validate", padded(LIMIT_BYTES), headers).status == 200
    answer = served.send("POST", "/validate", padded(LIMIT_BYTES + 1), headers)
    assert (answer.status, answer.body["error"]) == (413, TOO_LARGE_BODY)
    assert len(store_of(served.app).payments) == 1


def test_a_body_in_chunks_has_the_same_limit(served: Served) -> None:
    def chunked(size: int) -> bytes:
        body = padded(size)
        pieces = [body[at : at + 1_000] for at in range(0, len(body), 1_000)]
        return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])

    headers = JSON | {"x-api-key": served.key, "transfer-encoding": "chunked"}
    fits = served.send("POST", "/validate", chunked(LIMIT_BYTES), headers)
    assert (fits.status, fits.body["status"]) == (200, "validated")
    answer = served.send("POST", "/validate", chunked(LIMIT_BYTES + 1), headers)
    assert (answer.status, answer.body["error"]) == (413, TOO_LARGE_BODY)


def test_the_sender_of_a_very_large_body_gets_its_answer(served: Served) -> None:
    headers = JSON | {"x-api-key": served.key}
    answer = served.send("POST", "/validate", padded(900_000), headers)
    assert (answer.status, answer.body["error"]) == (413, TOO_LARGE_BODY)


def head(served: Served, length: int) -> bytes:
    return (
        f"POST /validate HTTP/1.1\r\nHost: x\r\nx-api-key: {served.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_a_slow_body_is_given_up(serve_memory: Serve) -> None:
    served = serve_memory(body_timeout_seconds=0.2)
    with served.connect() as connection:
        connection.sendall(head(served, 100) + b'{"amount"')
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == wrong(
        "body_timeout", "The body did not arrive within 0.2 s."
    )
    refused_once(served, "validate", "body_timeout")
    assert served.post("/validate", FINE).status == 200


def test_a_body_that_is_cut_off_harms_nobody(served: Served) -> None:
    body = fine().encode()
    for end in (0, 1, len(body) // 2, len(body) - 1):
        with served.connect() as connection:
            connection.sendall(head(served, len(body)) + body[:end])
            connection.shutdown(socket.SHUT_WR)
    assert served.post("/validate", FINE).status == 200
    assert len(store_of(served.app).payments) == 1


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5_000 + b"\r\n",
    ],
    ids=["version", "TLS", "negative length", "two lengths", "long path", "many headers"],
)
def test_what_is_not_http_is_turned_away(served: Served, request_text: bytes) -> None:
    with served.connect() as connection:
        try:
            connection.sendall(request_text)
            answer = connection.recv(65_536)
        except ConnectionError:
            answer = b""
    assert answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 414", b"HTTP/1.1 431")
    assert served.get("/health").status == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "clé", "tab\there", f"order {GOOD_CARD}"], ids=repr)
def test_a_wrong_idempotency_key_is_refused(served: Served, key: str) -> None:
    headers = JSON | {"x-api-key": served.key}
    with served.connect() as connection:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        start = f"POST /validate HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: {len(fine())}\r\n"
        connection.sendall(f"{start}Idempotency-Key: {key}\r\n\r\n{fine()}".encode("latin-1"))
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 400 ")
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", "Idempotency-Key")
    assert GOOD_CARD not in error["message"]
    refused_once(served, "validate", error["code"])


@pytest.mark.parametrize(
    ("query", "param", "code"),
    [
        ("limit=0", "limit", "field_invalid"),
        ("limit=101", "limit", "field_invalid"),
        ("limit=ten", "limit", "field_invalid"),
        ("limit=%D9%A1", "limit", "field_invalid"),
        ("limit=1&limit=2", "limit", "field_invalid"),
        ("cursor=x", "cursor", "field_invalid"),
        ("status=paid", "status", "field_invalid"),
        ("colour=red", "colour", "field_unknown"),
        ("customer_id=%00", "customer_id", "field_invalid"),
        (f"customer_id={'x' * 256}", "customer_id", "field_invalid"),
    ],
)
def test_a_wrong_query_is_refused(served: Served, query: str, param: str, code: str) -> None:
    answer = served.get(f"/payments?{query}")
    assert (answer.status, answer.body["error"]["param"]) == (400, param)
    assert answer.body["error"]["code"] == code


def test_too_many_query_parameters_are_refused(served: Served) -> None:
    answer = served.get("/payments?" + "&".join(f"a{n}=1" for n in range(60)))
    assert (answer.status, answer.body["error"]["type"]) == (400, "invalid_request_error")


def test_a_path_or_method_that_is_not_there_says_what_is(served: Served) -> None:
    for path in ("/nowhere", "/payments/a/b", "/validate/", "//validate", "/payments/{a}/b"):
        nowhere = served.get(path)
        assert (nowhere.status, nowhere.body["error"]) == (
            404,
            wrong("route_unknown", "There is nothing at this path."),
        )
    for path, method, allowed in (
        ("/validate", "GET", "POST"),
        ("/process", "DELETE", "POST"),
        ("/payments", "POST", "GET"),
        ("/health", "PUT", "GET"),
    ):
        answer = served.send(method, path, None, {"x-api-key": served.key})
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
        assert answer.body["error"] == wrong("method_not_allowed", f"This path takes {allowed}.")
