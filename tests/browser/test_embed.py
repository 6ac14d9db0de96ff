"""The chat on somebody else's site: another origin, with a policy and style sheets of its own."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.browser.house import House
from tests.browser.test_chat import ENDLESS, Axe, Chat, Reload
from tests.browser.test_chat_files import NOTES, PORCH, attach, is_drawn, shown
from tests.browser.test_frame import PAPER

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, Request, Route

pytest.importorskip("playwright", reason="the browser group is not installed")
from playwright.async_api import expect

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Lamps by the sea</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/{sheet}.css">
<script type="module" src="https://porch.example/embed.js"></script>
</head>
<body><main>
<h1>Lamps by the sea</h1>
<p class="chat">We sell lamps. <button class="tap">Buy</button></p>
<porch-chat agent="{agent}" {attributes}></porch-chat>
</main></body>
</html>"""
# What sites do to themselves: another size for a rem, resets, names that are ours too, and shouting.
HOSTILE = """
html { font-size: 62.5%; }
* { all: unset; font-size: 40px !important; color: navy !important; line-height: 3 !important; }
* { --ink: red; --paper: red; --text-md: 99px; }
body, main, h1, p { display: block; }
head { display: none; }
.chat, .turn, button { background: white; border: 9px dashed blue; letter-spacing: 1em; text-transform: uppercase; }
"""
TIDY = """
body { margin: 0; font-family: Georgia, serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
porch-chat { --porch-accent: rgb(255 214 0); height: 30rem; }
"""
SHEETS = {"hostile": HOSTILE, "tidy": TIDY}
DOCUMENT = (Path(__file__).parents[2] / "docs/embedding.md").read_text(encoding="utf-8")


def told(language: str, beginning: str) -> str:
    """A block of the document for the owners of sites."""
    start = DOCUMENT.index(f"```{language}\n{beginning}") + len(f"```{language}\n")
    return DOCUMENT[start : DOCUMENT.index("\n```", start)]


@dataclass
class Site:
    """A site at `url` whose one page shows an agent of `house`, and what went wrong in it."""

    url: str
    house: House
    page: str = PAGE
    sheet: str = "hostile"
    agent: str = ""
    attributes: str = ""
    faults: list[str] = field(default_factory=list[str])
    visits: list[str] = field(default_factory=list[str])

    async def answer(self, request: web.Request) -> web.Response:
        if request.path.endswith(".css"):
            return web.Response(text=SHEETS[request.path[1:-4]], content_type="text/css")
        if request.path != "/":
            return web.Response(status=404)
        base, address = self.house.url, f"@{self.house.workspace}/{self.agent}"
        given = {"sheet": self.sheet, "agent": "@ada/helper", "attributes": self.attributes}
        text = self.page if self.page != PAGE else PAGE.format(**given)
        text = text.replace("https://porch.example", base).replace("@ada/helper", address)
        allowed = told("", "script-src").replace("https://porch.example", base)
        # The page's own style sheets, of either kind.
        allowed = allowed.replace("style-src", "style-src 'self' 'unsafe-inline'")
        policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
        return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": policy})

    async def embed(self, agent: str, *origins: str) -> None:
        """Let these sites show an agent; without any, this one."""
        path = f"/api/v1/workspaces/{self.house.workspace}/agents/{agent}/embedding"
        await self.house.api("PUT", path, {"origins": list(origins or (self.url,))})

    async def open(self, page: "Page", agent: str) -> Chat:
        """The site's page, as a stranger sees it."""
        self.agent = agent
        page.on("pageerror", lambda error: self.faults.append(f"uncaught {error}"))
        page.on("console", lambda message: self._hear(message.text))
        page.on("request", self._see)
        await page.goto(self.url)
        return Chat(page, self.house, agent)

    def _hear(self, text: str) -> None:
        if "Content Security Policy" in text:
            self.faults.append(text)

    def _see(self, request: "Request") -> None:
        if request.url.endswith("/guests"):
            self.visits.append(request.method)
        if not request.url.startswith((self.url, self.house.url, "blob:", "data:")):
            self.faults.append(f"a request left for {request.url}")


@pytest.fixture
async def site(house: House) -> AsyncGenerator[Site]:
    made = Site("", house)
    app = web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()
    assert not made.faults, "\n".join(made.faults)


@pytest.fixture
async def stranger(browser: "Browser") -> AsyncGenerator["Page"]:
    """A tab of a browser that never saw the house."""
    context = await browser.new_context(locale="en-GB")
    context.set_default_timeout(10_000)
    yield await context.new_page()
    await context.close()


