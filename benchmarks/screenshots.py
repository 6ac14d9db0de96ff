"""Pictures of every page: `python -m benchmarks.screenshots FOLDER [NAME …]`.

A server of its own with a furnished house; each page as a phone and as a desk show it, light and dark.
"""

import argparse
import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import ClientSession
from tests.browser.conftest import QUIET, chromium, sign_in
from tests.browser.furnished import furnish
from tests.browser.house import PROVIDERS, House
from tests.chaos.server import installed

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

SIZES = {"phone": (390, 844), "desk": (1440, 900)}
SCHEMES = ("light", "dark")
# Settled: nothing on its way, fonts there, the chat's component filled.
SETTLED = """async () => {
  await document.fonts.ready;
  await Promise.all(document.getAnimations().map(each => each.finished.catch(() => {})));
}"""


async def shoot(
    context: "BrowserContext", house: House, pages: dict[str, str], folder: Path, suffix: str
) -> None:
    """One context's pictures."""
    page = await context.new_page()
    for name, path in pages.items():
        await page.goto(house.url + path, wait_until="networkidle")
        await page.evaluate(SETTLED)
        await page.screenshot(path=folder / f"{name}-{suffix}.png")
        width = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if width > 0:
            print(f"{name}-{suffix}: {width} px wider than the window")
    await page.close()


async def run(folder: Path, only: list[str]) -> None:
    """All of them, or those named."""
    from playwright.async_api import async_playwright

    folder.mkdir(parents=True, exist_ok=True)
    program = chromium()
    if program is None:
        raise SystemExit("There is no Chromium here: apt install chromium-headless-shell.")
    for name in [name for name in os.environ if name.startswith(PROVIDERS)]:
        del os.environ[name]  # no picture shows what a developer's shell holds
    async with (
        installed(host="localhost", default_model=None) as server,
        ClientSession() as http,
        async_playwright() as playwright,
    ):
        own, url = server.credentials, f"http://localhost:{server.settings.port}"
        house = House(url, own.token, own.workspace, server.settings.data_dir, http)
        browser = await playwright.chromium.launch(executable_path=program, args=QUIET)
        link = (await house.sign_in_link()).removeprefix(url)
        rounds = [({"first-run": "/"}, {"sign-in-link": link})]
        for stage in ("empty", "furnished"):
            if stage == "furnished":
                furnished = await furnish(house)
                rounds.append((furnished.pages, furnished.public))
            pages, public = rounds[-1]
            for size, (width, height) in SIZES.items():
                for scheme in SCHEMES:
                    for wanted, signed_in in ((pages, True), (public, False)):
                        chosen = {name: path for name, path in wanted.items() if not only or name in only}
                        if not chosen:
                            continue
                        context = await browser.new_context(
                            viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB"
                        )
                        if signed_in:
                            await sign_in(context, house)
                        await shoot(context, house, chosen, folder, f"{size}-{scheme}")
                        await context.close()
        await browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    asyncio.run(run(asked.folder, asked.names))
