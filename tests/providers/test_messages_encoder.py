"""What a Messages server is sent."""

import json
from dataclasses import replace
from typing import Any

import pytest

from porch.contract.definition import ModelSettings
from porch.contract.events import PartFinished, ReasoningSealed, ToolCallFinished, ToolError
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
from porch.providers.messages import Quirks, find_quirks
from porch.providers.messages.decoder import Decoder
from porch.providers.messages.encoder import encode_request
from porch.providers.messages.wire import FORMAT
from porch.providers.request import ModelMessage, ModelRequest, ToolSpec
from tests.providers.decoding import decode
from tests.providers.messages import END, begin, delta, reason, start, stop, text

CLOCK = ToolSpec("clock", "The time.", {"type": "object", "properties": {"tz": {"type": "string"}}})
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
BUDGET = Quirks(thinking="budget")
ADAPTIVE = Quirks(thinking="adaptive", structured=True, max_tokens=32_000)


def encode(*messages: ModelMessage, quirks: Quirks | None = None, **more: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"model": "m", "instructions": "", "messages": list(messages)} | more
    return json.loads(encode_request(ModelRequest(**asked), quirks or Quirks()).body)


def user(*parts: Part | str) -> ModelMessage:
    found = [TextPart(text=part) if isinstance(part, str) else part for part in parts]
    return ModelMessage(role="user", parts=found)


def answer(*parts: Part) -> ModelMessage:
    return ModelMessage(role="assistant", parts=list(parts))


def results(*parts: Part) -> ModelMessage:
    return ModelMessage(role="tool", parts=list(parts))


def called(call: str, name: str = "clock") -> ToolCallPart:
    return ToolCallPart(call=call, name=name, arguments={})


def gave(call: str, output: Any = "ok") -> ToolResultPart:
    return ToolResultPart(call=call, output=output)


def thought(**sealed: Any) -> ReasoningPart:
    return ReasoningPart(text="", format=FORMAT, sealed={"type": "thinking", "signature": "c2ln"} | sealed)


