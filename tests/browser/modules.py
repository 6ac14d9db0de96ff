"""The page's own modules in a real browser, with a blank page around them and no server."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Error, Page, Route

STATIC = Path(__file__).parents[2] / "src/porch/web/static"
FIXTURES = Path(__file__).parent / "js"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
BLANK = "http://localhost/test/page.html"
CALL = "async ([file, name, given]) => (await import(`/test/${file}`))[name](given)"


async def serve_fixtures(context: "BrowserContext") -> None:
    """Answer `/test/…` with the files beside the tests, on whatever host."""
    await context.route("**/test/*", _fulfil)


@asynccontextmanager
async def module_page(browser: "Browser") -> AsyncGenerator["Page"]:
    """A blank page that can import `/static/…` and `/test/…`; fails on an uncaught error."""
    context = await browser.new_context()
    faults: list[str] = []
    try:
        await context.route("http://localhost/**", _fulfil)
        page = await context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        await page.goto(BLANK)
        yield page
    finally:
        await context.close()
    assert not faults, faults


@asynccontextmanager
async def blank_again(page: "Page") -> AsyncGenerator["Page"]:
    """The same tab with nothing in it, for modules that keep nothing outside their page; fails as the first does."""
    faults: list[str] = []

    def note(error: "Error") -> None:
        faults.append(str(error))

    page.on("pageerror", note)
    try:
        await page.goto(BLANK)
        yield page
    finally:
        page.remove_listener("pageerror", note)
    assert not faults, faults


async def call(page: "Page", file: str, name: str, given: Any = None) -> Any:
    """Call an exported function of a fixture; what it throws fails the test."""
    return await page.evaluate(CALL, [file, name, given])


async def _fulfil(route: "Route") -> None:
    room, _, rest = route.request.url.split("/", 3)[3].partition("/")
    file = (STATIC if room == "static" else FIXTURES) / rest
    await route.fulfill(body=file.read_bytes(), content_type=TYPES[file.suffix])
