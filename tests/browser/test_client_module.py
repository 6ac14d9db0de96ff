"""The page's client in a real browser: streams over any connection, the same state however it comes, tabs in step."""

import json
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Request

from tests.browser.house import House
from tests.browser.modules import call, module_page, serve_fixtures
from tests.browser.shaky import shaky

FILE = "client.js"
STORY = (
    '[[think Let me see.]] [[say First *words*, é 😀.]] [[call clock {"timezone": "UTC"}]] [[call nothing {}]] '
    "[[say It is {result}.]] [[tokens 30]]"
)


@pytest.fixture
async def blank(browser: Browser) -> AsyncGenerator[Page]:
    async with module_page(browser) as page:
        yield page


@pytest.fixture
async def stranger(browser: Browser) -> AsyncGenerator[BrowserContext]:
    context = await browser.new_context()
    await serve_fixtures(context)
    yield context
    await context.close()


def frame(seq: int, name: str, epoch: int = 1, /, **fields: Any) -> str:

    event = {
        "v": 1,
        "run": "run_1",
        "epoch": epoch,
        "seq": seq,
        "ts": "2026-11-22T19:00:00.000Z",
        "type": name,
    }
    return f"id: {epoch}-{seq}\nevent: {name}\ndata: {json.dumps({**event, **fields})}\n\n"


WHOLE = [
    frame(1, "run.started", agent="@me/a", version=1, workspace="me", conversation="conv_1", message="msg_1"),
    frame(2, "step.started", step="s1", model="m"),
    frame(3, "part.started", step="s1", part="p1", kind="text"),
    frame(4, "stream.chunk", step="s1", part="p1", delta="Good "),
    frame(5, "stream.chunk", step="s1", part="p1", delta="evening."),
    frame(6, "part.finished", step="s1", part="p1", kind="text", value="Good evening."),
    frame(7, "step.finished", step="s1", model="m"),
    frame(8, "run.finished", reason="stop", usage=None, message="msg_2"),
]


def resync(keep: int) -> str:
    return f'event: stream.resync\ndata: {{"type":"stream.resync","reason":"takeover","keep_through":{keep}}}\n\n'


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
async def test_the_same_bytes_give_the_same_events_however_they_are_split(blank: Page, end: str) -> None:
    text = (
        "\ufeff: hello\n\nid: 1-1\nevent: run.started\ndata: {é😀}\n\ndata:a\ndata: b\ndata\n\n:\n\nid: 2\n\n"
        "event: x\ndata:  c\nfoo: bar\n\nid: a\0b\ndata: d\n\ndata: last"
    ).replace("\n", end)
    assert await call(blank, FILE, "events", text) == [
        {"event": "run.started", "data": "{é😀}", "id": "1-1"},
        {"event": "message", "data": "a\nb\n", "id": None},
        {"event": "x", "data": " c", "id": None},
        {"event": "message", "data": "d", "id": None},
        {"event": "message", "data": "last", "id": None},
    ]
    assert await call(blank, FILE, "badSplits", text) == []


async def test_bytes_that_are_no_utf8_and_events_over_the_cap_are_refused(blank: Page) -> None:
    assert await call(blank, FILE, "refusals") == ["TypeError", "RangeError", None]


@pytest.mark.parametrize("at", range(1, 8))
async def test_a_cut_connection_is_taken_up_again_where_it_was(blank: Page, at: int) -> None:
    answers = [{"body": "".join(WHOLE[:at]) + WHOLE[at][:20]}, {"body": "".join(WHOLE[at - 1 :])}]
    told = await call(blank, FILE, "scripted", {"answers": answers})
    assert [item for item in told["seen"] if item.isdecimal()] == list("12345678")
    assert [item for item in told["seen"] if not item.isdecimal()] == ["lost", "back"]
    assert told["asked"] == [
        ["POST", "/start", None, "key"],
        ["GET", "/api/v1/runs/run_1/events", f"1-{at}", None],
    ]


async def test_a_lost_answer_sends_the_message_again_under_the_same_key(blank: Page) -> None:
    busy = {
        "status": 409,
        "type": "application/problem+json",
        "body": '{"code":"in_progress","detail":"Wait."}',
    }
    accepted = {"status": 202, "type": "application/json", "body": '{"run":"run_1"}'}
    answers = [{"hangsUp": True}, busy, accepted, {"body": "".join(WHOLE)}]
    told = await call(blank, FILE, "scripted", {"answers": answers})
    assert told["error"] is None
    assert [ask[0] for ask in told["asked"]] == ["POST", "POST", "POST", "GET"]
    assert {ask[3] for ask in told["asked"][:3]} == {"key"}
    assert told["seen"][-8:] == list("12345678")


