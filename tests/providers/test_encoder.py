"""What a Chat Completions server is sent."""

import json
from typing import Any

from porch.contract.definition import ModelSettings
from porch.contract.events import ToolError
from porch.contract.messages import Part, ReasoningPart, RefusalPart, TextPart, ToolCallPart, ToolResultPart
from porch.providers.chat_completions import Quirks
from porch.providers.chat_completions.encoder import encode_request
from porch.providers.request import ModelMessage, ModelRequest, ToolSpec


def encode(*messages: ModelMessage, quirks: Quirks | None = None, **more: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"model": "m", "instructions": "", "messages": list(messages)} | more
    return json.loads(encode_request(ModelRequest(**asked), quirks or Quirks()))


def answer(*parts: Part) -> ModelMessage:
    return ModelMessage(role="assistant", parts=list(parts))


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
