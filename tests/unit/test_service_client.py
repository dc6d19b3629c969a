"""What `remit pay` says when the service does not answer as it should: what is wrong, in a line."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from remit.entrypoints.cli import example
from remit.entrypoints.cli.example import (
    CardPayment,
    NotPaid,
    ServiceClient,
    WrongAddress,
    take_payment,
)
from remit.settings import Settings
from remit_infra.emulated.certificate import make_certificate


class Proxy(BaseHTTPRequestHandler):
    """Answers as a proxy does whose service is down."""

    def do_POST(self) -> None:
        page = b"<html>Bad Gateway</html>"
        self.send_response(502)
        self.send_header("content-length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        pass


class Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that does not trust this server ends the connection, as it should."""


@contextmanager
def served(certificate: Path | None = None) -> Iterator[int]:
    """The port of a server, behind TLS if it has a certificate."""
    with Quiet(("127.0.0.1", 0), Proxy) as server:
        if certificate is not None:
            trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trust.load_cert_chain(certificate, certificate.with_suffix(".key"))
            server.socket = trust.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_the_example_payment_is_left_out_where_the_service_stops(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[None] = []

    def is_stopping() -> bool:
        looks.append(None)
        return len(looks) > 2

    monkeypatch.setattr(example, "START_PAUSE_SECONDS", 0.001)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    example.show(Settings(port=port), "sk_test_none", is_stopping)
    assert capsys.readouterr() == ("", "")
    assert len(looks) == 4


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    made = tmp_path / "service.pem"
    make_certificate(made, made.with_suffix(".key"))
    return made


def refusal(address: str, certificate: Path | None = None) -> str:
    with ServiceClient(address, certificate) as service, pytest.raises(NotPaid) as refused:
        take_payment(service, CardPayment("5"), "sk_test_x", lambda _: None)
    return str(refused.value)


def test_a_certificate_that_is_not_trusted_is_named_and_how_to_trust_it(certificate: Path) -> None:
    with served(certificate) as port:
        assert refusal(f"https://127.0.0.1:{port}") == (
            f"TLS with https://127.0.0.1:{port} failed: its certificate is not trusted "
            "(self-signed certificate). To trust it, name its file with SSL_CERT_FILE."
        )


def test_https_where_only_http_is_spoken_is_told_apart_from_silence() -> None:
    with served() as port:
        assert refusal(f"https://127.0.0.1:{port}") == (
            f"TLS with https://127.0.0.1:{port} failed: wrong version number. "
            "Is it http and not https?"
        )


def test_http_where_https_is_spoken_is_told_apart_from_silence(certificate: Path) -> None:
    with served(certificate) as port:
        assert refusal(f"http://127.0.0.1:{port}") == (
            f"http://127.0.0.1:{port} ended the connection without an answer. "
            "Is it https and not http?"
        )


def test_an_answer_of_something_else_is_not_taken_for_remits(certificate: Path) -> None:
    with served(certificate) as port:
        address = f"https://127.0.0.1:{port}"
        assert refusal(address, certificate) == (
            f"What answers at {address} is not Remit: /validate answered 502, and not in its JSON."
        )


def test_where_nothing_listens_it_says_how_to_start_it() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        assert refusal(address) == (f"Nothing answers at {address}. Start it with `remit up`.")


def test_a_service_that_is_silent_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(example, "REQUEST_TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert refusal(address) == f"{address} did not answer within 0.2 s."


@pytest.mark.parametrize("address", ["foo", "ftp://a", "http://", "http://127.0.0.1:port"])
def test_an_address_that_is_none_is_named(address: str) -> None:
    with pytest.raises(WrongAddress) as refused:
        ServiceClient(address)
    assert str(refused.value) == (
        f"'{address}' is no address of a service, such as http://127.0.0.1:8000."
    )
