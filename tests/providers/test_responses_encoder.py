"""What a Responses server is sent."""

import base64
import json
from typing import Any

import pytest

from porch.contract.definition import ModelSettings
from porch.contract.events import ReasoningSealed, ToolError
from porch.contract.messages import (
    FilePart,
    ImagePart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from porch.providers.request import ModelMessage, ModelRequest, ToolSpec
from porch.providers.responses import Quirks, profile
from porch.providers.responses.decoder import Decoder
from porch.providers.responses.encoder import encode_request
from porch.providers.responses.quirks import FORMAT
from tests.providers.decoding import decode

CLOCK = ToolSpec("clock", "The time.", {"type": "object", "properties": {"tz": {"type": "string"}}})


def encode(*messages: ModelMessage, quirks: Quirks | None = None, **more: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"model": "gpt-5", "instructions": "", "messages": list(messages)} | more
    return json.loads(encode_request(ModelRequest(**asked), quirks or Quirks()))


def user(*parts: Part) -> ModelMessage:
    return ModelMessage(role="user", parts=list(parts))


def answer(*parts: Part) -> ModelMessage:
    return ModelMessage(role="assistant", parts=list(parts))


@pytest.mark.parity("responses", "system prompt")
def test_a_plain_question_keeps_nothing_at_the_server_and_asks_for_sealed_reasoning() -> None:
    assert encode(user(TextPart(text="Hi")), instructions="Be brief.") == {
        "model": "gpt-5",
        "instructions": "Be brief.",
        "input": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }


def test_a_model_that_does_not_reason_is_not_asked_about_it() -> None:
    body = encode(model="gpt-4o-mini", settings=ModelSettings(reasoning_effort="low"))
    assert set(body) == {"model", "input", "stream", "store"}


@pytest.mark.parity("responses", "tool results")
def test_a_tool_round_is_call_and_output_by_one_call_id_with_its_reasoning_before_it() -> None:
    sealed: dict[str, Any] = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAA"}
    body = encode(
        user(TextPart(text="Time?")),
        answer(
            ReasoningPart(text="I need the clock."),
            ReasoningPart(text="", format=FORMAT, sealed=sealed),
            TextPart(text="Let me see."),
            ToolCallPart(call="call_1", name="clock", arguments={"tz": "UTC"}),
            ToolCallPart(call="call_2", name="clock", raw_arguments="{oops"),
            ToolResultPart(call="call_1", output={"time": "12:00"}),
            ToolResultPart(call="call_2", error=ToolError(code="invalid_arguments", message="No.")),
            TextPart(text="Noon."),
        ),
    )
    assert body["input"] == [
        {"role": "user", "content": "Time?"},
        sealed,
        {"role": "assistant", "content": "Let me see."},
        {"type": "function_call", "call_id": "call_1", "name": "clock", "arguments": '{"tz":"UTC"}'},
        {"type": "function_call", "call_id": "call_2", "name": "clock", "arguments": '{"unparsed":"{oops"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": '{"time":"12:00"}'},
        {"type": "function_call_output", "call_id": "call_2", "output": "Error invalid_arguments: No."},
        {"role": "assistant", "content": "Noon."},
    ]


@pytest.mark.parity("responses", "sealed reasoning sent back unchanged")
def test_a_sealed_item_goes_back_as_it_came() -> None:
    item = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
    item |= {"encrypted_content": "gAAA", "status": "completed"}
    stream = [
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {"status": "completed"}},
    ]
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in stream)
    events = decode([body], dialect=Decoder).events
    (seal,) = [event for event in events if isinstance(event, ReasoningSealed)]
    part = ReasoningPart(text="", format=seal.format, sealed=seal.data)
    assert encode(answer(part, TextPart(text="Hi")))["input"][0] == item


def test_another_servers_sealed_reasoning_is_not_sent() -> None:
    sealed = {"type": "reasoning", "encrypted_content": "x"}
    for name in (None, "anthropic", "xai-responses"):
        parts = [ReasoningPart(text="", format=name, sealed=sealed), TextPart(text="Hi")]
        assert encode(answer(*parts))["input"] == [{"role": "assistant", "content": "Hi"}]
    assert encode(answer(*parts), quirks=profile("xai"))["input"][0] == sealed


def test_reasoning_that_led_to_nothing_is_left_out_since_the_server_would_refuse_it() -> None:
    sealed = ReasoningPart(text="", format=FORMAT, sealed={"type": "reasoning", "encrypted_content": "x"})
    assert encode(answer(sealed), user(TextPart(text="Go on")))["input"] == [
        {"role": "user", "content": "Go on"}
    ]


@pytest.mark.parity("responses", "images in", "files in")
def test_pictures_and_documents_travel_inside_the_request() -> None:
    words = base64.b64encode("Grüße".encode()).decode()
    body = encode(
        user(
            TextPart(text="See:"),
            ImagePart(media_type="image/png", data="aW1n"),
            FilePart(media_type="application/pdf", data="cGRm", name="a.pdf"),
            FilePart(media_type="application/pdf", data="cGRm"),
            FilePart(media_type="text/markdown", data=words, name="b.md"),
        )
    )
    assert body["input"][0]["content"] == [
        {"type": "input_text", "text": "See:"},
        {"type": "input_image", "image_url": "data:image/png;base64,aW1n", "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,cGRm"},
        {"type": "input_file", "filename": "file.pdf", "file_data": "data:application/pdf;base64,cGRm"},
        {"type": "input_text", "text": "b.md:\n\nGrüße"},
    ]


