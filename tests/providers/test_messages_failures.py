"""Answers in Messages that are errors, are cut, are odd, or are too much."""

import json
from typing import Any

import pytest

from porch.contract.errors import Category
from porch.contract.events import Raw, ToolCallStarted
from porch.providers.messages.decoder import Decoder
from tests.providers.decoding import ASKED, decode
from tests.providers.messages import (
    CITED,
    END,
    PING,
    STOP,
    begin,
    delta,
    event,
    notices,
    raws,
    reason,
    run,
    sealed,
    sources,
    start,
    stop,
    text,
)


@pytest.mark.parity("messages", "errors inside the stream")
@pytest.mark.parametrize(
    ("kind", "message", "category"),
    [
        ("overloaded_error", "Overloaded", "overloaded"),
        ("api_error", "Internal server error", "overloaded"),
        (
            "rate_limit_error",
            "Number of request tokens has exceeded your per-minute rate limit",
            "rate_limit",
        ),
        ("invalid_request_error", "messages: text content blocks must be non-empty", "bad_request"),
        ("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", "context_too_long"),
        (
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 199000 + 21333 > 200000",
            "context_too_long",
        ),
        ("invalid_request_error", "Your credit balance is too low to access the Anthropic API", "quota"),
        ("invalid_request_error", "You have reached your specified API usage limits", "quota"),
        ("invalid_request_error", "Output blocked by content filtering policy", "content_filtered"),
        ("authentication_error", "invalid x-api-key", "auth"),
        ("permission_error", "not for you", "auth"),
        ("billing_error", "check your payment", "quota"),
        ("not_found_error", "model: claude-0", "not_found"),
        ("request_too_large", "Request exceeds the maximum size", "context_too_long"),
        ("timeout_error", "took too long", "timeout"),
    ],
)
def test_an_error_in_the_stream_is_sorted_and_ends_it(kind: str, message: str, category: Category) -> None:
    error = event("error", error={"type": kind, "message": message}, request_id="req_1")
    whole = json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    for frames in (
        [begin(), text(0, "x"), error],
        [begin(), text(0, "x"), error.split(b"\n", 1)[1]],
        [whole],
    ):
        decoded = run(*frames)
        assert decoded.error is not None
        assert decoded.error.kind == category
        assert message[:20] in decoded.error.message


def test_an_error_overrides_the_stop_reason_and_usage_is_still_told() -> None:
    error = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    decoded = run(begin(), text(0, "x"), reason("end_turn"), error)
    assert decoded.error is not None
    assert decoded.error.retryable
    assert [report.output_tokens for report in decoded.usage] == [5]


@pytest.mark.parametrize(
    "odd",
    [
        b"event: error\ndata: boom\n\n",
        b"event: error\ndata: {}\n\n",
        event("error"),
        event("error", error="x"),
        delta(0, "text_delta", text="y") + event("content_block_stop", index=0, error={"message": "x"}),
        b'data: {"error": {"message": "x"}}\n\n',
        b'data: {"object": "error", "message": "x", "code": 400}\n\n',
    ],
)
def test_an_error_of_an_odd_shape_is_one_too(odd: bytes) -> None:
    assert run(begin(), text(0, "x"), odd).error is not None


@pytest.mark.parity("messages", "a stream cut off")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        PING,
        begin(),
        begin() + text(0, "x"),
        begin() + text(0, "x") + reason("end_turn"),
        begin() + text(0, "x") + reason("end_turn") + b'event: message_stop\ndata: {"type":"mess',
        begin() + text(0, "x") + b"data: [DONE]\n\n",
    ],
)
def test_an_end_of_file_without_message_stop_is_a_cut(body: bytes) -> None:
    decoded = run(body)
    assert decoded.error is not None
    assert decoded.error.kind == "cut"
    assert decoded.error.retryable


def test_what_was_open_at_a_cut_is_closed_with_what_it_held() -> None:
    decoded = run(
        begin(),
        start(0, "thinking", thinking="hm"),
        start(1, text="Hal"),
        start(2, "tool_use", id="a", name="one"),
        delta(2, "input_json_delta", partial_json='{"x'),
    )
    assert (decoded.text("reasoning"), decoded.text()) == ("hm", "Hal")
    assert [made.raw_arguments for made in decoded.calls] == ['{"x']


def test_the_last_blank_line_may_be_missing() -> None:
    decoded = run(begin(), text(0, "x"), reason("end_turn"), STOP.rstrip(b"\n"))
    assert decoded.error is None


def test_the_mark_of_another_dialect_ends_what_has_said_why_it_ends() -> None:
    decoded = run(begin(), text(0, "x"), reason("end_turn"), b"data: [DONE]\n\n")
    assert decoded.error is None
    assert decoded.done


def test_what_follows_the_end_does_not_count() -> None:
    decoded = run(
        begin(), text(0, "x"), END, b"event: data\ndata: [DONE]\n\n", text(1, "more"), b"data: rubbish\n\n"
    )
    assert decoded.error is None
    assert decoded.text() == "x"