LOOKS = """element => {
  const { fontSize, color, lineHeight, letterSpacing, borderTopWidth, textTransform } = getComputedStyle(element);
  return [fontSize, color, lineHeight, letterSpacing, borderTopWidth, textTransform];
}"""


async def test_an_answer_streams_on_another_site_and_is_there_again_after_a_reload(
    house: House, site: Site, stranger: "Page", reload: Reload, axe: Axe
) -> None:
    agent = await house.agent(title="Lamp keeper", tools=["clock"])
    await site.embed(agent)
    chat = await site.open(stranger, agent)
    await expect(chat.box).to_have_attribute("placeholder", "Write a message")
    assert site.visits == []
    await stranger.evaluate(
        "document.addEventListener('keydown', ({ key }) => (window.heard ??= []).push(key))"
    )
    await chat.say("[[think Hm.]] [[call clock {}]] [[say Good **evening**.]]")
    await expect(chat.answers.last.locator("strong")).to_have_text("evening")
    await chat.finished()
    own = ["16px", "rgb(27, 42, 42)", "25.6px", "normal", "0px", "none"]
    assert await chat.questions.last.locator(".bubble").evaluate(LOOKS) == own
    pages = ["40px", "rgb(0, 0, 128)", "120px", "40px", "9px", "uppercase"]
    assert await stranger.get_by_role("button", name="Buy").evaluate(LOOKS) == pages
    await expect(chat.answers.last.locator(".figures")).to_have_text("")
    # Shortcuts of the page are not for what is typed here.
    assert await stranger.evaluate("window.heard ?? []") == []
    await axe(stranger)
    # A running answer is come back to, and stopped; how it ended is still known later.
    await chat.say(ENDLESS)
    await expect(chat.answers.last.locator(".prose")).to_be_visible()
    await reload(stranger)
    await expect(chat.questions).to_have_count(2)
    await expect(chat.box).to_have_attribute("placeholder", "Message Lamp keeper")
    await chat.stop.click()
    await chat.finished()
    await reload(stranger)
    await expect(chat.answers.last).to_contain_text("Stopped before its end.")
    await chat.answers.last.get_by_role("button", name="Answer again").click()
    await expect(chat.stop).to_be_visible()
    await chat.box.press("Escape")
    await chat.finished()
    await chat.answers.last.get_by_role("button", name="Show the version before").click()
    await expect(chat.answers.last.locator(".count")).to_have_text("1/2")
    await expect(stranger.get_by_role("alert")).to_have_count(0)
    assert site.visits == ["POST"]
    await stranger.get_by_role("button", name="New conversation").click()
    await expect(chat.questions).to_have_count(0)
    await reload(stranger)
    await expect(chat.questions).to_have_count(0)


async def test_a_site_that_may_not_show_the_agent_says_so_and_goes_on_once_it_may(
    house: House, site: Site, stranger: "Page"
) -> None:
    # Without storage everything lives as long as the page.
    await stranger.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
    )
    agent = await house.agent()
    chat = await site.open(stranger, agent)
    await chat.say("[[say Here I am.]]")
    await expect(stranger.get_by_role("alert")).to_contain_text(f"cannot be talked to on {site.url}")
    await expect(chat.box).to_have_value("[[say Here I am.]]")
    await site.embed(agent, "https://elsewhere.example")
    await stranger.get_by_role("button", name="Try again").click()
    await expect(stranger.get_by_role("alert")).to_contain_text(site.url)
    await site.embed(agent, site.url)
    await stranger.get_by_role("button", name="Try again").click()
    await expect(chat.answers.last).to_contain_text("Here I am.")
    await chat.finished()
    await expect(stranger.get_by_role("alert")).to_have_count(0)
    await site.embed(agent, "https://elsewhere.example")
    await chat.say("And now?")
    await expect(stranger.get_by_role("alert")).to_contain_text(site.url)
    await expect(chat.box).to_have_value("And now?")


