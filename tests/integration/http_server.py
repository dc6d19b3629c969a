"""The API on a real port: the service a test assembled, in a thread with its own event loop."""

import asyncio
import json
import socket
import threading
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import Any, TypeVar

import uvloop

from remit.clock_and_ids import new_secret
from remit.domain.caller import Mode
from remit.entrypoints.serve import serve
from remit.oversight.api_keys import create_key
from remit.ports.app import App
from tests.service import ServiceResponse, new_client, send, wait_until

T = TypeVar("T")

JSON = {"content-type": "application/json"}

_client = new_client()


class HttpServer:
    """Answers on `app.settings.port` for as long as the `with` block lasts."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._port = app.settings.port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "HttpServer":
        self._thread.start()
        wait_until(self._listens, 10, "the port to be open")
        self.key = self.new_key("acme")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._its_loop().call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        """Runs a step of the service where the service runs."""
        return asyncio.run_coroutine_threadsafe(step, self._its_loop()).result(30)

    def new_key(self, merchant_id: str, mode: Mode = "test") -> str:
        made = self.run(
            create_key(self.app, merchant_id=merchant_id, mode=mode, label="", random=new_secret())
        )
        return made.secret

    def post(self, path: str, body: object, **headers: str) -> ServiceResponse:
        """Sends `body` as JSON with the service's own key; names of headers have underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send("POST", path, json.dumps(body), JSON | {"x-api-key": self.key} | named)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def get(self, path: str, key: str | None = None) -> ServiceResponse:
        return self.send("GET", path, None, {"x-api-key": key or self.key})

    def send(
        self,
        method: str,
        path: str,
        body: str | bytes | Iterator[bytes] | None,
        headers: dict[str, str],
    ) -> ServiceResponse:
        """One request on a connection of its own."""
        return send(_client, method, self.url + path, body, headers)

    def connect(self) -> socket.socket:
        """A bare connection, for what no HTTP client would send."""
        return socket.create_connection(("127.0.0.1", self._port), timeout=30)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            self._loop = runner.get_loop()
            runner.run(self._main())

    async def _main(self) -> None:
        try:
            await serve(self.app, self._stop)
        finally:
            await self.app.close()

    def _its_loop(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None
        return self._loop

    def _listens(self) -> bool:
        try:
            self.connect().close()
        except OSError:
            return False
        return True
