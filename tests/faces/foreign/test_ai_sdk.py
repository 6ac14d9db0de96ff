"""The package `ai`, unmodified, before a running server."""

import pytest

from tests.browser.house import House
from tests.faces.foreign.conftest import Script
from tests.faces.foreign.cues import BROKEN, FINE

pytestmark = pytest.mark.timeout(400)  # the packages may have to come first


async def test_it_hears_words_thoughts_and_tools_over_several_turns(house: House, script: Script) -> None:
    name = await house.agent(tools=["clock"])
    says = [
        '[[think Let me see.]] [[call clock {"timezone":"UTC"}]] [[say It is {result}]]',
        "[[say Good night.]]",
    ]
    heard = await script("ai_sdk", act="talk", agent=f"@{house.workspace}/{name}", chat="tea", says=says)
    assert heard["errors"] == []
    assert heard["statuses"] == ["ready", "ready"]
    answer = heard["messages"][1]
    assert [part["type"] for part in answer["parts"]] == [
        "step-start",
        "reasoning",
        "dynamic-tool",
        "step-start",
        "text",
    ]
    tool = answer["parts"][2]
    assert (tool["toolName"], tool["state"], tool["input"]) == (
        "clock",
        "output-available",
        {"timezone": "UTC"},
    )
    assert tool["output"]["timezone"] == "UTC"
    assert answer["metadata"]["usage"]["totalTokens"] > 0
    assert heard["words"][3] == "Good night."
    conversation = answer["metadata"]["porch"]["conversation"]
    kept = await house.api("GET", f"/api/v1/conversations/{conversation}/messages")
    links = [(message["id"], message["parent"]) for message in kept["items"]]
    assert [parent for _, parent in links] == [None, *(name for name, _ in links[:-1])], "no branch"


async def test_it_hears_why_a_run_failed(house: House, script: Script) -> None:
    name = await house.agent()
    heard = await script(
        "ai_sdk",
        act="talk",
        agent=f"@{house.workspace}/{name}",
        chat="c",
        says=["[[fail overloaded after=2]]"],
    )
    assert heard["statuses"] == ["error"]
    assert "could not answer" in heard["errors"][0]
    assert heard["messages"][1]["metadata"]["porch"]["error"]["category"] == "overloaded"


async def test_it_keeps_nothing_of_an_answer_that_another_model_began_anew(
    house: House, script: Script
) -> None:
    name = await house.agent(model=["scripted:test", "scripted:small"])
    says = ["[[think Hm.]] [[fail overloaded after=3]]"]
    heard = await script("ai_sdk", act="talk", agent=f"@{house.workspace}/{name}", chat="c", says=says)
    assert heard["statuses"] == ["error"]
    parts = heard["messages"][1]["parts"]
    said = [part["text"] for part in parts if part["type"] in ("text", "reasoning")]
    assert said == ["Hm.", "The porch is"], "the second model's words, once"
    assert [part["type"] for part in parts].count("data-porch-discarded") == 1


async def test_it_reads_any_kind_of_run(house: House, script: Script) -> None:
    name = await house.agent(tools=["clock"], model=["scripted:test", "scripted:small"])
    says = [*FINE, *BROKEN]
    heard = await script("ai_sdk", act="talk", agent=f"@{house.workspace}/{name}", chat="c", says=says)
    assert heard["statuses"] == ["ready"] * len(FINE) + ["error"] * len(BROKEN)
    assert not [error for error in heard["errors"] if "chunk" in error or "Type validation" in error]
    assert len(heard["errors"]) == len(BROKEN)


async def test_regenerating_stands_beside_the_first_answer(house: House, script: Script) -> None:
    name = await house.agent()
    heard = await script(
        "ai_sdk", act="regenerate", agent=f"@{house.workspace}/{name}", chat="c", says=["[[say Hi.]]"]
    )
    assert heard["words"] == ["[[say Hi.]]", "Hi."]
    assert heard["first"]["id"] != heard["messages"][1]["id"]
    conversation = heard["first"]["metadata"]["porch"]["conversation"]
    kept = await house.api("GET", f"/api/v1/conversations/{conversation}/messages")
    question, *answers = kept["items"]
    assert [answer["parent"] for answer in answers] == [question["id"], question["id"]]


async def test_an_edited_first_message_begins_a_branch(house: House, script: Script) -> None:
    name = await house.agent()
    says = ["[[say One.]]", "[[say Two.]]"]
    heard = await script("ai_sdk", act="edit", agent=f"@{house.workspace}/{name}", chat="c", says=says)
    assert heard["words"] == ["[[say Two.]]", "Two."]
    conversation = heard["messages"][1]["metadata"]["porch"]["conversation"]
    kept = await house.api("GET", f"/api/v1/conversations/{conversation}/messages")
    assert [message["parent"] for message in kept["items"] if message["role"] == "user"] == [None, None]


async def test_another_page_resumes_the_answer_from_its_beginning(house: House, script: Script) -> None:
    name = await house.agent()
    heard = await script(
        "ai_sdk",
        act="resume",
        agent=f"@{house.workspace}/{name}",
        chat="c",
        says=["[[say Wait for it]] [[stall]]"],
        waits="Wait for it",
    )
    assert heard["same"] is True
    assert heard["words"] == ["Wait for it"]
    assert heard["third"] == [], "nothing is resumed when no answer is being written"
