"""Ports of this machine, for the servers that a process starts."""

import atexit
import socket
import sys

_held: list[socket.socket] = []


@atexit.register
def _release() -> None:
    while _held:
        _held.pop().close()


def free_port() -> int:
    """A port of 127.0.0.1 that no other process gets while this one runs.

    This process binds the port and never listens on it. Linux then gives the port to no process
    that asks for any port, and still lets a server bind it by its number: with SO_REUSEADDR, which
    servers set, two sockets may have one port as long as neither listens (socket(7)). Elsewhere the
    port is released, and another process can take it before the server does.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    port: int = held.getsockname()[1]
    if sys.platform == "linux":
        _held.append(held)
    else:
        held.close()
    return port
