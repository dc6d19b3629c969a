"""A `remit up` of its own for a test: started as a user starts it, in a folder, on a free port."""

import copy
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import httpx

from remit_infra.emulated.ports import free_port

START_SECONDS = 60.0
REMIT = Path(sys.executable).with_name("remit")


class ServiceResponse(NamedTuple):
    status: int
    body: dict[str, Any]
    headers: dict[str, str]


def new_client(*, kept_connections: int = 0) -> httpx.Client:
    """An HTTP client. By default each of its requests has a connection of its own."""
    limits = httpx.Limits(max_keepalive_connections=kept_connections)
    # Nothing here speaks TLS, whose trusted certificates would be loaded for each client.
    return httpx.Client(timeout=30, trust_env=False, verify=False, limits=limits)


def send(
    client: httpx.Client,
    method: str,
    url: str,
    content: str | bytes | Iterator[bytes] | None,
    headers: dict[str, str],
) -> ServiceResponse:
    """One request with these headers, byte for byte. An iterator's pieces are sent in chunks.

    Raises httpx.TransportError.
    """
    exact = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    response = client.request(method, url, content=content, headers=exact)
    body = json.loads(response.content) if response.content else {}
    return ServiceResponse(response.status_code, body, dict(response.headers))


_client = new_client()


class Service:
    """One process tree over one folder. Leaving the `with` block kills what is left of it."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.data = folder / ".remit"
        self.port = free_port()
        self.proxy_port: int | None = None
        self.output = folder / "output.txt"
        self._folder = folder
        self._environ = clean_environ() | {"PORT": str(self.port)} | environ
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Service":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.proxy_port or self.port}"

    def behind(self, proxy_port: int) -> "Service":
        """The same service, called through a proxy on this machine."""
        other = copy.copy(self)
        other.proxy_port = proxy_port
        return other

    @property
    def key(self) -> str:
        """The test key that `remit up` makes for the laptop."""
        return (self.data / "example.key").read_text().strip()

    def start(self) -> "Service":
        """Starts it and waits for its first answer."""
        self.launch()
        wait_until(self.is_healthy, START_SECONDS, "the service to answer")
        return self

    def launch(self) -> None:
        # To a file: PostgreSQL inherits it, and a pipe would stay open for as long as that lives.
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [REMIT, "up"],
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> int:
        """Ends it as Ctrl-C does; its exit status."""
        process = self._running()
        process.send_signal(signal.SIGINT)
        return process.wait(30)

    def ended(self) -> tuple[int, str]:
        """The exit status and output of a service that ends by itself."""
        return self._running().wait(START_SECONDS), self.output.read_text()

    def kill(self) -> None:
        """SIGKILL to the API, which leaves its worker and PostgreSQL without a parent."""
        process = self._running()
        process.kill()
        process.wait()

    def kill_postgres(self) -> None:
        with suppress(FileNotFoundError, ProcessLookupError):
            pid = int((self.data / "postgres" / "postmaster.pid").read_text().split()[0])
            os.kill(pid, signal.SIGKILL)

    def is_healthy(self) -> bool:
        if self._running().poll() is not None:
            raise AssertionError(f"it ended: {self.output.read_text()}")
        with suppress(httpx.TransportError):
            return self.call("GET", "/health").status == 200
        return False

    def call(
        self, method: str, path: str, body: object = None, *, key: str | None = None
    ) -> ServiceResponse:
        """One request on a connection of its own. Raises httpx.TransportError."""
        headers = {} if not (self.data / "example.key").exists() else {"x-api-key": self.key}
        text = None
        if body is not None:
            text = json.dumps(body)
            headers["content-type"] = "application/json"
        if key is not None:
            headers["idempotency-key"] = key
        return send(_client, method, self.url + path, text, headers)

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs one `remit` command on the same folder."""
        return run_command(*arguments, folder=self._folder, **self._environ)

    def command_in_terminal(self, *arguments: str, columns: int) -> list[str]:
        return run_in_terminal(*arguments, folder=self._folder, columns=columns, **self._environ)

    def processes(self) -> list[int]:
        """The living processes of this folder, found by what they run."""
        found = []
        for status in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = status.read_bytes().split(b"\0")
                environ = (status.parent / "environ").read_bytes()
                marks = (str(self.data).encode(), f"PORT={self.port}\0".encode())
                if marks[0] in b" ".join(words) or marks[1] in environ:
                    found.append(int(status.parent.name))
        return found

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise AssertionError("it was never started")
        return self._process


def run_command(
    *arguments: str, folder: Path, **environ: str
) -> "subprocess.CompletedProcess[str]":
    """One `remit` command in `folder`: its exit status, standard output and standard error."""
    with (folder / "out.txt").open("w+") as out, (folder / "err.txt").open("w+") as err:
        ended = subprocess.run(
            [REMIT, *arguments],
            cwd=folder,
            env=clean_environ() | environ,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            timeout=60,
            check=False,
        )
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(
            ended.args, ended.returncode, stdout=out.read(), stderr=err.read()
        )


def run_in_terminal(*arguments: str, folder: Path, columns: int, **environ: str) -> list[str]:
    """The lines that one `remit` command shows in a terminal of that width, without its colours."""
    watched, terminal = os.openpty()
    shown = {"COLUMNS": str(columns), "TERM": "xterm"}
    ended = subprocess.Popen(
        [REMIT, *arguments],
        cwd=folder,
        env=clean_environ() | shown | environ,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
    )
    os.close(terminal)
    output = b""
    with suppress(OSError):
        # Linux ends what is read of a terminal with an error, once nothing writes to it.
        while more := os.read(watched, 65_536):
            output += more
    os.close(watched)
    ended.wait()
    return re.sub(r"\x1b\[[0-9;]*m", "", output.decode()).splitlines()


def clean_environ() -> dict[str, str]:
    """What a fresh shell would pass on, and none of this test run's settings."""
    return {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Polls until `condition` holds; fails, saying what was waited for, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {what}")
        time.sleep(0.05)