async def test_a_token_that_ends_is_renewed_unseen_and_the_visitor_stays_who_they_are(
    house: House, site: Site, stranger: "Page", reload: Reload
) -> None:
    agent = await house.agent()
    await site.embed(agent)
    chat = await site.open(stranger, agent)
    await chat.say("[[say First.]]")
    await chat.finished()
    refused: list[str] = []

    async def end(route: "Route") -> None:
        if refused or route.request.method != "POST":
            await route.continue_()
            return
        refused.append(str(route.request.headers["authorization"]))
        headers = {"Access-Control-Allow-Origin": site.url, "Content-Type": "application/problem+json"}
        body = '{"code": "unauthenticated", "detail": "This token has ended."}'
        await route.fulfill(status=401, headers=headers, body=body)

    await stranger.route("**/runs", end)
    await chat.say("[[say Second.]]")
    await expect(chat.answers.last).to_contain_text("Second.")
    await chat.finished()
    await expect(stranger.get_by_role("alert")).to_have_count(0)
    assert len(refused) == 1
    assert site.visits == ["POST", "POST"]
    await expect(chat.questions).to_have_count(2)
    kept = await stranger.evaluate("JSON.parse(Object.values(localStorage)[0])")
    assert f"Bearer {kept['token']}" not in refused
    own = {"Authorization": f"Bearer {kept['token']}", "Origin": site.url}
    _, stored = await house.ask("GET", f"/api/v1/conversations/{kept['conversation']}/messages", **own)
    assert stored.count('"role":"user"') == 2
    # Whom the server does not know any more begins anew, without a word of what is out of reach.
    forget = "for (const key of Object.keys(localStorage)) localStorage[key] = localStorage[key].replace('gst_', 'x')"
    await stranger.evaluate(forget)
    written = asyncio.Event()

    async def take_long(route: "Route") -> None:
        await written.wait()
        await route.continue_()

    await stranger.route("**/guests", take_long)
    await reload(stranger)
    await chat.box.fill("[[say Third.]]")
    written.set()
    await expect(stranger.get_by_role("button", name="New conversation")).to_be_hidden()
    await expect(chat.box).to_have_value("[[say Third.]]")
    await expect(chat.box).to_be_focused()
    await chat.box.press("Enter")
    await expect(chat.answers.last).to_contain_text("Third.")
    await expect(chat.questions).to_have_count(1)
    await expect(stranger.get_by_role("alert")).to_have_count(0)


async def test_a_visitors_pictures_and_files_are_sent_shown_and_saved_in_the_page_of_the_documents(
    house: House, site: Site, stranger: "Page", reload: Reload
) -> None:
    agent = await house.agent()
    await site.embed(agent)
    site.page = told("html", "<!doctype")
    chat = await site.open(stranger, agent)
    opener = stranger.get_by_role("button", name="Ask us")
    await opener.click()
    await attach(chat, PORCH, NOTES)
    await chat.say("[[say A porch.]] What is it?")
    await expect(chat.answers.last).to_contain_text("A porch.")
    await chat.finished()
    await is_drawn(shown(chat).get_by_alt_text("Picture porch.png"))
    await reload(stranger)
    await opener.click()
    picture = shown(chat).get_by_alt_text("Picture porch.png")
    await is_drawn(picture)
    assert (await picture.get_attribute("src") or "").startswith(f"blob:{site.url}/")
    async with stranger.expect_download() as downloading:
        await shown(chat).get_by_role("button", name="notes.md").click()
    download = await downloading.value
    assert download.suggested_filename == "notes.md"
    assert (await download.path()).read_bytes() == NOTES["buffer"]


@pytest.mark.parametrize(
    ("theme", "width", "paper"), [("", 360, PAPER["light"]), ("dark", 1280, PAPER["dark"])]
)
async def test_a_site_chooses_theme_accent_height_and_first_messages(
    house: House,
    site: Site,
    stranger: "Page",
    picture: Callable[["Page", str], Awaitable[Path]],
    theme: str,
    width: int,
    paper: str,
) -> None:
    agent = await house.agent()
    await site.embed(agent)
    site.sheet = "tidy"
    offered = json.dumps(["[[say The small one.]] Which lamp is quiet?"])
    site.attributes = f"""theme="{theme}" name="Lamp keeper" suggestions='{offered}'"""
    await stranger.set_viewport_size({"width": width, "height": 760})
    chat = await site.open(stranger, agent)
    await expect(chat.box).to_have_attribute("placeholder", "Message Lamp keeper")
    await stranger.get_by_role("button", name="Which lamp is quiet?").click()
    await expect(chat.answers.last).to_contain_text("The small one.")
    await chat.finished()
    await chat.box.fill("Do you ship it to islands?")
    await picture(stranger, f"embedded-{width}")
    frame = stranger.locator(".standalone")
    await expect(frame).to_have_css("background-color", paper)
    await stranger.locator("porch-chat").evaluate("e => e.setAttribute('theme', 'light')")
    await expect(frame).to_have_css("background-color", PAPER["light"])
    await expect(chat.questions).to_have_count(1)
    await expect(chat.page.locator("porch-chat")).to_have_css("height", "480px")
    send = stranger.get_by_role("button", name="Send", exact=True)
    await expect(send).to_have_css("background-color", "rgb(255, 214, 0)")
    # Words on the accent are dark or light as it needs.
    await expect(send).to_have_css("color", "oklch(0 0 0)")
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await stranger.evaluate(overflow) == 0
