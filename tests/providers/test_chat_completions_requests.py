"""What a Chat Completions server is sent beyond words and tools, and how servers want it said differently."""

import base64
import json
from typing import Any

import pytest

from porch.contract.definition import ModelSettings
from porch.contract.messages import (
    FilePart,
    ImagePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from porch.providers.chat_completions import Quirks, profile
from porch.providers.chat_completions.encoder import encode_request
from porch.providers.chat_completions.profiles import PROFILES
from porch.providers.request import ModelMessage, ModelRequest, ToolSpec

CLOCK = ToolSpec("clock", "The time.", {"type": "object", "properties": {}})
CLOSED: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}


def encode(*messages: ModelMessage, server: str = "", **more: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"model": "m", "instructions": "", "messages": list(messages)} | more
    return json.loads(encode_request(ModelRequest(**asked), profile(server)))


def user(*parts: Part) -> ModelMessage:
    return ModelMessage(role="user", parts=list(parts))


def answer(*parts: Part) -> ModelMessage:
    return ModelMessage(role="assistant", parts=list(parts))


PICTURE = ImagePart(media_type="image/png", data="aW1n")
PAPER = FilePart(media_type="application/pdf", data="cGRm", name="a.pdf")
WORDS = FilePart(media_type="text/plain", data=base64.b64encode("Grüße".encode()).decode(), name="b.txt")


@pytest.mark.parity("chat_completions", "images in", "files in")
def test_pictures_and_files_travel_inside_the_request_where_the_server_takes_them() -> None:
    asked = user(TextPart(text="See:"), PICTURE, PAPER, WORDS)
    assert encode(asked, server="openai")["messages"][0]["content"] == [
        {"type": "text", "text": "See:"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aW1n"}},
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,cGRm"},
        },
        {"type": "text", "text": "b.txt:\n\nGrüße"},
    ]


def test_what_a_server_cannot_be_shown_is_named_to_the_model() -> None:
    content = encode(user(PICTURE, PAPER), server="deepseek")["messages"][0]["content"]
    assert content == (
        "[A file was attached that this model cannot be shown: image/png]\n\n"
        "[A file was attached that this model cannot be shown: a.pdf]"
    )


def test_a_files_words_stand_apart_from_those_of_the_person_which_stay_as_they_are() -> None:
    asked = user(TextPart(text="Hel"), TextPart(text="lo"), WORDS, TextPart(text=""), TextPart(text="Well?"))
    content = encode(asked)["messages"][0]["content"]
    assert content == "Hello\n\nb.txt:\n\nGrüße\n\nWell?"


@pytest.mark.parity("chat_completions", "tool choice")
@pytest.mark.parametrize(
    ("choice", "server", "sent"),
    [
        ("auto", "", "auto"),
        ("none", "", "none"),
        ("required", "", "required"),
        ("required", "mistral", "any"),
        ("clock", "", {"type": "function", "function": {"name": "clock"}}),
    ],
)
def test_the_choice_of_tools_is_sent_in_the_servers_words(choice: str, server: str, sent: Any) -> None:
    settings = ModelSettings(tool_choice=choice)
    assert encode(tools=[CLOCK], settings=settings, server=server)["tool_choice"] == sent
    assert "tool_choice" not in encode(settings=settings, server=server)


def test_parallel_calls_are_spoken_of_only_where_the_server_knows_the_word() -> None:
    settings = ModelSettings(parallel_tool_calls=False)
    assert encode(tools=[CLOCK], settings=settings)["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in encode(tools=[CLOCK], settings=settings, server="ollama")
    assert "parallel_tool_calls" not in encode(settings=settings)


@pytest.mark.parity("chat_completions", "structured output")
def test_a_schema_is_asked_for_as_such_or_in_words() -> None:
    settings = ModelSettings(response_schema=CLOSED)
    body = encode(settings=settings)
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": CLOSED, "strict": True},
    }
    assert body["messages"] == []
    body = encode(settings=settings, server="deepseek", instructions="Be brief.")
    assert body["response_format"] == {"type": "json_object"}
    said = body["messages"][0]["content"]
    assert said.startswith("Be brief.\n\nAnswer with JSON")
    assert json.loads(said.rpartition("\n")[2]) == CLOSED
    words = Quirks(schema="words")
    request = ModelRequest(model="m", instructions="", messages=[], settings=settings)
    assert "response_format" not in json.loads(encode_request(request, words))