def test_texts_that_follow_each_other_are_one_message() -> None:
    parts = [TextPart(text="One. "), ReasoningPart(text="Hm."), TextPart(text=""), RefusalPart(text="Two.")]
    assert encode(answer(*parts))["input"] == [{"role": "assistant", "content": "One. Two."}]


def test_a_refusal_is_sent_as_what_was_said() -> None:
    assert encode(answer(RefusalPart(text="No.")))["input"] == [{"role": "assistant", "content": "No."}]


@pytest.mark.parity("responses", "limit on the answer's length")
def test_settings_are_sent_only_where_given_and_where_they_have_a_place() -> None:
    settings = ModelSettings(
        temperature=0.0,
        top_p=0.5,
        max_output_tokens=99,
        stop=["x"],
        seed=1,
        reasoning_effort="high",
        tool_choice="required",
    )
    body = encode(settings=settings, model="a-model")
    assert {name: body.get(name) for name in ("temperature", "top_p", "max_output_tokens", "reasoning")} == {
        "temperature": 0.0,
        "top_p": 0.5,
        "max_output_tokens": 99,
        "reasoning": {"effort": "high", "summary": "auto"},
    }
    assert not {"stop", "seed", "tools", "tool_choice"} & set(body)
    silent = ModelSettings(reasoning_effort="none")
    assert encode(settings=silent, model="a-model")["reasoning"] == {"effort": "none"}


@pytest.mark.parity("responses", "tool choice")
def test_tools_are_not_strict_and_one_of_them_can_be_forced() -> None:
    settings = ModelSettings(tool_choice="clock", parallel_tool_calls=False)
    body = encode(tools=[CLOCK], settings=settings)
    assert body["tools"] == [
        {
            "type": "function",
            "name": "clock",
            "description": "The time.",
            "parameters": CLOCK.parameters,
            "strict": False,
        }
    ]
    assert body["tool_choice"] == {"type": "function", "name": "clock"}
    assert body["parallel_tool_calls"] is False
    assert encode(tools=[CLOCK], settings=ModelSettings(tool_choice="none"))["tool_choice"] == "none"
    assert "tools" not in encode(tools=[CLOCK], quirks=Quirks(tools=False))


@pytest.mark.parity("responses", "structured output")
def test_a_schema_is_strict_where_the_server_can_promise_to_keep_it() -> None:
    closed: dict[str, Any] = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "string"}}},
        "required": ["a"],
        "additionalProperties": False,
    }
    shape = encode(settings=ModelSettings(response_schema=closed))["text"]["format"]
    assert shape == {"type": "json_schema", "name": "answer", "schema": closed, "strict": True}
    open_ended: list[dict[str, Any]] = [
        closed | {"required": []},
        closed | {"additionalProperties": True},
        {"anyOf": [{}, closed | {"required": 3}]},
    ]
    for loose in open_ended:
        assert not encode(settings=ModelSettings(response_schema=loose))["text"]["format"]["strict"]


@pytest.mark.parity("responses", "caching hints")
def test_requests_that_begin_alike_share_a_cache_key() -> None:
    settings = ModelSettings(cache=True)
    keys = [encode(user(TextPart(text=text)), settings=settings)["prompt_cache_key"] for text in "ab"]
    assert keys[0] == keys[1]
    assert keys[0] != encode(settings=settings, instructions="Other")["prompt_cache_key"]


def test_half_a_surrogate_pair_in_the_history_does_not_stop_the_request() -> None:
    call = ToolCallPart(call="c", name="n", arguments={"a": "\ud83d"})
    body = encode(user(TextPart(text="a\ud83d")), answer(call))
    assert body["input"][0]["content"] == "a\ufffd"
    assert json.loads(body["input"][1]["arguments"]) == {"a": "\ufffd"}


def test_a_server_that_nobody_knows_gets_nobody_elses_sealed_reasoning() -> None:
    assert profile("openai").seal == FORMAT
    assert profile("nobody").seal not in (FORMAT, profile("azure").seal)


def test_a_made_up_name_and_a_bare_schema_are_sent_as_the_server_takes_them() -> None:
    call = ToolCallPart(call="a", name="look.up", arguments={})
    body = encode(answer(call), tools=[ToolSpec("now", "The time.", {"type": "object"})])
    assert body["input"][0]["name"] == "look_up"
    assert body["tools"][0]["parameters"] == {"type": "object", "properties": {}}


def test_a_model_that_does_not_reason_is_not_sent_the_reasoning_of_others() -> None:
    sealed = ReasoningPart(text="", format=FORMAT, sealed={"encrypted_content": "x", "summary": []})
    kinds = [
        [
            item.get("type", item.get("role"))
            for item in encode(answer(sealed, TextPart(text="Hi")), model=model)["input"]
        ]
        for model in ("gpt-5", "gpt-4o")
    ]
    assert kinds == [["reasoning", "assistant"], ["assistant"]]


def test_empty_words_beside_a_picture_are_left_out() -> None:
    body = encode(user(TextPart(text=""), ImagePart(media_type="image/png", data="aW1n")))
    assert [piece["type"] for piece in body["input"][0]["content"]] == ["input_image"]
