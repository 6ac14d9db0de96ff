"""What a page costs: `python -m benchmarks.page [--rounds N] [NAME …]`, figures as JSON, one line a page.

`server_p95_ms` is asked over one kept connection, `wire_kb` is all that a first visit fetches, compressed as it
comes, and `paint_ms` is the first contentful paint of such a visit with the CPU slowed four times; `paint_ratio`
compares it with a page of one word and nothing else, served by nobody in particular.
"""

import argparse
import asyncio
import json
import time
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from aiohttp import web
from tests.browser.conftest import sign_in
from tests.browser.furnished import furnish
from tests.browser.house import House

from benchmarks.site import site

if TYPE_CHECKING:
    from playwright.async_api import Browser

SLOWED = 4
VISITS = 3
LIMITS = {"server_p95_ms": 50.0, "wire_kb": 100.0, "paint_ms": 500.0}
PAINT = """() => new Promise(done => new PerformanceObserver(list => {
  const painted = list.getEntriesByName('first-contentful-paint')[0];
  if (painted) done(painted.startTime);
}).observe({type: 'paint', buffered: true}))"""


async def serve_times(house: House, path: str, rounds: int) -> list[float]:
    """Milliseconds from asking for a page to having it, one request after the other."""
    headers = {"Authorization": f"Bearer {house.token}", "Accept": "text/html"}
    took: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        async with house.http.get(house.url + path, headers=headers) as reply:
            await reply.read()
        took.append((time.perf_counter() - began) * 1000)
    return took


async def visit(browser: "Browser", house: House, path: str, *, signed_in: bool) -> tuple[float, float]:
    """One first visit, nothing kept: kilobytes over the wire, and milliseconds to the first paint."""
    context = await browser.new_context(viewport={"width": 390, "height": 844})
    if signed_in:
        await sign_in(context, house)
    page = await context.new_page()
    tools: Any = await context.new_cdp_session(page)
    # The browser runs and knows the host; nothing that the page needs has been fetched.
    await page.goto(house.url + "/healthz")
    received: list[float] = []

    def note(event: dict[str, Any]) -> None:
        received.append(event["encodedDataLength"])

    tools.on("Network.loadingFinished", note)
    await tools.send("Network.enable")
    await tools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWED})
    await page.goto(house.url + path, wait_until="networkidle")
    paint = await page.evaluate(PAINT)
    await context.close()
    return sum(received) / 1000, float(paint)


async def first_paint_of_a_word(browser: "Browser") -> float:
    """The baseline: what the browser itself needs, ms."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>Word</title><p>Word", content_type="text/html")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "localhost", 0)
        await site.start()
        url = f"http://localhost:{runner.addresses[0][1]}"
        paints: list[float] = []
        for _ in range(VISITS):
            context = await browser.new_context(viewport={"width": 390, "height": 844})
            page = await context.new_page()
            await page.goto(url + "/before")
            tools: Any = await context.new_cdp_session(page)
            await tools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWED})
            await page.goto(url + "/word", wait_until="networkidle")
            paints.append(float(await page.evaluate(PAINT)))
            await context.close()
    finally:
        await runner.cleanup()
    return median(paints)


async def run(rounds: int, only: list[str]) -> None:
    """Measure every page, or those named, and print what was found; what is over its limit is marked."""
    async with site() as (house, browser):
        furnished = await furnish(house)
        word = await first_paint_of_a_word(browser)
        print(json.dumps({"page": "one word", "paint_ms": round(word, 1)}), flush=True)
        for pages, signed_in in ((furnished.pages, True), (furnished.public, False)):
            for name, path in pages.items():
                if only and name not in only:
                    continue
                await serve_times(house, path, 5)
                took = await serve_times(house, path, rounds)
                visits = [await visit(browser, house, path, signed_in=signed_in) for _ in range(VISITS)]
                figures = {
                    "server_p50_ms": median(took),
                    "server_p95_ms": quantiles(took, n=20)[-1],
                    "wire_kb": max(size for size, _ in visits),
                    "paint_ms": median(paint for _, paint in visits),
                }
                figures["paint_ratio"] = figures["paint_ms"] / word
                over = [key for key, limit in LIMITS.items() if figures[key] > limit]
                line = {"page": name, **{key: round(value, 1) for key, value in figures.items()}}
                print(json.dumps({**line, "over": over} if over else line), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    asyncio.run(run(asked.rounds, asked.names))
