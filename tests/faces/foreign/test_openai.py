"""The package `openai` for JavaScript, unmodified, before a running server."""

import pytest

from tests.browser.house import House
from tests.faces.foreign.conftest import Script

pytestmark = pytest.mark.timeout(400)  # the packages may have to come first


async def test_it_lists_the_agents_as_models(house: House, script: Script) -> None:
    name = await house.agent()
    told = await script("openai", act="models")
    assert f"@{house.workspace}/{name}" in told["found"]


async def test_it_streams_words_and_usage(house: House, script: Script) -> None:
    name = await house.agent(tools=["clock"])
    says = "[[think Hm.]] [[call clock]] [[say Good evening.]]"
    told = await script("openai", act="chat", agent=f"@{house.workspace}/{name}", says=says)
    assert (told["text"], told["reason"]) == ("Good evening.", "stop")
    assert told["usage"]["total_tokens"] > 0


async def test_its_own_loop_runs_the_callers_tool(house: House, script: Script) -> None:
    name = await house.agent()
    says = '[[call weather {"at": "here"}]] [[say It is {result}.]]'
    told = await script("openai", act="tools", agent=f"@{house.workspace}/{name}", says=says)
    assert told == {"text": "It is raining.", "asked": ["here"]}


async def test_it_gets_calls_as_a_whole(house: House, script: Script) -> None:
    name = await house.agent()
    says = '[[call weather {"at":"a"}]] [[call weather {"at":"b"}]]'
    told = await script("openai", act="calls", agent=f"@{house.workspace}/{name}", says=says)
    assert told == {
        "finish_reason": "tool_calls",
        "calls": [
            {"name": "weather", "arguments": '{"at":"a"}'},
            {"name": "weather", "arguments": '{"at":"b"}'},
        ],
    }


async def test_it_parses_structured_output(house: House, script: Script) -> None:
    name = await house.agent()
    says = '[[say {"city": "Bonn"}]]'
    told = await script("openai", act="parsed", agent=f"@{house.workspace}/{name}", says=says)
    assert told == {"chat": {"city": "Bonn"}, "response": {"city": "Bonn"}}


async def test_it_streams_a_response_and_goes_on_from_it(house: House, script: Script) -> None:
    name = await house.agent()
    told = await script("openai", act="respond", agent=f"@{house.workspace}/{name}", says="[[say Hi.]]")
    assert (told["first"], told["second"]) == ("Hi.", "Again.")
    assert told["types"][0] == "response.created"
    assert told["types"][-1] == "response.completed"


async def test_it_asks_after_a_response_and_deletes_it(house: House, script: Script) -> None:
    name = await house.agent()
    told = await script("openai", act="kept", agent=f"@{house.workspace}/{name}", says="[[say Hi.]]")
    assert told == {
        "again": "Hi.",
        "asked": ["[[say Hi.]]"],
        "cancelled": "completed",
        "gone": [404, "response_not_found"],
    }


async def test_a_response_that_begins_anew_is_an_error_and_no_short_answer(
    house: House, script: Script
) -> None:
    name = await house.agent(model=["scripted:test", "scripted:small"])
    says = "[[fail after=2 overloaded]]"
    told = await script("openai", act="respond", agent=f"@{house.workspace}/{name}", says=says)
    assert told["error"]["code"] == "answer_restarted"


async def test_it_raises_what_went_wrong(house: House, script: Script) -> None:
    name = await house.agent()
    agent = f"@{house.workspace}/{name}"
    cut = await script("openai", act="chat", agent=agent, says="[[fail after=2 overloaded]]")
    assert cut["error"]["kind"] == "APIError"
    assert "Try again" in cut["error"]["message"]
    early = await script("openai", act="chat", agent=agent, says="[[fail 429]]")
    assert (early["error"]["kind"], early["error"]["status"]) == ("RateLimitError", 429)
    lost = await script("openai", act="chat", agent="@nobody/here", says="Hi")
    assert (lost["error"]["status"], lost["error"]["code"]) == (404, "model_not_found")
    wrong = await script("openai", act="chat", agent=agent, says="Hi", token="porch_pat_wrong")
    assert (wrong["error"]["kind"], wrong["error"]["code"]) == ("AuthenticationError", "invalid_api_key")


async def test_an_agents_own_address_is_its_base_url(house: House, script: Script) -> None:
    name = await house.agent()
    told = await script(
        "openai", act="chat", agent=name, says="[[say Hi.]]", path=f"/@{house.workspace}/{name}/v1"
    )
    assert told["text"] == "Hi."
