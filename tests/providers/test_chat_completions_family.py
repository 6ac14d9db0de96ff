"""Chat Completions as the family speaks it: what single servers add, leave out, or write in another shape."""

import json
from functools import partial
from typing import Any

import pytest

from porch.contract.definition import ModelSettings
from porch.contract.events import ReasoningSealed
from porch.contract.messages import Part, ReasoningPart, TextPart, ToolCallPart, ToolResultPart
from porch.providers.chat_completions import profile
from porch.providers.chat_completions.decoder import Decoder
from porch.providers.chat_completions.encoder import encode_request
from porch.providers.request import ModelMessage, ModelRequest
from tests.providers.decoding import Decoded, decode

STOP: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": "stop"}
SIGNED = {"google": {"thought_signature": "c2lnbmVk"}}


def frame(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(*choices: Any, **more: Any) -> bytes:
    return frame({"model": "m", "choices": list(choices), **more})


def say(**delta: Any) -> bytes:
    return chunk({"index": 0, "delta": delta})


def run(*frames: bytes, seal: str = "") -> Decoded:
    body = b"".join(frames)
    dialect = partial(Decoder, seal=seal)
    whole = decode([body], dialect=dialect)
    assert decode([body[at : at + 1] for at in range(len(body))], dialect=dialect).plain() == whole.plain()
    # As a slow model's reads come: one event in each, which has a short way of its own.
    reads = [read + b"\n\n" for read in body.split(b"\n\n")[:-1]]
    assert decode([b": begun\n\n", *reads], dialect=dialect).plain() == whole.plain()
    return whole


@pytest.mark.parity("chat_completions", "errors inside the stream")
def test_an_error_that_groq_puts_beside_its_own_members_fails_the_answer() -> None:
    result = run(say(content="Hi"), chunk(x_groq={"id": "req_1", "error": "over capacity"}))
    assert result.error is not None
    assert "over capacity" in result.error.message


@pytest.mark.parity("chat_completions", "usage")
def test_usage_inside_a_choice_counts() -> None:
    counts = {"prompt_tokens": 19, "completion_tokens": 13, "total_tokens": 32}
    (usage,) = run(say(content="Hi"), chunk(STOP | {"usage": counts})).usage
    assert (usage.input_tokens, usage.output_tokens) == (19, 13)


def test_a_finish_reason_that_is_the_word_null_is_none() -> None:
    result = run(chunk({"index": 0, "delta": {"content": "Hi"}, "finish_reason": "null"}))
    assert result.error is not None
    assert result.error.kind == "cut"


def test_a_keep_alive_with_a_name_may_hold_anything() -> None:
    ping = b"event: ping\ndata: still here\n\n"
    result = run(ping, say(content="H"), ping, b"event: heartbeat\ndata:\n\n", say(content="i"), chunk(STOP))
    assert (result.error, result.text()) == (None, "Hi")


ODD: list[Any] = [
    {"choices": [{"index": 0, "delta": []}]},
    {"choices": [{"index": 0, "delta": ""}]},
    {"choices": {}},
    {"choices": [None]},
    {"choices": [{"index": 0, "delta": {"tool_calls": {}}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [None]}}]},
    {"choices": [{"index": 0, "delta": {"function_call": []}}]},
    [],
    None,
]


@pytest.mark.parity("chat_completions", "unknown events")
@pytest.mark.parametrize("odd", ODD)
def test_members_of_another_shape_are_left_out_and_the_words_beside_them_kept(odd: Any) -> None:
    result = run(say(content="H"), frame(odd), say(content="i"), chunk(STOP))
    assert (result.error, result.text()) == (None, "Hi")


def test_words_beside_an_odd_member_are_kept() -> None:
    result = run(say(content="Hi", tool_calls={}, function_call=[]), chunk(STOP))
    assert (result.error, result.text()) == (None, "Hi")


@pytest.mark.parity("openrouter", "reasoning")
def test_thoughts_that_come_in_their_details_alone_are_shown() -> None:
    result = run(
        say(reasoning_details=[{"type": "reasoning.text", "text": "Hm"}]),
        say(reasoning_details=[{"type": "reasoning.summary", "summary": "."}]),
        say(content="Hi"),
        chunk(STOP),
        seal="openrouter",
    )
    assert (result.text("reasoning"), result.text()) == ("Hm.", "Hi")


def test_a_chunk_with_more_than_text_says_all_of_it_amid_plain_ones() -> None:
    result = run(
        say(content="a"),
        say(content="b"),
        say(content="c", refusal="No."),
        say(content="d"),
        chunk({"index": 0, "delta": {"content": "e"}}, usage={"prompt_tokens": 1, "completion_tokens": 2}),
        chunk({"index": 1, "delta": {"content": "x"}}),
        chunk({"index": 0, "delta": {"content": "f"}}, {"index": 1, "delta": {"content": "x"}}),
        say(content="\ud83d"),
        say(content="\ude00ü"),
        chunk(STOP),
    )
    assert (result.text(), result.text("refusal")) == ("abcdef😀ü", "No.")
    assert [usage.output_tokens for usage in result.usage] == [2]


