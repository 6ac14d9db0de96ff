"""How smoothly the chat page shows a long answer: `python -m benchmarks.page_stream [--shape S] [--runs N] …`.

One line of JSON an answer, which comes at a token every so many milliseconds, and one of medians a shape.

- `screen_*`: from bytes that a script could read to the frame that shows them, ms.
- `frame_*`, `frames_over_50`: the times between frames after the answer's first second.
- `cpu_start`, `cpu_end`: processor time of the page's main thread a frame, ms, in the first and the last fifth of the
  answer. Other programs on the machine slow the clock's figures down, these hardly.
- `bare_*`: the same for the same last fifth of the text at the same pace, appended to a bare text node in a page of
  nothing else; `cpu_ratio` and `screen_ratio` compare the two.
"""

import argparse
import asyncio
import json
from itertools import cycle, islice
from statistics import median
from typing import Any

from aiohttp import ClientSession
from tests.browser.conftest import QUIET, chromium, sign_in
from tests.browser.house import House
from tests.chaos.server import installed

WORDS = (
    "A paragraph that goes on and on, as answers do when somebody asks for more than they wanted to know. "
)
MIXED = """## A heading with `code`

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
# What comes first, and what comes again and again.
SHAPES = {
    "mixed": ("", MIXED),
    "paragraph": ("", WORDS),
    "code": ("```python\n", "    total = add(total, price * count)  # and so on, line after line\n"),
    "list": ("", f"- {WORDS}\n"),
    "table": ("| what | how much | why |\n|---|--:|---|\n", "| apples and pears | 12 | they were ripe |\n"),
}
# The frame in which a text is painted has ended when the message that it posts arrives.
WATCH = """(() => {
  const seen = (window.seen = { frames: [], screen: [], first: 0, last: 0 });
  let before = 0;
  const frame = (now) => {
    if (before) seen.frames.push([now, now - before]);
    before = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  window.arrived = () => {
    const at = performance.now();
    seen.first ||= at;
    seen.last = at;
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => seen.screen.push(performance.now() - at);
      port2.postMessage(null);
    });
  };
  const read = ReadableStreamDefaultReader.prototype.read;
  ReadableStreamDefaultReader.prototype.read = async function (...given) {
    const answer = await read.apply(this, given);
    if (!answer.done) window.arrived();
    return answer;
  };
})()"""
BARE = """({ text, from, pace }) => new Promise((done) => {
  document.body.style.cssText = "margin:0;height:100vh;overflow:auto;white-space:pre-wrap";
  const node = document.createTextNode(text.slice(0, from));
  document.body.append(node);
  const began = performance.now();
  let shown = from, asked = false;
  const draw = () => {
    asked = false;
    node.appendData(text.slice(node.length, shown));
    document.body.scrollTop = document.body.scrollHeight;
  };
  const timer = setInterval(() => {
    const due = Math.min(text.length, from + Math.floor((performance.now() - began) / pace));
    if (due > shown) {
      shown = due;
      window.arrived();
      if (!asked) requestAnimationFrame(draw);
      asked = true;
    }
    if (shown === text.length) setTimeout(done, 100, clearInterval(timer));
  }, 2);
})"""
SHOWN = "document.querySelector('porch-chat')?.shadowRoot?.querySelector('.answer')?.textContent.length ?? 0"


def spread(name: str, values: list[float]) -> dict[str, float]:
    """A median, a 95th and 99th percentile and the worst, in milliseconds."""
    ordered = sorted(values) or [0.0]
    places = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {
        f"{name}_{key}_ms": round(ordered[min(int(len(ordered) * at), len(ordered) - 1)], 1)
        for key, at in places.items()
    }


class Meter:
    """The processor time that a page's main thread has used."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._tools: Any = None
        self.samples: list[tuple[int, float, int]] = []  # frames, processor in ms, characters shown

    async def start(self) -> None:
        """Begin to count."""
        self._tools = await self._page.context.new_cdp_session(self._page)
        await self._tools.send("Performance.enable", {"timeDomain": "threadTicks"})

    async def sample(self, shown: int = 0) -> None:
        """Note how much it is now."""
        found = (await self._tools.send("Performance.getMetrics"))["metrics"]
        used = next(metric["value"] for metric in found if metric["name"] == "TaskDuration")
        frames = await self._page.evaluate("window.seen?.frames.length ?? 0")
        self.samples.append((frames, used * 1000, shown))

    def between(self, low: float, high: float) -> float:
        """Milliseconds a frame while so many characters were shown."""
        within = [sample for sample in self.samples if low <= sample[2] <= high]
        if len(within) < 2:
            return 0.0
        (began, before, _), (ended, after, _) = within[0], within[-1]
        return round((after - before) / max(ended - began, 1), 2)