@pytest.mark.parametrize(
    ("server", "effort", "sent"),
    [
        ("openai", "minimal", {"reasoning_effort": "minimal"}),
        ("openrouter", "high", {"reasoning": {"effort": "high"}}),
        ("cerebras", "none", {"reasoning_effort": "low"}),
        ("xai", "none", {"reasoning_effort": "low"}),
        ("mistral", "high", {}),
    ],
)
def test_the_effort_is_sent_as_the_nearest_that_the_server_knows(
    server: str, effort: Any, sent: dict[str, Any]
) -> None:
    body = encode(settings=ModelSettings(reasoning_effort=effort), server=server)
    assert {name: body[name] for name in body if name.startswith("reasoning")} == sent


@pytest.mark.parity("openrouter", "sealed reasoning sent back unchanged")
def test_reasoning_details_go_back_whole_with_the_answer_they_came_with() -> None:
    details = [{"type": "reasoning.encrypted", "data": "x", "index": 0}]
    parts: list[Part] = [
        ReasoningPart(text="Hm."),
        ToolCallPart(call="call_1", name="clock", arguments={}),
        ReasoningPart(text="", format="openrouter", sealed=details),
        ToolResultPart(call="call_1", output="12:00"),
        TextPart(text="Noon."),
    ]
    first, result, last = encode(answer(*parts), server="openrouter")["messages"]
    assert first["reasoning_details"] == details
    assert "reasoning_details" not in result | last
    assert "reasoning_details" not in json.dumps(encode(answer(*parts)))


def test_a_calls_reasoning_goes_back_as_text_where_the_server_demands_it() -> None:
    parts: list[Part] = [
        ReasoningPart(text="Hm."),
        ToolCallPart(call="call_1", name="clock", arguments={}),
        ToolResultPart(call="call_1", output="12:00"),
        ToolCallPart(call="call_2", name="clock", arguments={}),
        ToolResultPart(call="call_2", output="12:01"),
        ReasoningPart(text="So."),
        TextPart(text="Noon."),
    ]
    messages = encode(answer(*parts), server="deepseek")["messages"]
    assert [message.get("reasoning_content") for message in messages] == ["Hm.", None, "", None, None]


def test_ids_of_calls_take_the_form_that_the_server_demands() -> None:
    call = "call_01a2048982887e59879b97c309235708"
    parts: list[Part] = [
        ToolCallPart(call=call, name="f", arguments={}),
        ToolResultPart(call=call, output="1"),
    ]
    first, result = encode(answer(*parts), server="mistral")["messages"]
    short = first["tool_calls"][0]["id"]
    assert len(short) == 9
    assert short.isalnum()
    assert result["tool_call_id"] == short


@pytest.mark.parity("openrouter", "caching hints")
@pytest.mark.parity("chat_completions", "caching hints")
def test_hints_for_the_cache_are_given_where_the_server_reads_them() -> None:
    settings = ModelSettings(cache=True)
    assert len(encode(settings=settings, server="openai")["prompt_cache_key"]) == 32
    body = encode(settings=settings, server="openrouter", instructions="Be brief.")
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    ]
    assert set(encode(settings=settings)) == {"model", "messages", "stream", "stream_options"}


@pytest.mark.parametrize("server", sorted(PROFILES))
def test_every_server_is_sent_a_request_in_which_everything_is_asked_for(server: str) -> None:
    settings = ModelSettings(
        temperature=0.5,
        max_output_tokens=10,
        seed=1,
        reasoning_effort="minimal",
        tool_choice="required",
        parallel_tool_calls=True,
        response_schema=CLOSED,
        cache=True,
    )
    quirks = PROFILES[server]
    body = encode(user(TextPart(text="Hi"), PICTURE), server=server, tools=[CLOCK], settings=settings)
    assert body[quirks.max_tokens] == 10
    assert body.get("seed", body.get("random_seed")) == (1 if quirks.seed else None)
    assert "" not in body
    assert ("tools" in body) == quirks.tools
    assert body["messages"][-1]["role"] == "user"
    effort = body.get("reasoning_effort") or body.get("reasoning", {}).get("effort")
    assert effort in (*quirks.efforts, None)


def test_a_server_that_nobody_knows_is_sent_what_suits_the_family() -> None:
    assert profile("nobody") == Quirks()