async def test_a_takeover_says_what_to_forget_and_goes_on_from_there(blank: Page) -> None:
    again = [
        frame(3, "run.resumed", 2, reason="takeover"),
        frame(4, "step.discarded", 2, step="s1", reason="takeover"),
    ]
    body = "".join([*WHOLE[:5], resync(2), *again, frame(5, "run.cancelled", 2, by="system")])
    told = await call(blank, FILE, "scripted", {"answers": [{"body": body}], "run": "run_1"})
    assert told["seen"] == ["1", "2", "3", "4", "5", "stream.resync", "3", "4", "5"]
    answers = [{"body": "".join(WHOLE[:5]) + resync(2)}, {"body": "".join(WHOLE[2:])}]
    told = await call(blank, FILE, "scripted", {"answers": answers, "run": "run_1"})
    assert told["asked"][1][2] == "1-2"


async def test_a_pause_and_a_cursor_at_the_end_end_the_feed(blank: Page) -> None:
    paused = "".join([*WHOLE[:2], frame(3, "run.paused", reason="approval")])
    told = await call(blank, FILE, "scripted", {"answers": [{"body": paused}], "run": "run_1"})
    assert (told["seen"], told["error"]) == (["1", "2", "3"], None)
    told = await call(blank, FILE, "scripted", {"answers": [{"status": 204}], "run": "run_1", "after": "1-8"})
    assert (told["seen"], told["error"]) == ([], None)


async def test_what_the_server_refuses_and_a_stream_that_skips_are_errors(blank: Page) -> None:
    refused = {
        "status": 404,
        "type": "application/problem+json",
        "body": '{"code":"not_found","detail":"Gone."}',
    }
    told = await call(blank, FILE, "scripted", {"answers": [refused], "run": "run_1"})
    assert told["error"] == {"name": "PorchError", "status": 404, "code": "not_found"}
    told = await call(blank, FILE, "scripted", {"answers": [{"body": WHOLE[0] + WHOLE[2]}], "run": "run_1"})
    assert told["error"] == {"name": "PorchError", "status": 0, "code": "stream_broken"}


async def test_state_is_the_same_live_again_and_after_any_rewind(blank: Page, house: House) -> None:
    conversation = await house.conversation(await house.agent(tools=["clock"]))
    stream = await house.say(conversation, STORY)
    assert await call(blank, FILE, "badRewinds", stream) == []
    state = await call(blank, FILE, "folded", stream)
    assert state["status"] == "finished"
    assert state["conversation"] == conversation
    assert [item["kind"] for item in state["steps"][0]["items"]] == ["reasoning", "text", "call", "call"]
    clock, nothing = state["steps"][0]["items"][2:]
    assert clock["arguments"] == {"timezone": "UTC"}
    assert clock["result"]["error"] is None
    assert nothing["result"]["error"]["code"]
    assert state["usage"]["output_tokens"] > 0
    assert state["startedAt"] <= state["firstTokenAt"] <= state["endedAt"]


async def test_a_stored_message_tells_what_its_stream_told(blank: Page, house: House) -> None:
    conversation = await house.conversation(await house.agent(tools=["clock"]))
    stream = await house.say(conversation, STORY)
    answer = (await house.api("GET", f"/api/v1/conversations/{conversation}/messages"))["items"][1]
    live, stored = await call(blank, FILE, "twoTellings", {"stream": stream, "parts": answer["parts"]})
    assert live == stored
    assert len(live) >= 5


async def test_a_discarded_step_is_gone_with_what_it_showed(blank: Page) -> None:

    events = [json.loads(each.split("data: ")[1]) for each in WHOLE[:5]]
    more = [
        frame(6, "source", step="s1", url="https://x.test"),
        frame(7, "usage", step="s1", input_tokens=1, output_tokens=2),
        frame(8, "step.discarded", step="s1", reason="retry"),
        frame(9, "step.started", step="s2", model="n"),
        frame(10, "run.failed", error={"code": "x", "message": "No."}),
    ]
    events += [json.loads(each.split("data: ")[1]) for each in more]
    state = await call(blank, FILE, "foldedEvents", events)
    assert [step["id"] for step in state["steps"]] == ["s2"]
    assert (state["sources"], state["usage"], state["model"], state["status"]) == ([], None, "n", "failed")
    assert state["steps"][0]["open"] is False


@pytest.mark.parametrize("seed", range(3))
async def test_a_network_that_keeps_breaking_loses_nothing_and_doubles_nothing(
    stranger: BrowserContext, house: House, seed: int
) -> None:
    conversation = await house.conversation(await house.agent())
    port = urlsplit(house.url).port
    assert port
    async with shaky(port, seed=seed, cuts=5, most=4000) as wire:
        page = await stranger.new_page()
        await page.goto(f"http://localhost:{wire.port}/test/page.html")
        await call(page, FILE, "events", "")
        wire.holds = True
        given = {"token": house.token, "conversation": conversation, "input": "[[tokens 200 itl=2ms]]"}
        told = await call(page, FILE, "run", given)
        assert wire.cut == 5
    assert told["status"] == "finished"
    assert told["lost"] >= 1
    assert told["back"] >= 1
    assert told["seqs"] == list(range(1, len(told["seqs"]) + 1))
    whole = await house.ask("GET", f"/api/v1/runs/{told['run']}/events")
    assert whole[1].count("\nevent: ") == len(told["seqs"])
    messages = (await house.api("GET", f"/api/v1/conversations/{conversation}/messages"))["items"]
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert messages[1]["parts"] == [{"type": "text", "text": told["text"]}]


