"""The Chat Completions decoder on hand-made answers: the wire's rules, one at a time."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from porch.contract.events import Notice, PartFinished, PartStarted, StreamChunk, ToolCallStarted
from tests.providers.decoding import ASKED, Decoded, decode, split

DONE = b"data: [DONE]\n\n"


def frame(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    return frame({"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more})


def say(text: Any) -> bytes:
    return chunk({"content": text})


def call(**fields: Any) -> bytes:
    return chunk({"tool_calls": [fields]})


def run(*frames: bytes) -> Decoded:
    """Decoded whole and byte by byte, which must come to the same."""
    body = b"".join(frames)
    decoded = decode([body])
    assert decode([body[at : at + 1] for at in range(len(body))]).plain() == decoded.plain()
    return decoded


@pytest.mark.parity("chat_completions", "text")
def test_text_is_one_part_that_ends_with_its_full_value() -> None:
    decoded = run(say("Hel"), say(""), say(None), say("lo"), chunk(finish="stop"), DONE)
    kinds = [type(event) for event in decoded.events]
    assert kinds == [PartStarted, StreamChunk, StreamChunk, PartFinished]
    assert decoded.text() == "Hello"
    assert (decoded.outcome.reason, decoded.outcome.raw_reason) == ("stop", "stop")


@pytest.mark.parity("chat_completions", "cached and reasoning tokens")
@pytest.mark.parity("chat_completions", "usage")
def test_the_usage_chunk_after_the_finish_reason_is_waited_for() -> None:
    usage = {
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    decoded = run(say("x"), chunk(finish="stop"), frame({"choices": [], "usage": usage}), DONE)
    (report,) = decoded.usage
    counts = (report.input_tokens, report.output_tokens, report.cached_input_tokens, report.reasoning_tokens)
    assert counts == (7, 5, 3, 2)


def test_of_several_usages_the_last_one_wins_and_is_reported_once() -> None:
    first, last = {"prompt_tokens": 7, "completion_tokens": 1}, {"prompt_tokens": 7, "completion_tokens": 9}
    decoded = run(chunk({"content": "x"}, usage=first), chunk(finish="stop", usage=last), DONE)
    assert [report.output_tokens for report in decoded.usage] == [9]


def test_a_stream_without_usage_reports_none() -> None:
    assert run(say("x"), chunk(finish="stop"), DONE).usage == []


def test_usage_of_odd_types_is_left_out() -> None:
    odd = {"prompt_tokens": "7", "completion_tokens": True, "prompt_tokens_details": [1]}
    decoded = run(say("x"), chunk(finish="stop", usage=odd), DONE)
    assert decoded.error is None
    assert decoded.usage == []


@pytest.mark.parity("chat_completions", "tool calls in parallel")
def test_parallel_calls_are_kept_apart_by_index() -> None:
    decoded = run(
        call(index=0, id="a", function={"name": "one", "arguments": ""}),
        call(index=1, id="b", function={"name": "two", "arguments": ""}),
        call(index=0, function={"arguments": '{"x":'}),
        call(index=1, function={"arguments": '{"y":2}'}),
        call(index=0, function={"arguments": "1}"}),
        chunk(finish="tool_calls"),
        DONE,
    )
    assert [(made.name, made.arguments) for made in decoded.calls] == [("one", {"x": 1}), ("two", {"y": 2})]
    assert decoded.outcome.reason == "tool_calls"


def test_a_repeated_name_is_not_joined_to_itself() -> None:
    decoded = run(
        call(index=0, id="a", function={"name": "clock", "arguments": ""}),
        call(index=0, id="a", function={"name": "clock", "arguments": "{}"}),
        chunk(finish="tool_calls"),
        DONE,
    )
    assert [made.name for made in decoded.calls] == ["clock"]


def test_two_ids_at_one_index_are_two_calls() -> None:
    decoded = run(
        call(index=0, id="a", function={"name": "one", "arguments": '{"x":1}'}),
        call(index=0, id="b", function={"name": "two", "arguments": '{"y":2}'}),
        chunk(finish="tool_calls"),
        DONE,
    )
    assert [(made.name, made.arguments) for made in decoded.calls] == [("one", {"x": 1}), ("two", {"y": 2})]


def test_an_id_made_up_anew_with_every_fragment_is_still_one_call() -> None:
    decoded = run(
        call(index=0, id="a", function={"name": "one", "arguments": '{"x"'}),
        call(index=0, id="b", function={"name": None, "arguments": ":1}"}),
        chunk(finish="tool_calls"),
        DONE,
    )
    assert [made.arguments for made in decoded.calls] == [{"x": 1}]


@pytest.mark.parity("chat_completions", "tool calls in parallel")
def test_whole_calls_in_one_chunk_without_index_are_separate() -> None:
    calls = [
        {"id": "a", "function": {"name": "one", "arguments": "{}"}},
        {"function": {"name": "one", "arguments": "{}"}},
    ]
    decoded = run(chunk({"tool_calls": calls}), chunk(finish="tool_calls"), DONE)
    assert [made.name for made in decoded.calls] == ["one", "one"]


def test_fragments_without_index_and_id_continue_the_last_call() -> None:
    decoded = run(
        call(function={"name": "one", "arguments": '{"x"'}),
        call(function={"arguments": ":1}"}),
        call(function={"name": "two", "arguments": "{}"}),
        chunk(finish="tool_calls"),
        DONE,
    )
    assert [(made.name, made.arguments) for made in decoded.calls] == [("one", {"x": 1}), ("two", {})]


@pytest.mark.parametrize("names", [("one", "two"), ("one", "one")])
def test_whole_calls_at_one_index_without_ids_are_separate(names: tuple[str, str]) -> None:
    calls = [call(index=0, function={"name": name, "arguments": '{"x":1}'}) for name in names]
    decoded = run(*calls, chunk(finish="tool_calls"), DONE)
    assert [(made.name, made.arguments) for made in decoded.calls] == [(name, {"x": 1}) for name in names]


def test_an_id_that_comes_after_the_name_does_not_begin_another_call() -> None:
    decoded = run(
        call(index=0, function={"name": "one", "arguments": ""}),
        call(index=0, id="a", function={"arguments": "{}"}),
        chunk(finish="tool_calls"),
        DONE,
    )
    assert len(decoded.calls) == 1


def test_arguments_sent_as_an_object_are_taken() -> None:
    decoded = run(
        call(index=0, function={"name": "one", "arguments": {"x": [1]}}), chunk(finish="stop"), DONE
    )
    assert [made.arguments for made in decoded.calls] == [{"x": [1]}]


def test_a_name_that_comes_late_gets_the_arguments_before_it() -> None:
    decoded = run(
        call(index=0, id="a", function={"name": "", "arguments": '{"x"'}),
        call(index=0, function={"name": "one", "arguments": ":1}"}),
        chunk(finish="tool_calls"),
        DONE,
    )
    assert [(made.name, made.arguments) for made in decoded.calls] == [("one", {"x": 1})]


def test_a_call_that_never_gets_a_name_is_an_error() -> None:
    decoded = run(call(index=0, function={"arguments": "{}"}), chunk(finish="tool_calls"), DONE)
    assert decoded.error is not None
    assert decoded.error.kind == "protocol"


def test_an_empty_fragment_is_no_call() -> None:
    decoded = run(say("x"), call(index=0, function={"name": "", "arguments": ""}), chunk(finish="stop"), DONE)
    assert decoded.error is None
    assert decoded.calls == []


@pytest.mark.parametrize(
    "arguments", ["not json", "[1]", '"x"', '{"a":1', '{"a":NaN}', '{"a":1e999}', "[" * 5000]
)
def test_arguments_that_are_no_object_are_kept_raw_with_an_error(arguments: str) -> None:
    decoded = run(call(index=0, function={"name": "one", "arguments": arguments}), chunk(finish="stop"), DONE)
    (made,) = decoded.calls
    assert made.arguments is None
    assert made.raw_arguments == arguments
    assert made.error is not None


def test_arguments_nesting_too_deep_are_an_error_of_that_call() -> None:
    deep = '{"a":' * 1000 + "1" + "}" * 1000
    decoded = run(call(index=0, function={"name": "one", "arguments": deep}), chunk(finish="stop"), DONE)
    assert decoded.error is None
    assert decoded.calls[0].error is not None
    assert (
        decoded.calls[0].error.message
        == "The arguments must be one JSON object. They nest more than 64 deep."
    )


def test_a_call_without_arguments_has_an_empty_object() -> None:
    decoded = run(call(index=0, id="a", function={"name": "now"}), chunk(finish="tool_calls"), DONE)
    assert decoded.calls[0].arguments == {}


def test_a_legacy_function_call_is_one_call() -> None:
    decoded = run(
        chunk({"role": "assistant", "content": None, "function_call": {"name": "clock", "arguments": ""}}),
        chunk({"function_call": {"arguments": '{"tz":'}}),
        chunk({"function_call": {"arguments": '"UTC"}'}}),
        chunk(finish="function_call"),
        DONE,
    )
    assert [(made.name, made.arguments) for made in decoded.calls] == [("clock", {"tz": "UTC"})]
    assert (decoded.outcome.reason, decoded.outcome.raw_reason) == ("tool_calls", "function_call")


def test_a_forced_call_that_ends_with_stop_still_counts_as_calls() -> None:
    decoded = run(call(index=0, function={"name": "one", "arguments": "{}"}), chunk(finish="stop"), DONE)
    assert (decoded.outcome.reason, decoded.outcome.raw_reason) == ("tool_calls", "stop")


def test_a_finish_reason_of_calls_without_any_call_is_stop() -> None:
    assert run(say("x"), chunk(finish="tool_calls"), DONE).outcome.reason == "stop"


@pytest.mark.parity("chat_completions", "finish reasons")
@pytest.mark.parametrize(
    ("raw", "reason"),
    [("length", "length"), ("max_tokens", "length"), ("content_filter", "content_filter"), ("weird", "stop")],
)
def test_finish_reasons_are_normalised_and_kept_raw(raw: str, reason: str) -> None:
    decoded = run(say("x"), chunk(finish=raw), DONE)
    assert (decoded.outcome.reason, decoded.outcome.raw_reason) == (reason, raw)


def test_a_finish_reason_that_repeats_ends_the_answer_once() -> None:
    decoded = run(say("x"), chunk(finish="stop"), chunk({"content": ""}, finish="stop"), DONE)
    assert decoded.text() == "x"


@pytest.mark.parity("chat_completions", "reasoning")
@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_a_part_that_ends_where_the_text_begins(field: str) -> None:
    decoded = run(
        chunk({field: "hm", "content": ""}), chunk({field: "m"}), say("Yes"), chunk(finish="stop"), DONE
    )
    kinds = [event.kind for event in decoded.events if isinstance(event, PartFinished)]
    assert kinds == ["reasoning", "text"]
    assert decoded.text("reasoning") == "hmm"


def test_the_same_reasoning_in_two_fields_counts_once() -> None:
    decoded = run(chunk({"reasoning": "hm", "reasoning_content": "hm"}), chunk(finish="stop"), DONE)
    assert decoded.text("reasoning") == "hm"


def test_content_as_a_list_holds_text_and_thinking() -> None:
    thinking = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]
    decoded = run(
        say(thinking), say([{"type": "text", "text": "Yes"}, {"type": "reference", "ids": [1]}]), DONE
    )
    assert (decoded.text("reasoning"), decoded.text()) == ("hm", "Yes")


@pytest.mark.parity("chat_completions", "refusals")
def test_a_refusal_is_a_part_of_its_own_and_the_reason() -> None:
    decoded = run(chunk({"refusal": "I can"}), chunk({"refusal": "not."}), chunk(finish="stop"), DONE)
    assert decoded.text("refusal") == "I cannot."
    assert decoded.outcome.reason == "refusal"


def test_the_token_that_stands_beside_the_delta_counts_once() -> None:
    body = frame(
        {"choices": [{"index": 0, "text": "x", "delta": {"content": "x"}, "message": {"content": "x"}}]}
    )
    assert run(body, DONE).text() == "x"


def test_a_second_candidate_is_left_out() -> None:
    other = frame({"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}]})
    decoded = run(say("yes"), other, chunk(finish="stop"), other, DONE)
    assert decoded.text() == "yes"
    assert decoded.outcome.reason == "stop"


def test_the_model_that_answered_is_noted() -> None:
    first = frame({"model": "", "choices": [], "prompt_filter_results": []})
    assert (
        run(first, chunk({"content": "x"}, finish="stop", model="gpt-real"), DONE).outcome.model == "gpt-real"
    )


def test_crlf_comments_and_a_missing_end_mark_make_no_difference() -> None:
    body = (b": hello\n\n" + say("x") + chunk(finish="stop")).replace(b"\n", b"\r\n")
    decoded = run(body)
    assert decoded.error is None
    assert decoded.text() == "x"


def test_an_end_mark_without_a_finish_reason_is_an_end() -> None:
    decoded = run(say("x"), DONE)
    assert decoded.error is None
    assert (decoded.outcome.reason, decoded.outcome.raw_reason) == ("stop", None)


def test_what_follows_the_end_mark_does_not_count() -> None:
    decoded = run(say("x"), chunk(finish="stop"), DONE, say("more"), b"data: rubbish\n\n")
    assert decoded.error is None
    assert decoded.text() == "x"


@pytest.mark.parity("chat_completions", "a stream cut off")
@pytest.mark.parametrize(
    "body", [b"", b": ping\n\n", say("x"), say("x") + b'data: {"choi', say("x") + b"data: [DO"]
)
def test_an_end_of_file_without_an_end_is_a_cut(body: bytes) -> None:
    decoded = run(body)
    assert decoded.error is not None
    assert decoded.error.kind == "cut"
    assert decoded.error.retryable


def test_a_lost_tail_after_the_finish_reason_does_no_harm() -> None:
    assert run(say("x"), chunk(finish="stop"), b'data: {"choices":[],"usa').error is None


def test_usage_seen_before_a_cut_is_still_reported() -> None:
    decoded = run(chunk({"content": "x"}, usage={"prompt_tokens": 7, "completion_tokens": 1}))
    assert decoded.error is not None
    assert len(decoded.usage) == 1


def test_an_error_in_the_stream_overrides_a_finish_reason() -> None:
    error: dict[str, Any] = {
        "error": {"message": "Provider disconnected", "code": 502},
        "choices": [{"index": 0, "delta": {}}],
    }
    decoded = run(say("x"), chunk(finish="length"), chunk(finish="length"), frame(error), DONE)
    assert decoded.error is not None
    assert decoded.error.kind == "overloaded"
    assert "Provider disconnected" in decoded.error.message


def test_an_error_in_the_very_last_frame_without_its_blank_line_counts() -> None:
    decoded = run(say("x"), chunk(finish="stop"), b'data: {"error": {"message": "no more", "code": 429}}')
    assert decoded.error is not None
    assert decoded.error.kind == "rate_limit"


@pytest.mark.parity("chat_completions", "errors inside the stream")
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'event: error\ndata: {"message": "slow down", "code": 429}\n\n', "rate_limit"),
        (
            b'data: {"object": "error", "message": "too long: context length is 8192", "code": 400}\n\n',
            "context_too_long",
        ),
        (b'data: {"error": "boom"}\n\n', "overloaded"),
        (b'data: {"error": {"type": "invalid_request_error", "message": "no such tool"}}\n\n', "bad_request"),
        (b'data: {"error": {"code": "content_filter", "message": "flagged"}}\n\n', "content_filtered"),
    ],
)
def test_errors_come_in_many_shapes(body: bytes, kind: str) -> None:
    decoded = run(say("x"), body)
    assert decoded.error is not None
    assert decoded.error.kind == kind


@pytest.mark.parametrize("reason", ["error", "network_error", "abort"])
def test_a_finish_reason_that_says_error_is_one(reason: str) -> None:
    assert run(say("x"), chunk(finish=reason), DONE).error is not None


@pytest.mark.parity("chat_completions", "unknown events")
def test_an_unknown_frame_does_not_fail_the_stream() -> None:
    decoded = run(frame({"object": "ping", "message": "still here"}), say("x"), chunk(finish="stop"), DONE)
    assert decoded.error is None


def test_one_payload_with_two_objects_is_both() -> None:
    two = b"data: " + b"".join(
        json.dumps({"choices": [{"delta": {"content": text}}]}).encode() for text in "ab"
    )
    assert run(two + b"\n\n", chunk(finish="stop"), DONE).text() == "ab"


def test_a_frame_that_is_not_json_is_a_protocol_error() -> None:
    decoded = run(say("x"), b"data: upstream timed out\n\n")
    assert decoded.error is not None
    assert decoded.error.kind == "protocol"
    assert "upstream timed out" in decoded.error.message


@pytest.mark.parametrize(
    "body", [b"<html><title>Sign in</title></html>", b"\n\n  <!DOCTYPE html>", b"\xef\xbb\xbf<p>"]
)
def test_a_page_instead_of_a_stream_is_a_protocol_error(body: bytes) -> None:
    decoded = run(body)
    assert decoded.error is not None
    assert "HTML" in decoded.error.message


def test_a_whole_answer_instead_of_a_stream_is_taken() -> None:
    message = {
        "role": "assistant",
        "content": "Hi",
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "one", "arguments": "{}"}}],
    }
    body = {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    decoded = run(b"\xef\xbb\xbf" + json.dumps(body | {"usage": usage}, indent=1).encode())
    assert decoded.error is None
    assert decoded.text() == "Hi"
    assert [made.name for made in decoded.calls] == ["one"]
    assert decoded.outcome.model == "m"
    assert len(decoded.usage) == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"error": {"message": "bad key", "code": "invalid_api_key"}}', "auth"),
        (b'{"choices": []}', "protocol"),
        (b'{"hello": 1}', "protocol"),
        (b'{"choices": [{"mess', "protocol"),
        (b"[1, 2]", "protocol"),
    ],
)
def test_a_document_that_is_no_answer_is_an_error(body: bytes, kind: str) -> None:
    decoded = run(body)
    assert decoded.error is not None
    assert decoded.error.kind == kind


@pytest.mark.parametrize(
    "body", [b'data: {"x":"\xff"}\n\n', b'data: {"choices":[{"delta":{"content":"\xc3"}}]}\n\n']
)
def test_invalid_utf8_fails_closed(body: bytes) -> None:
    decoded = run(say("x"), body, chunk(finish="stop"), DONE)
    assert decoded.error is not None
    assert decoded.error.kind == "protocol"
    assert "UTF-8" in decoded.error.message


def test_a_surrogate_pair_split_over_chunks_is_joined_and_a_lone_half_replaced() -> None:
    halves = [
        b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % text
        for text in (rb"a\ud83d", rb"\ude00b\ud83d")
    ]
    decoded = run(*halves, chunk(finish="stop"), DONE)
    assert decoded.text() == "a😀b\ufffd"


def test_a_nul_from_the_model_is_replaced_and_noticed_once() -> None:
    decoded = run(say("a\x00b"), say("\x00"), chunk(finish="stop"), DONE)
    assert decoded.text() == "a\ufffdb\ufffd"
    assert [event.code for event in decoded.events if isinstance(event, Notice)] == ["nul_replaced"]


def test_a_frame_over_the_cap_is_refused() -> None:
    for pieces in ([say("x" * 5000)], [b"data: " + b"x" * 600] * 10, [b'{"a":"' + b"x" * 5000]):
        decoded = decode(pieces, max_frame_bytes=4096)
        assert decoded.error is not None
        assert decoded.error.kind == "protocol"


def test_an_answer_over_the_cap_is_stopped() -> None:
    decoded = decode([say("x" * 300) for _ in range(10)], max_step_characters=1000)
    assert decoded.error is not None
    assert decoded.error.reason == "answer_too_large"
    assert decoded.text() == "x" * 900


def test_calls_without_end_are_stopped() -> None:
    frames = [call(index=at, function={"name": "one"}) for at in range(100)]
    decoded = decode([b"".join(frames)], max_step_characters=1000)
    assert decoded.error is not None
    assert 0 < sum(isinstance(event, ToolCallStarted) for event in decoded.events) < 20


def test_an_error_never_shows_the_key() -> None:
    key = ASKED.endpoint.key or "?"
    decoded = run(
        frame({"error": {"message": f"Incorrect key {key} and sk-proj-abcdefgh12345678", "code": 401}})
    )
    assert decoded.error is not None
    assert decoded.error.kind == "auth"
    assert key not in decoded.error.message
    assert "abcdefgh" not in decoded.error.message
    assert "OPENAI_API_KEY" in decoded.error.message


TEXTS = st.text(max_size=8)
ARGUMENTS = st.sampled_from(["{}", '{"a":1}', '{"a":', "1}", {}, {"a": "\ud83d"}, {"a": 10**30}, [1], None])
FUNCTIONS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.one_of(st.none(), TEXTS, st.just("look")),
        "arguments": TEXTS | ARGUMENTS,
    },
)
CALLS = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, 2) | st.none(),
        "id": TEXTS | st.sampled_from([None, "a", "null"]),
        "function": FUNCTIONS,
        "custom": FUNCTIONS,
    },
)
DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "content": TEXTS | st.none() | st.lists(st.fixed_dictionaries({"text": TEXTS})),
        "reasoning": TEXTS,
        "reasoning_content": TEXTS | st.none(),
        "refusal": TEXTS | st.none(),
        "tool_calls": st.lists(CALLS, max_size=3),
        "function_call": FUNCTIONS,
    },
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "choices", "delta", "usage", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
FRAMES = st.one_of(
    st.builds(chunk, DELTAS, st.sampled_from([None, "stop", "length", "tool_calls", "error"])),
    st.builds(frame, JSON),
    st.binary(max_size=12),
    st.sampled_from(
        [
            DONE,
            b": ping\n\n",
            b"\r",
            b"\n",
            b"data:",
            b"event: error\n",
            b"data: \n\n",
            b"\xef\xbb\xbf",
            b"{",
            b"<",
        ]
    ),
)


@pytest.mark.parity("chat_completions", "any split of the bytes")
@settings(deadline=None)
@given(st.lists(FRAMES, max_size=8), st.integers(0, 2**32), st.booleans())
def test_any_bytes_give_the_same_events_at_every_split_and_only_our_own_errors(
    frames: list[bytes], seed: int, crlf: bool
) -> None:
    body = b"".join(frames)
    if crlf:
        body = body.replace(b"\n", b"\r\n")
    assert decode(split(body, seed)).plain() == decode([body]).plain()


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_only_our_own_errors(body: bytes) -> None:
    decode([body])
    decode([b"data: ", body, b"\n\n"])
