"""How smoothly the chat page shows a long answer: `python -m benchmarks.page_stream [--kilobytes N] [--pace MS]`.

A Markdown answer of so many kilobytes comes at a token every so many milliseconds. `frame_*` are the times between
frames, `screen_*` from bytes that a script could read to the frame that shows them, `busy_*` tasks over 50 ms.
"""

import argparse
import asyncio
import json
from typing import Any

from aiohttp import ClientSession
from tests.browser.conftest import QUIET, chromium, sign_in
from tests.browser.house import House
from tests.chaos.server import installed

PIECE = """## A heading with `code`

A paragraph with **strong** words, *stressed* ones, a [link](https://example.com/page) and enough of plain text to
fill some lines of the window, as answers do when somebody asks for more than they wanted to know.

- one thing, with a `name`
- another, that goes on for a while
  - and one below it

| what | how much |
|---|--:|
| apples | 12 |
| pears | 7 |

```python
def add(a, b):
    return a + b
```

"""
WATCH = """(() => {
  const seen = (window.seen = { frames: [], screen: [], busy: [] });
  let last = 0;
  const frame = (now) => {
    if (last) seen.frames.push(now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  new PerformanceObserver((list) => seen.busy.push(...list.getEntries().map((entry) => entry.duration)))
    .observe({ type: "longtask" });
  const read = ReadableStreamDefaultReader.prototype.read;
  ReadableStreamDefaultReader.prototype.read = async function (...given) {
    const answer = await read.apply(this, given);
    const at = performance.now();
    if (!answer.done) requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => seen.screen.push(performance.now() - at);
      port2.postMessage(null);
    });
    return answer;
  };
})()"""


def spread(name: str, values: list[float]) -> dict[str, float]:
    """A median, a 95th and 99th percentile and the worst, in milliseconds."""
    ordered = sorted(values) or [0.0]
    places = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {
        f"{name}_{key}_ms": round(ordered[min(int(len(ordered) * at), len(ordered) - 1)], 1)
        for key, at in places.items()
    }


async def watch(house: House, browser: Any, kilobytes: int, pace: float) -> dict[str, Any]:
    """One answer, begun elsewhere and read on the chat page."""
    text = (PIECE * (kilobytes * 1000 // len(PIECE) + 1))[: kilobytes * 1000]
    conversation = await house.conversation(await house.agent())
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    await sign_in(context, house)
    await context.add_init_script(WATCH)
    page = await context.new_page()
    path = f"/api/v1/conversations/{conversation}/runs"
    run = (await house.api("POST", path, {"input": f"[[pace {pace}ms]] [[say {text}]]"}))["run"]
    await page.goto(f"{house.url}/chat/{conversation}")
    state: dict[str, Any] = {"status": "running"}
    while state["status"] == "running":
        await asyncio.sleep(0.5)
        state = await house.api("GET", f"/api/v1/runs/{run}")
    seen = await page.evaluate("window.seen")
    shown = await page.evaluate("document.querySelector('porch-chat').shadowRoot.textContent.length")
    await context.close()
    return {
        "kilobytes": kilobytes,
        "status": state["status"],
        "shown_characters": shown,
        "frames": len(seen["frames"]),
        "frames_over_34_ms": sum(frame > 34 for frame in seen["frames"]),
        **spread("frame", seen["frames"]),
        **spread("screen", seen["screen"]),
        **spread("busy", seen["busy"]),
        "busy_tasks": len(seen["busy"]),
    }


async def run(kilobytes: int, pace: float) -> None:
    """Measure one answer and print what was found."""
    from playwright.async_api import async_playwright

    program = chromium()
    if program is None:
        raise SystemExit("There is no Chromium here: apt install chromium.")
    async with (
        installed(host="localhost") as server,
        ClientSession() as http,
        async_playwright() as playwright,
    ):
        own, url = server.credentials, f"http://localhost:{server.settings.port}"
        house = House(url, own.token, own.workspace, server.settings.data_dir, http)
        browser = await playwright.chromium.launch(executable_path=program, args=QUIET)
        print(json.dumps(await watch(house, browser, kilobytes, pace)), flush=True)
        await browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kilobytes", type=int, default=100)
    parser.add_argument("--pace", type=float, default=2.0, help="milliseconds between tokens")
    given = parser.parse_args()
    asyncio.run(run(given.kilobytes, given.pace))