def said(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def roles(body: dict[str, Any]) -> list[tuple[str, list[str]]]:
    turns = body["messages"]
    return [(turn["role"], [block["type"] for block in turn["content"]]) for turn in turns]


@pytest.mark.parity("messages", "system prompt")
def test_a_plain_question_says_only_what_it_must() -> None:
    body = encode(user("Hello"), instructions="Be brief.")
    assert body == {
        "model": "m",
        "max_tokens": 8192,
        "stream": True,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": [said("Hello")]}],
    }


@pytest.mark.parity("messages", "tool results")
def test_a_tool_round_is_call_and_result_under_our_own_id() -> None:
    body = encode(
        user("Time?"),
        answer(
            TextPart(text="Let me see."), ToolCallPart(call="call_1", name="clock", arguments={"tz": "UTC"})
        ),
        results(gave("call_1", {"time": "12:00"})),
        answer(TextPart(text="Noon.")),
        user("Thanks."),
        tools=[CLOCK],
    )
    assert body["messages"] == [
        {"role": "user", "content": [said("Time?")]},
        {
            "role": "assistant",
            "content": [
                said("Let me see."),
                {"type": "tool_use", "id": "call_1", "name": "clock", "input": {"tz": "UTC"}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": '{"time":"12:00"}'}],
        },
        {"role": "assistant", "content": [said("Noon.")]},
        {"role": "user", "content": [said("Thanks.")]},
    ]
    assert body["tools"] == [
        {"name": "clock", "description": "The time.", "input_schema": CLOCK.parameters},
    ]


def test_neighbours_of_one_role_are_one_turn_and_blank_text_is_left_out() -> None:
    body = encode(
        user("a"),
        user(" \n"),
        user("b"),
        answer(TextPart(text="c")),
        answer(RefusalPart(text="d")),
        user("e"),
    )
    assert [turn["content"] for turn in body["messages"]] == [
        [said("a"), said("b")],
        [said("c"), said("d")],
        [said("e")],
    ]


def test_an_answer_of_several_steps_in_one_message_is_taken_apart_in_order() -> None:
    late = ToolResultPart(call="b", error=ToolError(code="timeout", message="Too slow."))
    body = encode(
        user("x"), answer(called("a"), called("b"), gave("a", "1"), late, TextPart(text="Done.")), user("y")
    )
    assert roles(body) == [
        ("user", ["text"]),
        ("assistant", ["tool_use", "tool_use"]),
        ("user", ["tool_result", "tool_result"]),
        ("assistant", ["text"]),
        ("user", ["text"]),
    ]
    failed = body["messages"][2]["content"][1]
    assert failed["is_error"] is True
    assert failed["content"] == "Error timeout: Too slow."


def test_every_call_is_answered_in_the_next_turn_before_anything_else() -> None:
    body = encode(
        user("x"),
        answer(called("a"), called("b")),
        results(gave("b")),
        user("Go on."),
        answer(TextPart(text="y")),
        results(gave("nobody's")),
        answer(called("c")),
    )
    assert roles(body) == [
        ("user", ["text"]),
        ("assistant", ["tool_use", "tool_use"]),
        ("user", ["tool_result", "tool_result", "text"]),
        ("assistant", ["text", "tool_use"]),
        ("user", ["tool_result"]),
    ]
    first, second, _ = body["messages"][2]["content"]
    assert (first["tool_use_id"], first["is_error"]) == ("a", True)
    assert second == {"type": "tool_result", "tool_use_id": "b", "content": "ok"}


def test_an_empty_result_and_botched_arguments_are_sent_as_they_can_be() -> None:
    botched = ToolCallPart(call="a", name="clock", raw_arguments="{oops")
    body = encode(user("x"), answer(botched), results(gave("a", "")))
    assert body["messages"][1]["content"][0]["input"] == {"unparsed": "{oops"}
    assert body["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "a"}]


@pytest.mark.parity("messages", "images in", "files in")
def test_pictures_and_documents_are_blocks_of_their_own() -> None:
    body = encode(
        user(
            ImagePart(media_type="image/png", data="aW1n"),
            FilePart(media_type="application/pdf", data="cGRm", name="a.pdf"),
            FilePart(media_type="text/csv", data="YSxi", name="a.csv"),
            FilePart(media_type="application/zip", data="emlw", name="a.zip"),
            "What is this?",
        )
    )
    image, pdf, table, archive, question = body["messages"][0]["content"]
    assert image == {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "aW1n"},
    }
    assert pdf == {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "cGRm"},
        "title": "a.pdf",
    }
    assert "a,b" in table["text"]
    assert "a.zip" in archive["text"]
    assert question == said("What is this?")


@pytest.mark.parity("messages", "limit on the answer's length")
def test_settings_are_sent_only_where_given() -> None:
    settings = ModelSettings(temperature=0.0, top_p=0.5, max_output_tokens=9, stop=["x"], seed=1)
    body = encode(user("x"), settings=settings)
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.0, 0.5, 9)
    assert body["stop_sequences"] == ["x"]
    assert "seed" not in body
    one = encode(user("x"), settings=settings, quirks=Quirks(sampling=1))
    assert (one["temperature"], "top_p" in one) == (0.0, False)
    none = encode(user("x"), settings=settings, quirks=Quirks(sampling=0))
    assert "temperature" not in none
    assert "top_p" not in none


@pytest.mark.parity("messages", "tool choice")
@pytest.mark.parametrize(
    ("word", "parallel", "choice"),
    [
        (None, None, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("auto", True, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("clock", False, {"type": "tool", "name": "clock", "disable_parallel_tool_use": True}),
    ],
)
def test_tool_choices_are_said_in_the_apis_words(word: Any, parallel: Any, choice: Any) -> None:
    settings = ModelSettings(tool_choice=word, parallel_tool_calls=parallel)
    assert encode(user("x"), tools=[CLOCK], settings=settings).get("tool_choice") == choice
    assert "tool_choice" not in encode(user("x"), settings=settings)


def test_calls_in_the_history_have_their_tools_declared_even_where_none_may_be_called() -> None:
    body = encode(user("x"), answer(called("a"), called("b")), results(gave("a"), gave("b")))
    assert body["tools"] == [{"name": "clock", "input_schema": {"type": "object"}}]
    assert body["tool_choice"] == {"type": "none"}


@pytest.mark.parity("messages", "structured output")
def test_a_schema_is_asked_for_by_structured_output_where_the_model_has_it() -> None:
    nested: dict[str, Any] = {
        "type": "object",
        "properties": {"list": {"type": "array", "items": SCHEMA}, "kept": {"const": {"type": "object"}}},
    }
    body = encode(user("x"), tools=[CLOCK], settings=ModelSettings(response_schema=nested), quirks=ADAPTIVE)
    shape = body["output_config"]["format"]
    assert shape["type"] == "json_schema"
    assert shape["schema"]["additionalProperties"] is False
    assert shape["schema"]["properties"]["list"]["items"]["additionalProperties"] is False
    assert shape["schema"]["properties"]["kept"] == {"const": {"type": "object"}}
    assert [tool["name"] for tool in body["tools"]] == ["clock"]
    assert "additionalProperties" not in nested


@pytest.mark.parity("messages", "structured output")
@pytest.mark.parametrize(
    ("tools", "word", "names", "choice", "answers"),
    [
        ([], None, ["answer"], "tool", "answer"),
        ([CLOCK], "auto", ["clock", "answer"], "any", "answer"),
        ([CLOCK], "none", ["clock", "answer"], "tool", "answer"),
        ([replace(CLOCK, name="answer")], None, ["answer", "answer_"], "any", "answer_"),
        ([CLOCK], "required", ["clock"], "any", None),
        ([CLOCK], "clock", ["clock"], "tool", None),
    ],
)
def test_a_schema_is_asked_for_by_a_forced_tool_elsewhere(
    tools: list[ToolSpec], word: str | None, names: list[str], choice: str, answers: str | None
) -> None:
    settings = ModelSettings(response_schema=SCHEMA, tool_choice=word, reasoning_effort="high")
    encoded = encode_request(ModelRequest("m", "", [user("x")], tools, settings), BUDGET)
    body = json.loads(encoded.body)
    assert encoded.answer_tool == answers
    assert [tool["name"] for tool in body["tools"]] == names
    assert body["tool_choice"]["type"] == choice
    assert body["tool_choice"].get("disable_parallel_tool_use", False) == (answers is not None)
    assert "thinking" not in body, "a forced call leaves no room for reasoning"
    if answers:
        assert body["tools"][-1]["input_schema"] == SCHEMA


@pytest.mark.parametrize(
    ("effort", "max_tokens", "budget"),
    [
        ("minimal", None, 1024),
        ("low", None, 4096),
        ("high", None, 6144),
        ("high", 64_000, 24_576),
        ("low", 1200, None),
    ],
)
def test_effort_is_a_budget_below_the_answers_own(
    effort: Any, max_tokens: int | None, budget: int | None
) -> None:
    settings = ModelSettings(
        reasoning_effort=effort, max_output_tokens=max_tokens, temperature=0.2, top_p=0.9
    )
    body = encode(user("x"), settings=settings, quirks=BUDGET)
    if budget is None:
        assert "thinking" not in body
        assert body["temperature"] == 0.2
    else:
        assert body["thinking"] == {"type": "enabled", "budget_tokens": budget}
        assert body["thinking"]["budget_tokens"] < body["max_tokens"]
        assert "temperature" not in body


@pytest.mark.parametrize(
    ("effort", "word"), [("minimal", "low"), ("low", "low"), ("medium", "medium"), ("high", "high")]
)
def test_effort_is_a_word_where_the_model_decides(effort: Any, word: str) -> None:
    settings = ModelSettings(reasoning_effort=effort, response_schema=SCHEMA)
    body = encode(user("x"), settings=settings, quirks=replace(ADAPTIVE, display="summarized"))
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert body["output_config"]["effort"] == word
    assert body["output_config"]["format"]["type"] == "json_schema"


@pytest.mark.parametrize(
    ("at_rest", "effort", "thinking", "output"),
    [
        ("silent", None, None, None),
        ("silent", "none", None, None),
        ("thinks", None, None, None),
        ("thinks", "none", {"type": "disabled"}, None),
        ("always", "none", None, {"effort": "low"}),
    ],
)
def test_no_effort_is_said_as_each_model_takes_it(
    at_rest: Any, effort: Any, thinking: Any, output: Any
) -> None:
    quirks = replace(ADAPTIVE, at_rest=at_rest)
    body = encode(user("x"), settings=ModelSettings(reasoning_effort=effort), quirks=quirks)
    assert (body.get("thinking"), body.get("output_config")) == (thinking, output)


REASONED = ModelSettings(reasoning_effort="medium")


@pytest.mark.parity("messages", "sealed reasoning sent back unchanged")
def test_reasoning_goes_back_unchanged_within_the_answer_it_belongs_to() -> None:
    """From the stream, by way of the parts of a message, to the next request."""
    words = "Hm — 🤔\n"
    stream = [
        begin(),
        start(0, "thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking=words[:3]),
        delta(0, "thinking_delta", thinking=words[3:]),
        delta(0, "signature_delta", signature="c2lnbmVk"),
        stop(0),
        start(1, "redacted_thinking", data="RW5j"),
        stop(1),
        start(2, "thinking", thinking="", signature="aGlkZGVu"),
        stop(2),
        text(3, "Let me see."),
        start(4, "tool_use", id="toolu_1", name="clock", input={}),
        stop(4),
        reason("tool_use"),
        END,
    ]
    parts: list[Part] = []
    for event in decode([b"".join(stream)], dialect=Decoder).events:
        match event:
            case PartFinished(kind="reasoning", value=value):
                parts.append(ReasoningPart(text=value))
            case PartFinished(value=value):
                parts.append(TextPart(text=value))
            case ReasoningSealed(format=name, data=data):
                parts.append(ReasoningPart(text="", format=name, sealed=data))
            case ToolCallFinished(call=call, name=name, arguments=arguments):
                parts += [
                    ToolCallPart(call=call, name=name, arguments=arguments),
                    ToolResultPart(call=call, output="12:00"),
                ]
            case _:
                pass
    for quirks in (BUDGET, ADAPTIVE):
        body = encode(user("x"), answer(*parts), settings=REASONED, quirks=quirks)
        assert body["thinking"]["type"] in ("enabled", "adaptive")
        assert body["messages"][1]["content"][:3] == [
            {"type": "thinking", "thinking": words, "signature": "c2lnbmVk"},
            {"type": "redacted_thinking", "data": "RW5j"},
            {"type": "thinking", "thinking": "", "signature": "aGlkZGVu"},
        ]


@pytest.mark.parametrize(
    "parts",
    [
        [ReasoningPart(text="hm", format=FORMAT, sealed={"type": "thinking", "signature": "c2ln"})],
        [ReasoningPart(text="hm"), thought()],
        [thought(), ReasoningPart(text="hm")],
    ],
)
def test_a_seal_finds_its_words_in_its_own_part_or_beside_it(parts: list[Part]) -> None:
    body = encode(user("x"), answer(*parts, called("a"), gave("a")), settings=REASONED, quirks=ADAPTIVE)
    assert body["messages"][1]["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "c2ln"}


@pytest.mark.parametrize(
    "foreign",
    [
        [ReasoningPart(text="hm")],
        [ReasoningPart(text="", format="openai.responses", sealed={"type": "thinking", "signature": "x"})],
        [ReasoningPart(text="", format=FORMAT, sealed="x")],
        [thought()],
        [ReasoningPart(text="", format=FORMAT, sealed={"type": "sparkle"})],
    ],
)
def test_reasoning_that_the_api_would_refuse_stays_here(foreign: list[Part]) -> None:
    messages = [user("x"), answer(*foreign, called("a"), gave("a"))]
    assert roles(encode(*messages, settings=REASONED, quirks=ADAPTIVE))[1] == ("assistant", ["tool_use"])
    body = encode(*messages, settings=REASONED, quirks=BUDGET)
    assert "thinking" not in body, "an answer that began without reasoning cannot take it up"


def test_reasoning_of_earlier_answers_and_at_the_end_of_one_is_left_out() -> None:
    earlier = [user("x"), answer(thought(thinking="hm"), called("a"), gave("a"), TextPart(text="y"))]
    now = [user("z"), answer(thought(thinking="hm"), called("b"), gave("b"), thought(thinking="cut"))]
    body = encode(*earlier, *now, settings=REASONED, quirks=BUDGET)
    kinds = [kind for _, blocks in roles(body) for kind in blocks]
    assert kinds.count("thinking") == 1
    assert roles(body)[-2] == ("assistant", ["thinking", "tool_use"])


def test_reasoning_is_not_sent_where_none_is_asked_for_unless_the_model_thinks_all_the_same() -> None:
    messages = [user("x"), answer(thought(thinking="hm"), called("a"), gave("a"))]
    assert roles(encode(*messages, quirks=ADAPTIVE))[1] == ("assistant", ["tool_use"])
    at_rest = replace(ADAPTIVE, at_rest="thinks")
    assert roles(encode(*messages, quirks=at_rest))[1] == ("assistant", ["thinking", "tool_use"])
    off = ModelSettings(reasoning_effort="none")
    assert roles(encode(*messages, settings=off, quirks=at_rest))[1] == ("assistant", ["tool_use"])


def test_a_model_that_nobody_knows_and_that_thinks_unasked_gets_its_reasoning_back_as_it_came() -> None:
    messages = [user("x"), answer(thought(thinking="hm"), called("a"), gave("a"))]
    for effort in (None, "none", "high"):
        body = encode(
            *messages, settings=ModelSettings(reasoning_effort=effort), quirks=find_quirks("kimi-k2")
        )
        block = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
        assert body["messages"][1]["content"][0] == block
    silent = encode(*messages, quirks=find_quirks("claude-sonnet-4-5"))
    assert roles(silent)[1] == ("assistant", ["tool_use"]), "refused there while thinking is off"


@pytest.mark.parity("messages", "caching hints")
def test_the_prompt_is_marked_for_the_cache_where_that_is_asked() -> None:
    mark = {"type": "ephemeral"}
    settings = ModelSettings(cache=True)
    body = encode(user("x"), user("y"), instructions="Be brief.", tools=[CLOCK], settings=settings)
    assert body["system"] == [said("Be brief.") | {"cache_control": mark}]
    assert body["messages"][-1]["content"] == [said("x"), said("y") | {"cache_control": mark}]
    assert "cache_control" not in body["tools"][-1]
    bare = encode(user("x"), answer(called("a")), tools=[CLOCK], settings=settings)
    assert bare["tools"][-1]["cache_control"] == mark
    assert bare["messages"][-1]["content"][-1]["cache_control"] == mark
    assert json.dumps(encode(user("x"), settings=ModelSettings(cache=False))).count("cache_control") == 0


def test_half_a_surrogate_pair_in_the_history_does_not_stop_the_request() -> None:
    assert encode(user("a\ud83d"))["messages"][0]["content"] == [said("a\ufffd")]


@pytest.mark.parametrize(
    ("model", "thinking", "at_rest", "structured", "sampling"),
    [
        ("claude-3-haiku-20240307", "none", "silent", False, 2),
        ("claude-3-5-sonnet-latest", "none", "silent", False, 2),
        ("claude-3-7-sonnet@20250219", "budget", "silent", False, 2),
        ("claude-sonnet-4-20250514", "budget", "silent", False, 2),
        ("claude-opus-4-1-20250805", "budget", "silent", False, 1),
        ("anthropic/claude-haiku-4.5", "budget", "silent", True, 1),
        ("us.anthropic.claude-opus-4-6-v1:0", "adaptive", "silent", True, 1),
        ("anthropic/claude-4.7-opus-20260416", "adaptive", "silent", True, 0),
        ("claude-opus-5", "adaptive", "thinks", True, 0),
        ("claude-opus-5-5", "adaptive", "always", True, 0),
        ("claude-sonnet-5-5", "adaptive", "always", True, 0),
        ("claude-haiku-5-5", "adaptive", "thinks", True, 0),
        ("claude-haiku-4-5-20251001", "budget", "silent", True, 1),
        ("claude-fable-5", "adaptive", "always", True, 0),
        ("claude-mythos-preview", "adaptive", "always", True, 0),
        ("kimi-k2", "budget", "unknown", False, 2),
    ],
)
def test_a_models_quirks_are_known_by_its_name(
    model: str, thinking: str, at_rest: str, structured: bool, sampling: int
) -> None:
    found = find_quirks(model)
    assert (found.thinking, found.at_rest, found.structured, found.sampling) == (
        thinking,
        at_rest,
        structured,
        sampling,
    )


def test_a_made_up_name_and_a_blank_stop_are_sent_as_the_api_takes_them() -> None:
    call = ToolCallPart(call="a", name="look.up", arguments={})
    body = encode(user("x"), answer(call), results(gave("a")), settings=ModelSettings(stop=["\n", "END"]))
    assert body["messages"][1]["content"][0]["name"] == "look_up"
    assert [tool["name"] for tool in body["tools"]] == ["look_up"]
    assert body["stop_sequences"] == ["END"]
    assert "stop_sequences" not in encode(user("x"), settings=ModelSettings(stop=["\n"]))
