"""The TLS proxy of the emulated servers: stopped at any moment, it leaves no connection open."""

import asyncio
import gc
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from remit_infra.emulated.certificate import make_certificate
from remit_infra.emulated.tls_proxy import Streams, TlsProxy, server_context


async def reject(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Streams | None:
    """A handshake that never hears from its client."""
    await reader.read()
    return None


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def connect_and_send_half_a_handshake(port: int) -> socket.socket:
    client = connect(port)
    client.sendall(b"\x16\x03\x01\x02\x00")
    return client


def connect_with_tls(port: int) -> socket.socket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connect(port))


@pytest.mark.parametrize("client", [connect, connect_and_send_half_a_handshake, connect_with_tls])
def test_every_connection_is_closed_when_the_proxy_stops(
    tmp_path: Path, client: Callable[[int], socket.socket]
) -> None:
    certificate, key = tmp_path / "proxy.pem", tmp_path / "proxy.key"
    make_certificate(certificate, key)
    for _ in range(5):
        proxy = TlsProxy(reject)
        port = proxy.listen(context=server_context(certificate, key))
        connections = [client(port) for _ in range(4)]
        proxy.stop()
        for connection in connections:
            with connection, suppress(ConnectionResetError):
                assert connection.recv(1) == b""
    gc.collect()  # a transport that is still open warns of it, which fails the test
