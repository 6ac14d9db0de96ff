"""Real Chromium before a real Porch server on a real PostgreSQL.

One server and one browser, kept for the session (all of these tests are one worker's); everything else is a test's own:

- `house`: an empty workspace with an owner (`url`, `token`, `workspace`, `api(method, path, body)`, `agent()`,
  `conversation(agent)`, `say(conversation, text)`, `sign_in_link()`).
- `page`: a tab signed in to `house` by a one-time link, at no page yet: `await page.goto(house.url + "/agents")`.
  It fails its test on an uncaught error, a refusal of the content security policy, or a request to another host.
- `context`: the signed-in browser context of `page`; more tabs by `await context.new_page()`.
- `visit(at=None, signed_in=True, beside="", **options)`: another context at `house` or `at`, with Playwright's
  options for it (`viewport=…`, `color_scheme=…`), such as a second browser or a stranger. It may go `beside` too.
- `gate`: a server of the test's own, in `gate.house`, for `await gate.kill()` and `await gate.start()`.
- `axe(page)`: no violation of WCAG 2.2 AA, open shadow roots included.
- `reload(page)`: a reload as a person does it, awaited until scripts have run.
- `picture(page, name)`: a screenshot, kept where PORCH_TEST_PICTURES names a folder.

Playwright's `expect` waits by itself and its locators look into open shadow roots: no test here sleeps.
"""

import os
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import pytest

from tests.browser.house import Gate, House, standing
from tests.postgres import TestServer

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

INSTALL = (
    "these tests need a browser: apt install chromium-headless-shell, and uv sync --group browser "
    "(PORCH_TEST_CHROMIUM names another one's program)"
)
# The first is Chromium without the windows around a page: a third of the work.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# All that would reach for the network by itself stays off.
QUIET = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WAIT_MS = 10_000


def chromium() -> str | None:
    """The browser's program, or None."""
    named = os.environ.get("PORCH_TEST_CHROMIUM")
    found = (shutil.which(name) for name in BROWSERS)
    return named or next(filter(None, found), None)


def absent(why: str) -> None:
    """Skip the test, or fail it where PORCH_TEST_REQUIRE_BROWSER says that there must be a browser."""
    if os.environ.get("PORCH_TEST_REQUIRE_BROWSER", "") in ("", "0"):
        pytest.skip(f"{why}; {INSTALL}")
    pytest.fail(f"{why}; {INSTALL}")


@dataclass
class Watched:
    """A context and what went wrong in its pages."""

    context: "BrowserContext"
    hosts: tuple[str, ...]
    faults: list[str] = field(default_factory=list[str])

    def watch(self, page: "Page") -> None:
        """Note this page's uncaught errors, refusals of its policy, and requests to elsewhere."""
        page.on("pageerror", lambda error: self.faults.append(f"{page.url}: uncaught {error}"))
        page.on("console", lambda message: self._hear(page.url, message.text))
        page.on("request", lambda request: self._see(request.url))

    def _hear(self, where: str, text: str) -> None:
        if "Content Security Policy" in text:
            self.faults.append(f"{where}: {text}")

    def _see(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc not in self.hosts:
            self.faults.append(f"a request left for {url}")


class Visit(Protocol):
    """How a test opens another browser context."""

    async def __call__(
        self, at: House | None = None, *, signed_in: bool = True, beside: str = "", **options: Any
    ) -> "BrowserContext": ...


@pytest.fixture(scope="session")
async def browser() -> AsyncGenerator["Browser"]:
    """The worker's Chromium."""
    try:
        from playwright.async_api import async_playwright, expect
    except ImportError:
        absent("playwright is not installed")
        raise
    program = chromium()
    if program is None:
        absent("there is no Chromium")
    expect.set_options(timeout=WAIT_MS)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=program, args=QUIET)
        yield launched
        await launched.close()


@pytest.fixture(scope="session")
async def standing_house(postgres: TestServer) -> AsyncGenerator[Gate]:
    """The worker's server, shared by its tests: take `house` instead."""
    async with standing(postgres) as gate:
        yield gate


@pytest.fixture
async def house(browser: "Browser", standing_house: Gate) -> House:
    """An empty workspace on the worker's server. Asks for the browser first, so that all skip together."""
    del browser
    return await standing_house.guest_house()


@pytest.fixture
async def gate(browser: "Browser", postgres: TestServer) -> AsyncGenerator[Gate]:
    """A server that this test alone may kill."""
    del browser
    async with standing(postgres) as own:
        yield own


@pytest.fixture
async def visit(house: House, browser: "Browser") -> AsyncGenerator[Visit]:
    """Opens contexts, signed in where wanted; closes them, and fails on what their pages did wrong."""
    opened: list[Watched] = []

    async def open_context(
        at: House | None = None, *, signed_in: bool = True, beside: str = "", **options: Any
    ) -> "BrowserContext":
        at = at or house
        given: dict[str, Any] = {"locale": "en-GB", **options}
        context = await browser.new_context(**given)
        context.set_default_timeout(WAIT_MS)
        watched = Watched(context, (urlsplit(at.url).netloc, urlsplit(beside).netloc))
        opened.append(watched)
        context.on("page", watched.watch)
        if signed_in:
            await sign_in(context, at)
        return context

    yield open_context
    for watched in opened:
        await watched.context.close()
    faults = [fault for watched in opened for fault in watched.faults]
    assert not faults, "\n".join(faults)


async def sign_in(context: "BrowserContext", house: House) -> None:
    """Redeem a fresh link in this context, as its button does."""
    link = await house.sign_in_link()
    reply = await context.request.post(link, form={}, headers={"Origin": house.url}, max_redirects=0)
    assert reply.status == 303, f"signing in answered {reply.status}: {await reply.text()}"


@pytest.fixture
async def context(house: House, visit: Visit) -> "BrowserContext":
    """A browser signed in to `house`."""
    return await visit(house)


@pytest.fixture
async def page(context: "BrowserContext") -> "Page":
    """A tab of that browser."""
    return await context.new_page()


@pytest.fixture
def axe() -> Callable[["Page"], Awaitable[None]]:
    """Asserts that axe finds nothing on a page as it stands."""
    from axe_playwright_python.async_playwright import Axe

    engine: Any = Axe()  # its run() has no types

    async def assert_accessible(page: "Page") -> None:
        # Without `preload` axe would copy shadow styles into inline ones, which the pages' policy refuses.
        options = {"runOnly": RULES, "resultTypes": ["violations"], "preload": False}
        found = await engine.run(page, options=options)
        violations: list[dict[str, Any]] = found.response["violations"]
        assert not violations, "\n".join(_tell(violation) for violation in violations)

    return assert_accessible


def _tell(violation: dict[str, Any]) -> str:
    nodes = [
        f"    {node['target']}: {node['html'][:200]}\n      {node['failureSummary']}"
        for node in violation["nodes"]
    ]
    return "\n".join([f"{violation['id']} ({violation['impact']}): {violation['help']}", *nodes[:5]])


@pytest.fixture
def reload() -> Callable[["Page"], Awaitable[None]]:
    """Reloads a page and waits until its modules have run."""

    async def reload_page(page: "Page") -> None:
        await page.reload(wait_until="load")

    return reload_page


@pytest.fixture
def picture(tmp_path: Path) -> Callable[["Page", str], Awaitable[Path]]:
    """Takes a screenshot of what the window shows."""
    folder = Path(os.environ.get("PORCH_TEST_PICTURES") or tmp_path)

    async def take(page: "Page", name: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{name}.png"
        await page.screenshot(path=file, animations="disabled")
        return file

    return take
