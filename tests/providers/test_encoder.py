"""What a Chat Completions server is sent."""

import json
from typing import Any

import pytest

from porch.contract.definition import ModelSettings
from porch.contract.events import ToolError
from porch.contract.messages import (
    ImagePart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from porch.providers.chat_completions import Quirks, profile
from porch.providers.chat_completions.encoder import encode_request
from porch.providers.request import ModelMessage, ModelRequest, ToolSpec


def encode(*messages: ModelMessage, quirks: Quirks | None = None, **more: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"model": "m", "instructions": "", "messages": list(messages)} | more
    return json.loads(encode_request(ModelRequest(**asked), quirks or Quirks()))


def answer(*parts: Part) -> ModelMessage:
    return ModelMessage(role="assistant", parts=list(parts))


@pytest.mark.parity("chat_completions", "tool results")
def test_a_tool_round_is_call_and_result_under_our_own_id() -> None:
    body = encode(
        ModelMessage(role="user", parts=[TextPart(text="Time?")]),
        answer(
            TextPart(text="Let me see."), ToolCallPart(call="call_1", name="clock", arguments={"tz": "UTC"})
        ),
        ModelMessage(role="tool", parts=[ToolResultPart(call="call_1", output={"time": "12:00"})]),
        answer(TextPart(text="Noon.")),
    )
    assert body["messages"] == [
        {"role": "user", "content": "Time?"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "clock", "arguments": '{"tz":"UTC"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": '{"time":"12:00"}'},
        {"role": "assistant", "content": "Noon."},
    ]


def test_an_answer_of_several_steps_in_one_message_is_taken_apart_in_order() -> None:
    parts: list[Part] = [
        ToolCallPart(call="a", name="one", arguments={}),
        ToolCallPart(call="b", name="two", arguments={}),
        ToolResultPart(call="a", output="1"),
        ToolResultPart(call="b", error=ToolError(code="timeout", message="Too slow.")),
        TextPart(text="Done."),
    ]
    messages = encode(answer(*parts))["messages"]
    assert [message["role"] for message in messages] == ["assistant", "tool", "tool", "assistant"]
    assert [call["id"] for call in messages[0]["tool_calls"]] == ["a", "b"]
    assert messages[0]["content"] is None
    assert messages[2]["content"] == "Error timeout: Too slow."


def test_reasoning_stays_here_and_a_message_of_nothing_else_is_left_out() -> None:
    assert encode(answer(ReasoningPart(text="hm")))["messages"] == []


def test_a_refusal_is_sent_as_what_was_said() -> None:
    assert encode(answer(RefusalPart(text="No.")))["messages"] == [{"role": "assistant", "content": "No."}]


def test_arguments_that_did_not_parse_are_sent_inside_an_object() -> None:
    messages = encode(answer(ToolCallPart(call="a", name="one", raw_arguments="{oops")))["messages"]
    assert json.loads(messages[0]["tool_calls"][0]["function"]["arguments"]) == {"unparsed": "{oops"}


@pytest.mark.parity("chat_completions", "limit on the answer's length")
def test_settings_are_sent_only_where_given() -> None:
    assert set(encode()) == {"model", "messages", "stream", "stream_options"}
    settings = ModelSettings(temperature=0.0, top_p=0.5, max_output_tokens=9, stop=["x"], seed=1)
    body = encode(settings=settings)
    assert {name: body[name] for name in ("temperature", "top_p", "max_tokens", "stop", "seed")} == {
        "temperature": 0.0,
        "top_p": 0.5,
        "max_tokens": 9,
        "stop": ["x"],
        "seed": 1,
    }


def test_quirks_change_what_is_sent() -> None:
    tool = ToolSpec("clock", "The time.", {"type": "object", "properties": {}})
    plain = encode(tools=[tool])
    assert plain["tools"][0]["function"]["name"] == "clock"
    quirks = Quirks(max_tokens="max_completion_tokens", stream_usage=False, tools=False)
    body = encode(tools=[tool], settings=ModelSettings(max_output_tokens=9), quirks=quirks)
    assert set(body) == {"model", "messages", "stream", "max_completion_tokens"}


def test_half_a_surrogate_pair_in_the_history_does_not_stop_the_request() -> None:
    body = encode(ModelMessage(role="user", parts=[TextPart(text="a\ud83d")]))
    assert body["messages"][0]["content"] == "a\ufffd"


def user(*parts: Part) -> ModelMessage:
    return ModelMessage(role="user", parts=list(parts))


def test_messages_of_a_person_that_follow_each_other_are_one() -> None:
    picture = ImagePart(media_type="image/png", data="aW1n")
    words = TextPart(text="One."), TextPart(text=""), TextPart(text="Two.")
    assert encode(*(user(part) for part in words))["messages"] == [
        {"role": "user", "content": "One.\n\nTwo."}
    ]
    body = encode(user(words[0]), user(TextPart(text=""), picture), user(words[2]), instructions="Be brief.")
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert [piece["type"] for piece in body["messages"][1]["content"]] == ["text", "image_url", "text"]
    apart = encode(user(words[0]), answer(TextPart(text="Yes.")), user(words[2]))
    assert [message["role"] for message in apart["messages"]] == ["user", "assistant", "user"]


def test_a_name_that_a_model_made_up_is_sent_back_as_servers_take_it() -> None:
    names = ["look.up", "a" * 80, "", "gr\u00fc\u00df dich", "look-up_2"]
    calls: list[Part] = [
        ToolCallPart(call=f"c{at}", name=name, arguments={}) for at, name in enumerate(names)
    ]
    sent = encode(answer(*calls))["messages"][0]["tool_calls"]
    assert [call["function"]["name"] for call in sent] == [
        "look_up",
        "a" * 64,
        "unnamed",
        "gr___dich",
        "look-up_2",
    ]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, {"type": "object", "properties": {}}),
        ({"type": "object"}, {"type": "object", "properties": {}}),
        (
            {"type": "object", "properties": {"a": {}}, "required": ["a"]},
            {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        ),
        ({"type": "string"}, {"type": "string"}),
    ],
)
def test_a_tools_schema_has_the_members_that_servers_demand(given: Any, sent: Any) -> None:
    body = encode(tools=[ToolSpec("clock", "The time.", given)])
    assert body["tools"][0]["function"]["parameters"] == sent


