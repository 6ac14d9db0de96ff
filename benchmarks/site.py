"""An installation and a browser to look at it, as the measures of pages have them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import ClientSession
from tests.browser.conftest import QUIET, chromium
from tests.browser.house import House
from tests.chaos.server import installed

if TYPE_CHECKING:
    from playwright.async_api import Browser


@asynccontextmanager
async def site(**settings: object) -> AsyncGenerator[tuple[House, "Browser"]]:
    """The operator's house on a server of its own, and a Chromium; both gone afterwards.

    Ends the program with a sentence where there is no Chromium.
    """
    from playwright.async_api import async_playwright

    program = chromium()
    if program is None:
        raise SystemExit("There is no Chromium here: apt install chromium-headless-shell.")
    async with (
        installed(host="localhost", **settings) as server,
        ClientSession() as http,
        async_playwright() as playwright,
    ):
        own, url = server.credentials, f"http://localhost:{server.settings.port}"
        browser = await playwright.chromium.launch(executable_path=program, args=QUIET)
        try:
            yield House(url, own.token, own.workspace, server.settings.data_dir, http), browser
        finally:
            await browser.close()
