"""@ag-ui/client, unmodified, before a running server."""

from typing import Any

import pytest

from tests.browser.house import House
from tests.faces.foreign.conftest import Script
from tests.faces.foreign.cues import BROKEN, FINE

pytestmark = pytest.mark.timeout(400)  # the packages may have to come first
TOOL = {
    "name": "ask_person",
    "description": "Asks the person at the page.",
    "parameters": {"type": "object", "properties": {"question": {"type": "string"}}},
}


async def test_it_hears_words_thoughts_and_tools_over_several_turns(house: House, script: Script) -> None:
    name = await house.agent(tools=["clock"])
    says = [
        '[[think Let me see.]] [[call clock {"timezone":"UTC"}]] [[say It is {result}]]',
        "[[say Good night.]]",
    ]
    heard = await script("ag_ui", agent=f"@{house.workspace}/{name}", thread="tea-time", says=says)
    assert heard["errors"] == []
    roles = [message["role"] for message in heard["messages"]]
    assert roles == ["user", "reasoning", "assistant", "tool", "assistant", "user", "assistant"]
    thought, called, result, answer = heard["messages"][1:5]
    assert thought["content"] == "Let me see."
    assert called["toolCalls"][0]["function"] == {"name": "clock", "arguments": '{"timezone":"UTC"}'}
    assert result["toolCallId"] == called["toolCalls"][0]["id"]
    assert answer["content"].startswith("It is {")
    assert '"timezone":"UTC"' in answer["content"]
    assert heard["messages"][-1]["content"] == "Good night."
    conversation = heard["events"][0]["metadata"]["porch"]["conversation"]
    kept = await house.api("GET", f"/api/v1/conversations/{conversation}/messages")
    assert [message["role"] for message in kept["items"]] == ["user", "assistant", "user", "assistant"]
    links = [(message["id"], message["parent"]) for message in kept["items"]]
    assert [parent for _, parent in links] == [None, *(name for name, _ in links[:-1])], "no branch"


async def test_it_hears_why_a_run_failed(house: House, script: Script) -> None:
    name = await house.agent()
    heard = await script(
        "ag_ui", agent=f"@{house.workspace}/{name}", thread="t", says=["[[fail overloaded after=2]]"]
    )
    assert heard["events"][-1]["type"] == "RUN_ERROR"
    assert heard["events"][-1]["code"]
    assert len(heard["errors"]) >= 1


async def test_it_keeps_nothing_of_an_answer_that_another_model_began_anew(
    house: House, script: Script
) -> None:
    name = await house.agent(model=["scripted:test", "scripted:small"])
    says = ["[[think Hm.]] [[fail overloaded after=3]]"]
    heard = await script("ag_ui", agent=f"@{house.workspace}/{name}", thread="t", says=says)
    kinds = [event["type"] for event in heard["events"]]
    assert kinds.count("STEP_STARTED") == kinds.count("STEP_FINISHED") == 2
    assert kinds.count("MESSAGES_SNAPSHOT") == 1
    told = [message["content"] for message in heard["messages"] if message["role"] == "assistant"]
    assert told == ["The porch is"], "the second model's words, once"
    assert heard["events"][-1]["type"] == "RUN_ERROR"


async def test_it_has_nothing_to_say_against_any_kind_of_run(house: House, script: Script) -> None:
    name = await house.agent(tools=["clock"], model=["scripted:test", "scripted:small"])
    heard = await script("ag_ui", agent=f"@{house.workspace}/{name}", thread="t", says=[*FINE, *BROKEN])
    failed = [event["message"] for event in heard["events"] if event["type"] == "RUN_ERROR"]
    assert len(failed) == len(BROKEN)
    assert set(heard["errors"]) == set(failed), "and no complaint of the client's own"


async def test_it_runs_tools_of_its_own_and_the_agent_goes_on_with_their_results(
    house: House, script: Script
) -> None:
    name = await house.agent()
    says = ['[[call ask_person {"question":"Tea?"}]] [[say You said {result}]]']
    heard = await script(
        "ag_ui",
        agent=f"@{house.workspace}/{name}",
        thread="t",
        says=says,
        tools=[TOOL],
        answer="Yes, please.",
    )
    assert heard["errors"] == []
    ends: list[Any] = [event for event in heard["events"] if event["type"] == "RUN_FINISHED"]
    assert len(ends[0]["outcome"]["pendingToolCallIds"]) == 1
    assert heard["messages"][-1]["content"] == "You said Yes, please."


async def test_a_refusal_reaches_it_as_an_error_with_our_sentence(house: House, script: Script) -> None:
    heard = await script("ag_ui", agent=f"@{house.workspace}/nobody", thread="t", says=["Hello"])
    assert "There is no agent 'nobody'" in heard["errors"][0]