async def test_a_message_sent_twice_under_one_key_is_one_message(
    stranger: BrowserContext, house: House
) -> None:
    conversation = await house.conversation(await house.agent())
    page = await stranger.new_page()
    await page.goto(f"{house.url}/test/page.html")
    given = {
        "token": house.token,
        "conversation": conversation,
        "input": "Hello",
        "idempotencyKey": "the-same",
    }
    first, second = await call(page, FILE, "run", given), await call(page, FILE, "run", given)
    assert first["json"] == second["json"]
    messages = (await house.api("GET", f"/api/v1/conversations/{conversation}/messages"))["items"]
    assert len(messages) == 2


async def test_a_refusal_is_an_error_with_its_sentence(stranger: BrowserContext, house: House) -> None:
    page = await stranger.new_page()
    await page.goto(f"{house.url}/test/page.html")
    told = await call(page, FILE, "problem", {"token": house.token, "path": "/api/v1/conversations/conv_x"})
    assert told["is"]
    assert (told["status"], told["code"]) == (404, "not_found")
    told = await call(page, FILE, "problem", {"token": "porch_pat_wrong", "path": "/api/v1/me"})
    assert told["status"] == 401


async def test_two_tabs_share_one_stream_and_the_second_takes_over_when_the_first_closes(
    stranger: BrowserContext, house: House
) -> None:
    conversation = await house.conversation(await house.agent())
    streams: list[str] = []

    def note(request: Request) -> None:
        if request.url.endswith(("/runs", "/events")):
            streams.append(request.method)

    stranger.on("request", note)
    one, two = await stranger.new_page(), await stranger.new_page()
    for page in (one, two):
        await page.goto(f"{house.url}/test/page.html")
    given = {"token": house.token, "conversation": conversation}
    await call(two, FILE, "share", given)
    await call(one, FILE, "share", {**given, "input": "[[tokens 60 itl=1ms]] [[stall]]"})
    await two.wait_for_function("window.heard.length === 1")
    run = await two.evaluate("window.heard[0]")
    await call(two, FILE, "share", {**given, "run": run})
    await two.wait_for_function("window.told().seqs.length > 50")
    assert streams == ["POST"]
    async with two.expect_request("**/events"):
        await one.close()
    await house.api("POST", f"/api/v1/runs/{run}/cancel")
    await two.wait_for_function("window.done", timeout=20_000)
    told = await two.evaluate("window.told()")
    assert streams == ["POST", "GET"]
    assert told["status"] == "cancelled"
    assert told["seqs"] == list(range(1, len(told["seqs"]) + 1))
    answer = (await house.api("GET", f"/api/v1/conversations/{conversation}/messages"))["items"][1]
    assert answer["parts"] == [{"type": "text", "text": told["text"]}]


async def test_a_third_tab_that_comes_late_hears_everything_from_the_start(
    stranger: BrowserContext, house: House
) -> None:
    conversation = await house.conversation(await house.agent())
    one, two = await stranger.new_page(), await stranger.new_page()
    for page in (one, two):
        await page.goto(f"{house.url}/test/page.html")
    given = {"token": house.token, "conversation": conversation}
    # It goes on until it is cancelled, however long the second page takes.
    await call(one, FILE, "share", {**given, "input": "[[tokens 60 itl=1ms]] [[stall]]"})
    await one.wait_for_function("window.told().seqs.length > 60")
    asked: list[str] = []
    two.on("request", lambda request: asked.append(request.url))
    run = (await one.evaluate("window.told()"))["run"]
    await call(two, FILE, "share", {**given, "run": run})
    await two.wait_for_function("window.told().seqs.length > 60")
    assert [url for url in asked if "/events" in url] == []
    await house.api("POST", f"/api/v1/runs/{run}/cancel")
    for page in (one, two):
        await page.wait_for_function("window.done")
    first, second = [(await page.evaluate("window.told()"))["json"] for page in (one, two)]
    assert first == second


async def test_tabs_tell_each_other_what_changed(stranger: BrowserContext, house: House) -> None:
    one, two = await stranger.new_page(), await stranger.new_page()
    for page in (one, two):
        await page.goto(f"{house.url}/test/page.html")
        await call(page, FILE, "share", {"token": house.token, "conversation": "conv_1"})
    await one.evaluate("window.tabs.announce({title: 'New'})")
    await two.wait_for_function("window.heard.length === 1")
    assert await two.evaluate("window.heard") == [{"title": "New"}]
    assert await one.evaluate("window.heard") == []
