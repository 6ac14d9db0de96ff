"""Chat Completions as single servers bend it: errors outside of frames, calls that share a place, odd ends."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from porch.contract.errors import Category
from porch.contract.events import PartStarted, ToolCallDelta, ToolCallStarted
from tests.providers.decoding import Decoded, decode

DONE = b"data: [DONE]\n\n"


def frame(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    return frame({"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def call(**fields: Any) -> bytes:
    return chunk(tool_calls=[fields])


def function(name: str | None, arguments: Any = None) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


ONE, TWO = function("look", '{"at":1}'), function("look", '{"at":2}')


def run(*frames: bytes) -> Decoded:
    """Decoded whole and byte by byte, which must come to the same."""
    body = b"".join(frames)
    decoded = decode([body])
    assert decode([body[at : at + 1] for at in range(len(body))]).plain() == decoded.plain()
    return decoded


def made(decoded: Decoded) -> list[tuple[str, Any]]:
    return [(each.name, each.arguments) for each in decoded.calls]


@pytest.mark.parity("chat_completions", "errors inside the stream")
@pytest.mark.parametrize("before", [b"", chunk(content="x"), chunk("stop", content="x")])
def test_an_error_in_a_field_of_its_own_is_none_the_less_one(before: bytes) -> None:
    error = b'error: {"code":400,"message":"the request exceeds the available context size"}\n\n'
    decoded = run(before, error, DONE)
    assert decoded.error is not None
    assert decoded.error.kind == "context_too_long"


@pytest.mark.parity("chat_completions", "errors inside the stream")
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"error": "Model too busy", "error_type": "rate_limit_exceeded"}, "rate_limit"),
        ({"error": "No such thing", "code": "invalid_argument"}, "bad_request"),
        ({"error": {"message": "Provider returned error", "code": "429"}}, "rate_limit"),
        ({"error": "boom"}, "overloaded"),
    ],
)
def test_the_codes_beside_an_errors_words_count(error: Any, kind: Category) -> None:
    for body in (chunk(content="x") + frame(error), json.dumps(error).encode()):
        decoded = run(body)
        assert decoded.error is not None
        assert decoded.error.kind == kind


@pytest.mark.parametrize("space", [b"\n", b" \r\n" * 700])
def test_white_space_may_come_before_a_document_for_as_long_as_it_takes(space: bytes) -> None:
    document = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
    decoded = decode([space, space, json.dumps(document).encode()])
    assert (decoded.error, decoded.text()) == (None, "Hi")
    assert run(space[:4] + json.dumps(document).encode()).text() == "Hi"
    streamed = run(space[:4] + chunk(content="Hi") + DONE)
    assert (streamed.error, streamed.text()) == (None, "Hi")


def test_a_whole_message_in_a_frame_is_taken_where_no_delta_came() -> None:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "Hi",
        "tool_calls": [{"id": "a", "function": ONE}],
    }
    whole = frame({"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    decoded = run(whole, DONE)
    assert (decoded.error, decoded.text(), made(decoded)) == (None, "Hi", [("look", {"at": 1})])
    assert run(chunk(content="H"), chunk(content="i"), whole, DONE).text() == "Hi"
    odd = frame({"choices": [{"index": 0, "message": "Hi", "finish_reason": "stop"}]})
    assert run(odd, DONE).text() == ""


def test_members_of_another_shape_are_left_out_of_a_document() -> None:
    message: dict[str, Any] = {"content": "Hi", "tool_calls": {}, "function_call": []}
    decoded = run(json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode())
    assert (decoded.error, decoded.text()) == (None, "Hi")


def test_frames_that_single_line_feeds_part_are_read_with_their_end_mark() -> None:
    body = chunk(content="a")[:-1] + chunk("stop", content="b")[:-1] + DONE
    for end in (b"", b"\n", b"\n\n"):
        decoded = run(body.rstrip(b"\n") + end)
        assert (decoded.error, decoded.text(), decoded.done) == (None, "ab", True)


def test_an_error_at_the_very_end_counts_though_its_frame_is_torn() -> None:
    decoded = run(chunk("stop", content="x"), b'event: error\ndata: {"error": {"mess')
    assert decoded.error is not None


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("content_filter: PROHIBITED_CONTENT", "content_filter"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("MAX_TOKENS", "length"),
        ("model_context_window_exceeded", "length"),
        ("STOP", "stop"),
        ("eos", "stop"),
    ],
)
def test_reasons_in_a_servers_own_words_are_understood(raw: str, reason: str) -> None:
    decoded = run(chunk(content="x"), chunk(raw), DONE)
    assert (decoded.outcome.reason, decoded.outcome.raw_reason) == (reason, raw)


@pytest.mark.parity("chat_completions", "tool calls in parallel")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"id": "null"}, {"id": "null"}),
        ({"id": "a"}, {"id": "a"}),
        ({"index": 0, "id": "a"}, {"index": 0}),
        ({"index": 0, "id": "a"}, {"index": 0, "id": ""}),
        ({"index": 0, "id": "a"}, {"index": 1, "id": "a"}),
        ({"index": 0}, {"index": 0}),
        ({"index": None}, {"index": None}),
    ],
)
def test_whole_calls_that_share_a_place_or_an_id_are_separate(first: Any, second: Any) -> None:
    one, two = {"function": ONE} | first, {"function": TWO} | second
    expected = [("look", {"at": 1}), ("look", {"at": 2})]
    assert made(run(chunk(tool_calls=[one, two]), chunk("stop"), DONE)) == expected
    assert made(run(call(**one), call(**two), chunk("stop"), DONE)) == expected


def test_a_name_told_with_every_fragment_does_not_part_the_arguments() -> None:
    pieces = ['{"a":', "{", '"b":', '{"c":1}', "}", "}"]
    fragments = [call(index=0, function=function("look", piece)) for piece in pieces]
    assert made(run(*fragments, chunk("tool_calls"), DONE)) == [("look", {"a": {"b": {"c": 1}}})]
    fragments = [
        call(index=0, id="a" if not at else "", function=function("look", piece))
        for at, piece in enumerate(pieces)
    ]
    assert made(run(*fragments, chunk("tool_calls"), DONE)) == [("look", {"a": {"b": {"c": 1}}})]


@pytest.mark.parametrize("again", [ONE, function(None, ONE["arguments"])])
def test_arguments_that_are_told_again_whole_count_once(again: Any) -> None:
    first = call(index=0, id="a", function=ONE)
    decoded = run(first, call(index=0, id="a", function=again), first, chunk("stop"), DONE)
    assert made(decoded) == [("look", {"at": 1})]


def test_an_empty_object_gives_way_to_the_arguments_that_follow_it() -> None:
    frames = [
        call(index=0, id="a", function=function("look", "{}")),
        call(index=1, id="b", function=function("now", "{}")),
        call(index=0, function=function(None, '{"at":')),
        call(index=0, function=function(None, "1}")),
    ]
    decoded = run(*frames, chunk("tool_calls"), DONE)
    assert made(decoded) == [("look", {"at": 1}), ("now", {})]
    deltas = [event.delta for event in decoded.events if isinstance(event, ToolCallDelta)]
    assert deltas == ['{"at":', "1}", "{}"]


def test_an_object_as_arguments_may_hold_half_a_surrogate_pair() -> None:
    body = json.dumps(
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": function("f", {"x": "\ud83d"})}]}}]}
    )
    assert made(run(b"data: " + body.encode() + b"\n\n", DONE)) == [("f", {"x": "\ufffd"})]


def test_a_custom_tools_input_is_its_arguments() -> None:
    decoded = run(
        call(index=0, id="a", type="custom", custom={"name": "sql", "input": ""}),
        call(index=0, custom={"input": "SELECT"}),
        chunk("tool_calls"),
        DONE,
    )
    (found,) = decoded.calls
    assert (found.name, found.raw_arguments) == ("sql", "SELECT")


def test_an_empty_legacy_call_amid_text_is_none() -> None:
    decoded = run(
        chunk(content="a", function_call={}),
        chunk(content="b", function_call={"name": "", "arguments": None}),
        chunk("stop"),
        DONE,
    )
    assert decoded.text() == "ab"
    assert sum(isinstance(event, PartStarted) for event in decoded.events) == 1


ENDLESS: list[Callable[[int], bytes]] = [
    lambda at: call(index=at, id=f"id{at}"),
    lambda at: call(index=0, function=function(None, "x" * 50)),
    lambda at: chunk(function_call=function(None, "x" * 50)),
]


@pytest.mark.parametrize("endless", ENDLESS)
def test_what_is_kept_for_calls_without_a_name_counts_against_the_cap(
    endless: Callable[[int], bytes],
) -> None:
    decoded = decode([endless(at) for at in range(100)], max_step_characters=1000)
    assert decoded.error is not None
    assert decoded.error.reason == "answer_too_large"
    assert not any(isinstance(event, ToolCallStarted) for event in decoded.events)


def test_a_charge_told_with_its_parts_is_read_as_their_sum() -> None:
    usage = {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "cost": {"input_tokens_cost": 0.0, "total_cost": 0.006},
    }
    (counts,) = run(chunk("stop", content="x"), frame({"choices": [], "usage": usage})).usage
    assert counts.cost is not None
    assert counts.cost.amount == "0.006"