def test_crlf_comments_and_two_events_in_one_frame_make_no_difference() -> None:
    said = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}
    first = json.dumps(said).encode()
    both = b"data: " + first + b" " + first.replace(b'"a"', b'"b"') + b"\n\n"
    body = (b": hello\n\n" + begin() + start(0, text="") + both + stop(0) + END).replace(b"\n", b"\r\n")
    decoded = run(body)
    assert decoded.error is None
    assert decoded.text() == "ab"


def test_a_whole_answer_instead_of_a_stream_is_taken() -> None:
    content: list[Any] = [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "RW5j"},
        {"type": "text", "text": "It is ", "citations": None},
        {"type": "text", "text": "so", "citations": [CITED]},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
        {"type": "tool_use", "id": "a", "name": "one", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "two", "input": {}},
        5,
    ]
    usage = {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 4}
    body: dict[str, Any] = {
        "type": "message",
        "model": "m",
        "content": content,
        "stop_reason": "tool_use",
        "usage": usage,
    }
    decoded = run(b"\xef\xbb\xbf" + json.dumps(body, indent=1).encode())
    assert decoded.error is None
    assert (decoded.text("reasoning"), decoded.text()) == ("hm", "It is so")
    assert [(made.name, made.arguments) for made in decoded.calls] == [("one", {"x": 1}), ("two", {})]
    assert [block["type"] for block in sealed(decoded)] == ["thinking", "redacted_thinking"]
    assert [block["type"] for block in raws(decoded)] == ["server_tool_use"]
    assert len(sources(decoded)) == 1
    assert (decoded.outcome.model, decoded.outcome.reason) == ("m", "tool_calls")
    assert [report.input_tokens for report in decoded.usage] == [5]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}', "auth"),
        (b'{"type":"error","message":"rate_limit_error"}', "rate_limit"),
        (b'{"detail": "Not Found"}', "protocol"),
        (b'{"content": "x"}', "protocol"),
        (b'{"type":"message","conte', "protocol"),
        (b"[1, 2]", "protocol"),
        (b"<html><title>Sign in</title></html>", "protocol"),
    ],
)
def test_a_document_that_is_no_answer_is_an_error(body: bytes, kind: str) -> None:
    decoded = run(body)
    assert decoded.error is not None
    assert decoded.error.kind == kind


@pytest.mark.parametrize("body", [b'data: {"x":"\xff"}\n\n', b"event: ping\ndata: {oops\n\n"])
def test_what_is_not_utf8_or_json_fails_closed(body: bytes) -> None:
    decoded = run(begin(), text(0, "x"), body, END)
    assert decoded.error is not None
    assert decoded.error.kind == "protocol"


def test_a_surrogate_pair_split_over_deltas_is_joined_and_a_nul_replaced() -> None:
    decoded = run(begin(), text(0, "a\ud83d", "\ude00b\x00"), END)
    assert decoded.text() == "a😀b\ufffd"
    assert notices(decoded) == ["nul_replaced"]


@pytest.mark.parametrize(
    "endless",
    [
        delta(0, "text_delta", text="x" * 300),
        delta(0, "citations_delta", citation=CITED),
        start(1, "tool_use", name="one"),
        start(1, "server_tool_use", id="a", name="one", input={}),
        start(2, "server_tool_use", id="a", input={}) + delta(2, "input_json_delta", partial_json="x" * 99),
        start(1, "redacted_thinking", data="x" * 99),
        start(1),
        start(1, "thinking"),
        start(1, "sparkle"),
    ],
)
def test_an_answer_over_the_cap_is_stopped(endless: bytes) -> None:
    frames = [begin(), start(0, text=""), endless * 200]
    decoded = decode(frames, dialect=Decoder, max_step_characters=1000)
    assert decoded.error is not None
    assert decoded.error.reason == "answer_too_large"
    assert sum(isinstance(found, ToolCallStarted) for found in decoded.events) < 20


@pytest.mark.parametrize("endless", [event("sparkle"), delta(0, "sparkle_delta", sparkle="x" * 99)])
def test_what_is_not_known_fails_nothing_however_much_it_is(endless: bytes) -> None:
    frames = [begin(), start(0, text=""), endless * 200, delta(0, "text_delta", text="Hi"), stop(0), END]
    decoded = decode(frames, dialect=Decoder, max_step_characters=1000)
    assert decoded.error is None
    assert decoded.text() == "Hi"
    assert 0 < sum(isinstance(found, Raw) for found in decoded.events) < 20


def test_a_frame_over_the_cap_is_refused() -> None:
    for pieces in ([text(0, "x" * 5000)], [b"data: " + b"x" * 600] * 10, [b'{"a":"' + b"x" * 5000]):
        decoded = decode(pieces, dialect=Decoder, max_frame_bytes=4096)
        assert decoded.error is not None
        assert decoded.error.kind == "protocol"


def test_an_error_never_shows_the_key() -> None:
    key = ASKED.endpoint.key or "?"
    decoded = run(
        event("error", error={"type": "authentication_error", "message": f"bad {key} sk-ant-api03-abcdefgh"})
    )
    assert decoded.error is not None
    assert key not in decoded.error.message
    assert "abcdefgh" not in decoded.error.message