def test_an_error_amid_plain_chunks_is_seen() -> None:
    result = run(say(content="a"), say(content="b"), chunk(error={"message": "gone", "code": 503}))
    assert result.error is not None
    assert result.error.kind == "overloaded"


def test_an_answer_whose_chunks_all_hold_more_than_text_is_whole() -> None:
    words = [f"{at} " for at in range(40)]
    body = [
        chunk({"index": 0, "delta": {"content": word}}, citations=["https://a.example"]) for word in words
    ]
    assert run(*body, chunk(STOP)).text() == "".join(words)


@pytest.mark.parametrize("head", [b"", b"data: "])
def test_an_error_inside_a_list_is_one(head: bytes) -> None:
    error = {"error": {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED"}}
    decoded = decode([b": begun\n\n" * bool(head) + head + json.dumps([error]).encode() + b"\n\n"])
    assert decoded.error is not None
    assert decoded.error.kind == "quota"


def call(at: int, **more: Any) -> dict[str, Any]:
    function = {"name": "look", "arguments": json.dumps({"at": at})}
    return {"index": 0, "id": f"id-{at}", "type": "function", "function": function} | more


@pytest.mark.parity("chat_completions", "sealed reasoning kept")
def test_what_gemini_writes_beside_a_call_is_sealed_by_the_calls_place() -> None:
    result = run(say(tool_calls=[call(0), call(1, extra_content=SIGNED)]), chunk(STOP), seal="google")
    (seal,) = [event for event in result.events if isinstance(event, ReasoningSealed)]
    assert (seal.format, seal.data) == ("google", [{"call": 1, "extra_content": SIGNED}])
    assert [made.arguments for made in result.calls] == [{"at": 0}, {"at": 1}]


def test_what_stands_beside_a_call_is_kept_only_for_a_server_that_takes_it_back() -> None:
    result = run(say(tool_calls=[call(0, extra_content=SIGNED)]), chunk(STOP))
    assert not [event for event in result.events if isinstance(event, ReasoningSealed)]


def sent(*parts: Part) -> list[dict[str, Any]]:
    request = ModelRequest("gemini", "", [ModelMessage("assistant", list(parts))])
    return json.loads(encode_request(request, profile("google")))["messages"]


CALLS: list[Part] = [
    ToolCallPart(call="call_1", name="look", arguments={}),
    ToolCallPart(call="call_2", name="look", arguments={}),
]
RESULTS: list[Part] = [ToolResultPart(call="call_1", output="a"), ToolResultPart(call="call_2", output="b")]


@pytest.mark.parity("chat_completions", "sealed reasoning sent back unchanged")
def test_geminis_signature_goes_back_with_its_call() -> None:
    sealed = ReasoningPart(text="", format="google", sealed=[{"call": 0, "extra_content": SIGNED}])
    message, *_ = sent(*CALLS, sealed, *RESULTS)
    assert [made.get("extra_content") for made in message["tool_calls"]] == [SIGNED, None]


def test_calls_that_another_model_made_get_the_word_that_stands_for_a_signature() -> None:
    foreign = ReasoningPart(text="", format="openrouter", sealed=[{"type": "reasoning.encrypted"}])
    message, *_ = sent(TextPart(text="Look:"), foreign, *CALLS, *RESULTS)
    stand_in = {"google": {"thought_signature": "skip_thought_signature_validator"}}
    assert [made.get("extra_content") for made in message["tool_calls"]] == [stand_in, None]


@pytest.mark.parametrize("sealed", [None, "x", [1], [{"call": 7}], [{"call": "0"}]])
def test_an_odd_seal_does_not_stop_the_request(sealed: Any) -> None:
    message, *_ = sent(*CALLS, ReasoningPart(text="", format="google", sealed=sealed), *RESULTS)
    assert len(message["tool_calls"]) == 2


@pytest.mark.parity("openrouter", "structured output")
def test_a_server_that_hands_requests_on_hands_a_schema_only_to_those_who_keep_it() -> None:
    settings = ModelSettings(response_schema={"type": "object"})
    shaped = json.loads(encode_request(ModelRequest("m", "", [], settings=settings), profile("openrouter")))
    assert shaped["provider"] == {"require_parameters": True}
    assert "provider" not in json.loads(encode_request(ModelRequest("m", "", []), profile("openrouter")))
    assert "provider" not in json.loads(
        encode_request(ModelRequest("m", "", [], settings=settings), profile(""))
    )