def test_an_empty_list_of_stops_is_not_sent() -> None:
    assert "stop" not in encode(settings=ModelSettings(stop=[]))


@pytest.mark.parametrize(
    ("server", "model", "sent"),
    [
        ("openai", "gpt-4o-mini", False),
        ("azure", "gpt-4o-mini", False),
        ("openai", "gpt-5-mini", True),
        ("azure", "o3", True),
        ("xai", "grok-4", False),
        ("xai", "grok-4-1-fast", False),
        ("xai", "grok-4.3", True),
        ("groq", "gpt-4o-mini", True),
    ],
)
def test_a_model_that_takes_no_effort_is_not_asked_for_one(server: str, model: str, sent: bool) -> None:
    settings = ModelSettings(reasoning_effort="low")
    assert ("reasoning_effort" in encode(model=model, settings=settings, quirks=profile(server))) == sent


def test_a_server_without_tools_is_not_shown_the_calls_of_others() -> None:
    call, result = ToolCallPart(call="a", name="one", arguments={}), ToolResultPart(call="a", output="1")
    messages = [
        user(TextPart(text="x")),
        answer(TextPart(text="Let me see."), call),
        ModelMessage(role="tool", parts=[result]),
        answer(TextPart(text="Done.")),
    ]
    assert encode(*messages, quirks=Quirks(tools=False))["messages"] == [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "Let me see.\n\nDone."},
    ]
