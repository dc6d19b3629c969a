"""What is wrong around a body: size, media type, slow and cut-off senders, paths, headers."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.builders import GOOD_CARD
from tests.integration.conftest import Serve
from tests.integration.http_server import JSON, HttpServer
from tests.integration.test_http_bad_input import FINE, fine, rejected_once, wrong
from tests.unit.steps import store_of

LIMIT_BYTES = 65_536


@pytest.mark.parametrize(
    "media", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""]
)
def test_a_body_that_is_not_json_is_rejected(server: HttpServer, media: str | None) -> None:
    headers = {"x-api-key": server.key} | ({} if media is None else {"content-type": media})
    response = server.send("POST", "/validate", fine().encode(), headers)
    error = wrong("content_type", "Send JSON with Content-Type: application/json.")
    assert (response.status, response.body["error"]) == (415, error)
    rejected_once(server, "validate", "content_type")


TOO_LARGE_BODY = wrong("body_too_large", "The body is larger than 65536 bytes.")


def padded(size: int) -> bytes:
    return fine().encode().ljust(size)


def test_a_body_of_the_largest_size_is_accepted_and_one_byte_more_is_not(
    server: HttpServer,
) -> None:
    headers = JSON | {"x-api-key": server.key}
    assert server.send("POST", "/validate", padded(LIMIT_BYTES), headers).status == 200
    response = server.send("POST", "/validate", padded(LIMIT_BYTES + 1), headers)
    assert (response.status, response.body["error"]) == (413, TOO_LARGE_BODY)
    assert len(store_of(server.app).payments) == 1


def test_a_body_in_chunks_has_the_same_limit(server: HttpServer) -> None:
    def chunked(size: int) -> Iterator[bytes]:
        body = padded(size)
        return (body[at : at + 1_000] for at in range(0, len(body), 1_000))

    headers = JSON | {"x-api-key": server.key}
    fits = server.send("POST", "/validate", chunked(LIMIT_BYTES), headers)
    assert (fits.status, fits.body["status"]) == (200, "validated")
    response = server.send("POST", "/validate", chunked(LIMIT_BYTES + 1), headers)
    assert (response.status, response.body["error"]) == (413, TOO_LARGE_BODY)


def test_the_sender_of_a_very_large_body_gets_its_response(server: HttpServer) -> None:
    headers = JSON | {"x-api-key": server.key}
    response = server.send("POST", "/validate", padded(900_000), headers)
    assert (response.status, response.body["error"]) == (413, TOO_LARGE_BODY)


def head(server: HttpServer, length: int) -> bytes:
    return (
        f"POST /validate HTTP/1.1\r\nHost: x\r\nx-api-key: {server.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_a_slow_body_times_out(serve_memory: Serve) -> None:
    server = serve_memory(body_timeout_seconds=0.2)
    with server.connect() as connection:
        connection.sendall(head(server, 100) + b'{"amount"')
        response = connection.recv(65_536)
    assert response.startswith(b"HTTP/1.1 408 ")
    assert json.loads(response.partition(b"\r\n\r\n")[2])["error"] == wrong(
        "body_timeout", "The body did not arrive within 0.2 s."
    )
    rejected_once(server, "validate", "body_timeout")
    assert server.post("/validate", FINE).status == 200


def test_a_body_that_is_cut_off_stores_nothing(server: HttpServer) -> None:
    body = fine().encode()
    for end in (0, 1, len(body) // 2, len(body) - 1):
        with server.connect() as connection:
            connection.sendall(head(server, len(body)) + body[:end])
            connection.shutdown(socket.SHUT_WR)
    assert server.post("/validate", FINE).status == 200
    assert len(store_of(server.app).payments) == 1


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
def test_bytes_that_are_not_http_are_rejected(server: HttpServer, request_text: bytes) -> None:
    with server.connect() as connection:
        try:
            connection.sendall(request_text)
            response = connection.recv(65_536)
        except ConnectionError:
            response = b""
    assert response[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 414", b"HTTP/1.1 431")
    assert server.get("/health").status == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "clé", "tab\there", f"order {GOOD_CARD}"], ids=repr)
def test_a_wrong_idempotency_key_is_rejected(server: HttpServer, key: str) -> None:
    headers = JSON | {"x-api-key": server.key}
    with server.connect() as connection:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        start = f"POST /validate HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: {len(fine())}\r\n"
        connection.sendall(f"{start}Idempotency-Key: {key}\r\n\r\n{fine()}".encode("latin-1"))
        response = connection.recv(65_536)
    assert response.startswith(b"HTTP/1.1 400 ")
    error = json.loads(response.partition(b"\r\n\r\n")[2])["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", "Idempotency-Key")
    assert GOOD_CARD not in error["message"]
    rejected_once(server, "validate", error["code"])


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
def test_a_wrong_query_is_rejected(server: HttpServer, query: str, param: str, code: str) -> None:
    response = server.get(f"/payments?{query}")
    assert (response.status, response.body["error"]["param"]) == (400, param)
    assert response.body["error"]["code"] == code


def test_too_many_query_parameters_are_rejected(server: HttpServer) -> None:
    response = server.get("/payments?" + "&".join(f"a{n}=1" for n in range(60)))
    assert (response.status, response.body["error"]["type"]) == (400, "invalid_request_error")


def test_an_unknown_path_is_a_404_and_another_method_a_405(server: HttpServer) -> None:
    for path in ("/nowhere", "/payments/a/b", "/validate/", "//validate", "/payments/{a}/b"):
        nowhere = server.get(path)
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
        response = server.send(method, path, None, {"x-api-key": server.key})
        assert (response.status, response.headers["allow"]) == (405, allowed)
        assert response.body["error"] == wrong("method_not_allowed", f"This path takes {allowed}.")
