"""The documentation page: what the service serves, and what it does in a browser."""

import hashlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from remit.entrypoints.lambdas.proxy import FUNCTION_ROUTES
from remit.http import docs_page
from remit.http.router import Api
from remit.http.two_step.examples import PAYMENT_ID, TEST_CARDS
from remit.ports.app import App
from tests.integration.http_server import HttpServer
from tests.integration.sent import Sent
from tests.service import Service

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
ELSEWHERE = "pay.example.com"
"""A name that the browser finds on this machine, and takes for any other in the world."""

SCRIPT = f"scalar-{importlib.metadata.version('flask-openapi-scalar')}.js"


def test_the_page_takes_everything_from_the_service(server: HttpServer) -> None:
    page = httpx.get(f"{server.url}/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["content-security-policy"].split("; ") == [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    assert f'<script src="docs/{SCRIPT}"></script>' in page.text
    assert "http:" not in page.text
    assert "https:" not in page.text


def test_the_script_is_the_installed_one_and_is_kept_for_ever(server: HttpServer) -> None:
    response = httpx.get(f"{server.url}/docs/{SCRIPT}")
    installed = docs_page.script()
    assert installed is not None
    assert hashlib.sha256(response.content).digest() == digest(Path(installed.file))
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "name", ["scalar.js", "scalar-0.0.1.js", "%2e%2e%2fpages.py", f"{SCRIPT}.map"]
)
def test_nothing_else_is_there(server: HttpServer, name: str) -> None:
    response = httpx.get(f"{server.url}/docs/{name}")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "route_unknown")


def digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where the script's package is not there, as in the zip of the functions."""

    def nothing(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    docs_page.script.cache_clear()
    monkeypatch.setattr(importlib.metadata, "distribution", nothing)
    yield
    docs_page.script.cache_clear()


@pytest.mark.usefixtures("not_installed")
@pytest.mark.parametrize("path", ["/docs", f"/docs/{SCRIPT}"])
async def test_without_the_package_there_is_no_page(in_memory: App, path: str) -> None:
    response = await Api(in_memory).respond(Sent("GET", path))
    assert response.status == 404
    assert json.loads(response.body)["error"]["code"] == "route_unknown"


@pytest.mark.parametrize("path", ["/", "/docs", f"/docs/{SCRIPT}", "/openapi.json"])
async def test_functions_do_not_serve_it(in_memory: App, path: str) -> None:
    response = await Api(in_memory, FUNCTION_ROUTES).respond(Sent("GET", path))
    assert (response.status, json.loads(response.body)["error"]["code"]) == (404, "route_unknown")


def test_what_takes_payments_imports_nothing_of_it() -> None:
    code = (
        "import sys; before = {*sys.modules}; import remit.entrypoints.lambdas.proxy\n"
        "new = {*sys.modules} - before\n"
        "print(sorted(new & {'remit.http.docs_page', 'remit.http.introduction', "
        "'remit.http.openapi', 'flask_openapi_scalar'}), 'remit.http.pages' in new)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[] True\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("pages")
    folder.chmod(0o755)
    with Service(folder) as running:
        yield running.start()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not on PATH. On Debian: apt install chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[*FLAGS, f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1"],
        )
        yield running
        running.close()


class Opened:
    """A page in a browser that notes what it asks for and what goes wrong."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.problems: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfailed", lambda request: self.problems.append(f"failed {request.url}"))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._said)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def hosts(self) -> set[str]:
        return {httpx.URL(url).netloc.decode() for url in self.requests if url[:5] != "data:"}


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    context = browser.new_context(color_scheme="light", viewport={"width": 1440, "height": 1000})
    yield Opened(context.new_page())
    context.close()


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_the_page_shows_what_there_is(service: Service, opened: Opened) -> None:
    page = opened.page
    page.goto(service.url)
    assert page.url == f"{service.url}/docs"
    expect(page).to_have_title("Remit API")
    expect(page.get_by_role("heading", name="Remit API")).to_be_visible()
    for card in TEST_CARDS:
        expect(page.get_by_role("cell", name=card.number)).to_be_visible()
    sidebar = page.get_by_role("complementary", name="Sidebar for Remit API")
    document = service.call("GET", "/openapi.json").body
    for operations in document["paths"].values():
        for operation in operations.values():
            [tag] = operation["tags"]
            if tag != "Payments":
                sidebar.get_by_role("link", name=tag, exact=True).click()
            expect(sidebar.get_by_role("link", name=operation["summary"])).to_be_visible()
    assert page.get_by_text("Ask AI").count() == 0
    links = page.locator("a[href^=http]").evaluate_all("links => links.map(link => link.href)")
    assert links == ["https://www.scalar.com/"]
    sidebar.get_by_role("link", name="Show one payment").click()
    shown = page.get_by_text(f'"transaction_id": "{PAYMENT_ID}"').last
    expect(shown).to_be_visible()
    assert (opened.problems, opened.hosts()) == ([], {f"127.0.0.1:{service.port}"})


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
@pytest.mark.parametrize("host", ["127.0.0.1", ELSEWHERE])
def test_a_request_is_tried_on_the_page(service: Service, opened: Opened, host: str) -> None:
    """As well where the page comes from another host than this machine: through no proxy."""
    page = opened.page
    page.goto(f"http://{host}:{service.port}/docs")
    page.get_by_role("link", name="Validate a payment").first.click()
    page.get_by_role("button", name="Test Request (post /validate)").click()
    client = page.get_by_role("dialog").last
    client.get_by_role("textbox", name="Value", exact=True).first.fill(service.key)
    with page.expect_response("**/validate") as answered:
        client.get_by_role("button", name="Send post request").click()
    response = answered.value
    body = response.json()
    assert (response.status, body["status"]) == (200, "validated")
    assert response.request.headers["x-api-key"] == service.key
    expect(client.get_by_text("200 OK")).to_be_visible()
    expect(client.get_by_text(body["transaction_id"])).to_be_visible()
    assert (opened.problems, opened.hosts()) == ([], {f"{host}:{service.port}"})
    kept = page.context.storage_state(indexed_db=True)
    assert service.key not in json.dumps(kept)


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_a_request_to_anywhere_else_is_refused_and_noticed(
    service: Service, opened: Opened
) -> None:
    opened.page.goto(f"{service.url}/docs")
    outcome = opened.page.evaluate("fetch('http://pay.example.com/').catch(e => e.name)")
    assert outcome == "TypeError"
    assert any("Content Security Policy" in problem for problem in opened.problems)


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_as_dark_as_the_system(browser: Browser, service: Service, scheme: Any) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{service.url}/docs")
    expect(page.locator(f"body.{scheme}-mode")).to_have_count(1)
    context.close()