def told(seen: dict[str, Any]) -> dict[str, float]:
    """Frames after the first second of what was seen, and the way to the screen."""
    frames = [gap for at, gap in seen["frames"] if seen["first"] + 1000 < at < seen["last"]]
    over = {"frames": len(frames), "frames_over_50": sum(gap > 50 for gap in frames)}
    return {**over, **spread("frame", frames), **spread("screen", seen["screen"])}


async def watch(house: House, browser: Any, text: str, pace: float) -> dict[str, Any]:
    """One answer, begun elsewhere and read on the chat page."""
    conversation = await house.conversation(await house.agent())
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    await sign_in(context, house)
    await context.add_init_script(WATCH)
    page = await context.new_page()
    meter = Meter(page)
    await meter.start()
    path = f"/api/v1/conversations/{conversation}/runs"
    run = (await house.api("POST", path, {"input": f"[[pace {pace}ms]] [[say {text}]]"}))["run"]
    await page.goto(f"{house.url}/chat/{conversation}")
    status = "running"
    while status == "running":
        await asyncio.sleep(0.5)
        await meter.sample(await page.evaluate(SHOWN))
        status = (await house.api("GET", f"/api/v1/runs/{run}"))["status"]
    seen = await page.evaluate("window.seen")
    shown = await page.evaluate(SHOWN)
    await context.close()
    cpu = {"cpu_start": meter.between(1, shown / 5), "cpu_end": meter.between(shown * 0.8, shown - 1)}
    seconds = (seen["last"] - seen["first"]) / 1000
    return {"status": status, "shown_characters": shown, "seconds": round(seconds, 1), **told(seen), **cpu}


async def bare(browser: Any, text: str, seconds: float) -> dict[str, Any]:
    """The last fifth of the same text at the same pace, in a text node and nothing else."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    page = await context.new_page()
    await page.goto("about:blank")
    await page.evaluate(WATCH)
    meter = Meter(page)
    await meter.start()
    await meter.sample()
    start = len(text) * 4 // 5
    await page.evaluate(BARE, {"text": text, "from": start, "pace": seconds * 1000 / len(text)})
    await meter.sample()
    found = {**told(await page.evaluate("window.seen")), "cpu_end": meter.between(0, 0)}
    await context.close()
    return {f"bare_{name}": value for name, value in found.items()}


async def measure(house: House, browser: Any, shape: str, kilobytes: int, pace: float) -> dict[str, Any]:
    """One answer of a shape, and what it is compared with."""
    head, part = SHAPES[shape]
    size = kilobytes * 1000
    text = head + "".join(islice(cycle([part]), size // len(part) + 1))[: size - len(head)]
    page = await watch(house, browser, text, pace)
    node = await bare(browser, text, page["seconds"])
    ratios = {
        "cpu_ratio": round(page["cpu_end"] / max(node["bare_cpu_end"], 0.1), 2),
        "screen_ratio": round(page["screen_p95_ms"] / max(node["bare_screen_p95_ms"], 0.1), 2),
    }
    return {"shape": shape, "kilobytes": kilobytes, **page, **node, **ratios}


def medians(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Of several runs, figure by figure."""
    figures = {name: value for name, value in found[0].items() if isinstance(value, (int, float))}
    return {"shape": found[0]["shape"], "runs": len(found)} | {
        name: round(median(run[name] for run in found), 2) for name in figures
    }


async def run(shapes: list[str], runs: int, kilobytes: int, pace: float) -> None:
    """Measure, and print what was found."""
    from playwright.async_api import async_playwright

    program = chromium()
    if program is None:
        raise SystemExit("There is no Chromium here: apt install chromium-headless-shell.")
    async with (
        installed(host="localhost") as server,
        ClientSession() as http,
        async_playwright() as playwright,
    ):
        own, url = server.credentials, f"http://localhost:{server.settings.port}"
        house = House(url, own.token, own.workspace, server.settings.data_dir, http)
        browser = await playwright.chromium.launch(executable_path=program, args=QUIET)
        for shape in shapes:
            found: list[dict[str, Any]] = []
            for _ in range(runs):
                found.append(await measure(house, browser, shape, kilobytes, pace))
                print(json.dumps(found[-1]), flush=True)
            print(json.dumps({"median": medians(found)}), flush=True)
        await browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shape", choices=[*SHAPES, "all"], default="mixed")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--kilobytes", type=int, default=100)
    parser.add_argument("--pace", type=float, default=2.0, help="milliseconds between tokens")
    given = parser.parse_args()
    asyncio.run(
        run(list(SHAPES) if given.shape == "all" else [given.shape], given.runs, given.kilobytes, given.pace)
    )
