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
GUEST = "guest.js"
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


async def test_the_cursor_stands_at_what_was_handed_out_and_not_at_what_has_come(blank: Page) -> None:
    assert await call(blank, FILE, "leftAt", {"body": "".join(WHOLE), "count": 3}) == {"epoch": 1, "seq": 3}


# No server knows approvals yet: the request is all there is to look at.
async def test_what_a_person_decides_about_a_tool_call_is_sent_once(blank: Page) -> None:
    first, again, denied = await call(blank, FILE, "decisions")
    assert first[:3] == ["POST", "/api/v1/runs/run_1/approvals/apr_1", '{"decision":"approve"}']
    assert denied[:3] == ["POST", "/api/v1/runs/run_1/approvals/..%2Fapr_2", '{"decision":"deny"}']
    assert first == again
    assert denied[3] != first[3]


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


async def test_a_server_that_wants_long_to_be_left_alone_is_told_of_at_once(blank: Page) -> None:
    busy = {
        "status": 429,
        "type": "application/problem+json",
        "body": '{"code":"rate_limited","detail":"Wait."}',
    }
    soon, long = ({**busy, "headers": {"Retry-After": seconds}} for seconds in ("0", "60"))
    told = await call(blank, FILE, "scripted", {"answers": [soon, long, {"body": "".join(WHOLE)}]})
    assert [ask[0] for ask in told["asked"]] == ["POST", "POST"]
    assert told["error"] == {"name": "PorchError", "status": 429, "code": "rate_limited"}


async def test_a_guest_asks_for_one_token_however_many_ask_it(blank: Page) -> None:
    door = "/@ada/helper/guests"
    found = await call(blank, GUEST, "together")
    assert found == {"told": ["one", "one", "one", "one", "Helper"], "asked": [["POST", door, None]]}
    # A wrong clock has no token fetched for each request.
    found = await call(blank, GUEST, "early")
    assert found == {"told": ["one", "one"], "asked": [["POST", door, None]]}
    found = await call(blank, GUEST, "renewals")
    assert found["told"] == ["one", "two", "conv_1", "two", "three", None]
    sent = [None, "Bearer one", "Bearer two", None]
    assert found["asked"] == [["POST", door, each] for each in sent]


async def test_a_guest_who_cannot_come_in_tells_the_site_s_owner_why(blank: Page) -> None:
    found = await call(blank, GUEST, "refusals")
    unread, misnamed = found["told"]
    assert unread["code"] == "not_embedded"
    assert "@ada/helper cannot be talked to on http://localhost" in unread["message"]
    assert [ask[:2] for ask in found["asked"]] == [
        ["POST", "/@ada/helper/guests"],
        ["GET", "/embed.js"],
        ["POST", "/@ada/helper/guests"],
    ]
    assert misnamed["code"] == "invalid_input"


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


async def test_figures_are_of_the_model_whose_answer_stands(blank: Page) -> None:
    def at(seconds: float) -> str:
        return f"2026-11-22T19:00:{seconds:06.3f}Z"

    story = [
        WHOLE[0],
        frame(2, "step.started", step="s1", model="m"),
        frame(3, "part.started", step="s1", part="p1", kind="text", ts=at(0.001)),
        frame(4, "stream.chunk", step="s1", part="p1", delta="Wro", ts=at(0.001)),
        frame(5, "usage", step="s1", input_tokens=1, output_tokens=900, ts=at(1)),
        frame(6, "step.discarded", step="s1", reason="fallback", ts=at(1)),
        frame(7, "step.started", step="s2", model="n", ts=at(1)),
        frame(8, "part.started", step="s2", part="p2", kind="reasoning", ts=at(2)),
        frame(9, "stream.chunk", step="s2", part="p2", delta="Hm.", ts=at(2)),
        frame(10, "part.started", step="s2", part="p3", kind="text", ts=at(3)),
        frame(11, "stream.chunk", step="s2", part="p3", delta="Right.", ts=at(3)),
        frame(12, "usage", step="s2", input_tokens=1, output_tokens=50, ts=at(4)),
        frame(13, "step.finished", step="s2", model="n", ts=at(4)),
        frame(14, "run.finished", reason="stop", usage=None, message="msg_2", ts=at(4)),
    ]
    events = [json.loads(each.split("data: ")[1]) for each in story]
    # First words after three seconds, and fifty tokens in the two seconds that the second model took.
    told = await call(blank, FILE, "figuresOf", events)
    assert told == ["n", "first token after 3.0 s", "1 tokens in, 50 out", "25 tokens/s", "4.0 s in all"]
    half = await call(blank, FILE, "figuresOf", events[:7])
    assert not any("first token" in each for each in half)


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
    assert [url for url in asked if "/events" in url] == []
    await one.wait_for_function("async () => !(await navigator.locks.query()).held.length")


async def test_tabs_tell_each_other_what_changed(stranger: BrowserContext, house: House) -> None:
    one, two = await stranger.new_page(), await stranger.new_page()
    for page in (one, two):
        await page.goto(f"{house.url}/test/page.html")
        await call(page, FILE, "share", {"token": house.token, "conversation": "conv_1"})
    await one.evaluate("window.tabs.announce({title: 'New'})")
    await two.wait_for_function("window.heard.length === 1")
    assert await two.evaluate("window.heard") == [{"title": "New"}]
    assert await one.evaluate("window.heard") == []
