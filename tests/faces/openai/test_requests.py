"""What callers send, as messages of a conversation and options of a run."""

import json
from typing import Any

import pytest

from porch.contract.definition import ModelSettings
from porch.contract.errors import InvalidInput
from porch.contract.messages import TextPart, ToolCallPart, ToolResultPart
from porch.faces.openai.chat_request import ChatRequest, read_chat
from porch.faces.openai.errors import Refused, answer_error
from porch.faces.openai.response_request import ResponseRequest, read_response
from porch.faces.openai.talk import MAX_DEPTH, MAX_MESSAGES, MAX_TEXT_BYTES
from porch.runs.context import StoredMessage


def chat(*messages: dict[str, Any], **given: Any) -> Any:
    return read_chat(ChatRequest.model_validate({"messages": messages, **given}))[:3]


def respond(*items: dict[str, Any], **given: Any) -> Any:
    return read_response(ResponseRequest.model_validate({"input": list(items), **given}))[:3]


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def tool(**parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "weather", **parameters}}


CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"at":"here"}'}}


def test_chat_messages_become_turns_and_system_words_are_gathered() -> None:
    before, parts, options = chat(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "How is it?"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL, {**CALL, "id": "c2"}]},
        {"role": "tool", "tool_call_id": "c1", "content": "sun"},
        {"role": "developer", "content": [{"type": "text", "text": "And kind."}]},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "rain"}]},
    )
    made = [ToolCallPart(call=name, name="weather", arguments={"at": "here"}) for name in ("c1", "c2")]
    assert before == [
        StoredMessage("user", [TextPart(text="How is it?")]),
        StoredMessage("assistant", [TextPart(text="Let me see."), *made]),
    ]
    assert parts == [ToolResultPart(call="c1", output="sun"), ToolResultPart(call="c2", output="rain")]
    assert options.instructions == "Be brief.\n\nAnd kind."


def test_items_of_responses_become_the_same() -> None:
    before, parts, options = respond(
        {"role": "user", "content": "How is it?"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me see."}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sun"},
        instructions="Be brief.",
    )
    assert [message.role for message in before] == ["user", "assistant"]
    assert before[1].parts[1] == ToolCallPart(call="c1", name="weather", arguments={})
    assert parts == [ToolResultPart(call="c1", output="sun")]
    assert options.instructions == "Be brief."


def test_settings_are_the_callers_and_none_where_it_set_none() -> None:
    hello = {"role": "user", "content": "Hi"}
    assert chat(hello)[2].settings is None
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    shape = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    settings = chat(
        hello,
        temperature=0.5,
        max_completion_tokens=9,
        stop="x",
        response_format=shape,
        reasoning_effort="low",
        tools=[tool()],
        tool_choice={"type": "function", "function": {"name": "weather"}},
    )[2].settings
    assert settings == ModelSettings(
        temperature=0.5,
        max_output_tokens=9,
        stop=["x"],
        response_schema=schema,
        reasoning_effort="low",
        tool_choice="weather",
    )


def test_some_of_the_tools_may_be_allowed() -> None:
    hello = {"role": "user", "content": "Hi"}
    others = [tool(), {"type": "function", "function": {"name": "news"}}]
    named = [{"type": "function", "function": {"name": "news"}}]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": named}}
    options = chat(hello, tools=others, tool_choice=choice)[2]
    assert [offered.name for offered in options.tools] == ["news"]
    assert options.settings.tool_choice == "required"
    flat = [{"type": "function", "name": "weather"}, {"type": "function", "name": "news"}]
    choice = {"type": "allowed_tools", "mode": "auto", "tools": flat[:1]}
    options = respond(hello, tools=flat, tool_choice=choice)[2]
    assert [offered.name for offered in options.tools] == ["weather"]
    assert options.settings is None
    assert options.request["tool_choice"] == choice
    assert [told["name"] for told in options.request["tools"]] == ["weather", "news"]


@pytest.mark.parametrize("arguments", ["not json", "[1]", json.dumps(deep(MAX_DEPTH + 1))])
def test_arguments_that_are_no_object_one_can_keep_stay_as_they_were_written(arguments: str) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    before, _, _ = chat(
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sun"},
    )
    assert before[1].parts == [ToolCallPart(call="c1", name="weather", raw_arguments=arguments)]


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"tools": [tool(parameters=deep(MAX_DEPTH + 1))]}, "tools[0]"),
        ({"tools": [tool(name="no spaces")]}, "tools[0]"),
        ({"tools": [tool(parameters={"description": "x" * 300_000})]}, "tools[0]"),
        ({"tools": [tool()] * 129}, "tools"),
        ({"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
        (
            {
                "tools": [tool()],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "auto",
                        "tools": [{"type": "function", "function": {"name": "x"}}],
                    },
                },
            },
            "tool_choice",
        ),
        ({"frequency_penalty": 1}, "frequency_penalty"),
    ],
)
def test_what_cannot_be_used_is_named(given: dict[str, Any], param: str) -> None:
    with pytest.raises(Refused) as raised:
        chat({"role": "user", "content": "Hi"}, **given)
    assert raised.value.param == param


def test_what_changes_nothing_is_taken() -> None:
    _, parts, _ = chat(
        {"role": "user", "content": "Hi", "name": "ada"}, n=1, frequency_penalty=0, user="u", store=True
    )
    assert parts == [TextPart(text="Hi")]


def test_a_message_s_words_have_a_limit_together_and_a_conversation_s_messages_a_number() -> None:
    half = {"type": "text", "text": "x" * (MAX_TEXT_BYTES // 2)}
    chat({"role": "user", "content": [half, half]})
    said = [{"role": "user", "content": "x"}] * (MAX_MESSAGES + 1)
    for messages in ([{"role": "user", "content": [half, half, half]}], said):
        with pytest.raises(Refused) as refused:
            chat(*messages)
        answer = answer_error(refused.value)
        assert (answer.status_code, refused.value.reason) == (400, "unsupported_value")


def test_text_that_no_store_can_carry_is_refused() -> None:
    for message in ({"role": "user", "content": "a\x00b"}, {"role": "system", "content": "a\x00b"}):
        with pytest.raises(InvalidInput, match="NUL"):
            chat(message)
