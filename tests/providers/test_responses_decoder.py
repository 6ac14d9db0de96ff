"""What the Responses decoder makes of what servers send: rules of the wire, one by one."""

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from porch.contract.events import PartFinished, Raw, ReasoningSealed, SourceCited
from porch.providers.responses.decoder import Decoder
from tests.providers.decoding import Decoded, decode, split

CREATED: dict[str, Any] = {
    "type": "response.created",
    "response": {"model": "gpt-x", "status": "in_progress", "output": []},
}


def frame(value: dict[str, Any]) -> bytes:
    name = value.get("type", "message")
    return f"event: {name}\ndata: {json.dumps(value)}\n\n".encode()


def of(kind: str, at: int = 0, **fields: Any) -> bytes:
    return frame({"type": f"response.{kind}", "output_index": at} | fields)


def say(text: str, at: int = 0, part: int = 0) -> bytes:
    return of("output_text.delta", at, content_index=part, delta=text)


def think(text: str, at: int = 0, part: int = 0) -> bytes:
    return of("reasoning_summary_text.delta", at, summary_index=part, delta=text)


def added(at: int = 0, **item: Any) -> bytes:
    return of("output_item.added", at, item=item)


def done(at: int = 0, **item: Any) -> bytes:
    return of("output_item.done", at, item=item)


def completed(status: str = "completed", **response: Any) -> bytes:
    return frame({"type": f"response.{status}", "response": {"status": status, "model": "gpt-x"} | response})


def run(*frames: bytes) -> Decoded:
    """The decoded answer, the same when cut at every byte."""
    body = b"".join(frames)
    whole = decode([body], dialect=Decoder)
    assert decode([body[at : at + 1] for at in range(len(body))], dialect=Decoder).plain() == whole.plain()
    return whole


def found(decoded: Decoded, kind: type) -> list[Any]:
    return [event for event in decoded.events if isinstance(event, kind)]


def values(decoded: Decoded) -> list[str]:
    return [end.value for end in found(decoded, PartFinished)]


@pytest.mark.parity("responses", "text")
def test_text_is_one_part_that_ends_with_its_item() -> None:
    result = run(
        frame(CREATED), added(type="message"), say("Hel"), say("lo"), done(type="message"), completed()
    )
    assert [type(event).__name__ for event in result.events] == [
        "PartStarted",
        "StreamChunk",
        "StreamChunk",
        "PartFinished",
    ]
    assert result.text() == "Hello"
    assert (result.outcome.reason, result.outcome.raw_reason, result.outcome.model) == (
        "stop",
        "completed",
        "gpt-x",
    )


def test_parts_are_told_apart_by_their_places_though_every_id_rotates() -> None:
    pieces = [("a", 0, 0), ("x", 1, 0), ("b", 0, 0), ("m", 0, 1), ("y", 1, 0)]
    frames = [
        of("output_text.delta", at, content_index=part, delta=text, item_id=f"msg_{number}")
        for number, (text, at, part) in enumerate(pieces)
    ]
    result = run(*frames, completed())
    assert values(result) == ["ab", "xy", "m"]


def test_items_without_an_index_are_told_apart_by_id() -> None:
    first = frame({"type": "response.output_text.delta", "item_id": "a", "delta": "1"})
    other = frame({"type": "response.output_text.delta", "item_id": "b", "delta": "2"})
    assert values(run(first, other, first, completed())) == ["11", "2"]


def test_a_delta_without_an_index_finds_the_item_announced_under_its_id() -> None:
    delta = {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "delta": '{"a":1}'}
    result = run(
        added(3, type="function_call", id="fc_1", name="f", arguments=""),
        added(4, type="function_call", id="fc_2", name="g", arguments=""),
        frame(delta),
        completed(),
    )
    assert [(call.name, call.arguments) for call in result.calls] == [("f", {"a": 1}), ("g", {})]


def test_plain_reasoning_is_kept_for_a_server_that_wants_it_back() -> None:
    item: dict[str, Any] = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm."}]}
    body = done(**item) + completed()
    assert not found(run(body), ReasoningSealed)
    (seal,) = found(decode([body], dialect=partial(Decoder, seal="x", seal_plain=True)), ReasoningSealed)
    assert (seal.part, seal.format, seal.data) == ("s1p1", "x", item)


def test_an_index_used_again_by_another_item_is_another_item() -> None:
    call: dict[str, Any] = {"type": "function_call", "arguments": ""}
    result = run(
        added(**call, name="one"),
        of("function_call_arguments.delta", delta="{}"),
        added(**call, name="two"),
        of("function_call_arguments.delta", delta='{"a":1}'),
        completed(),
    )
    assert [(call.name, call.arguments) for call in result.calls] == [("one", {}), ("two", {"a": 1})]


@pytest.mark.parity("responses", "tool calls in parallel")
def test_parallel_calls_keep_their_arguments_apart() -> None:
    result = run(
        added(0, type="function_call", name="add", arguments=""),
        added(1, type="function_call", name="mul", arguments=""),
        of("function_call_arguments.delta", 0, delta='{"a"'),
        of("function_call_arguments.delta", 1, delta='{"b"'),
        of("function_call_arguments.delta", 0, delta=":1}"),
        of("function_call_arguments.delta", 1, delta=":2}"),
        done(0, type="function_call", name="add", arguments='{"a":1}'),
        done(1, type="function_call", name="mul", arguments='{"b":2}'),
        completed(),
    )
    assert [(call.name, call.arguments) for call in result.calls] == [("add", {"a": 1}), ("mul", {"b": 2})]
    assert result.outcome.reason == "tool_calls"


@pytest.mark.parametrize(
    "frames",
    [
        (
            added(type="function_call", name="f", arguments=""),
            of("function_call_arguments.done", arguments='{"a":1}'),
        ),
        (
            added(type="function_call", name="f", arguments='{"a":1}'),
            done(type="function_call", name="f", arguments='{"a":1}'),
        ),
        (done(type="function_call", name="f", arguments='{"a":1}'),),
        (done(type="function_call", name="f", arguments={"a": 1}),),
        (
            of("function_call_arguments.delta", delta='{"a"'),
            of("function_call_arguments.done", name="f", arguments='{"a":1}'),
        ),
        (
            of("function_call_arguments.delta", delta='{"a":1}'),
            done(type="function_call", name="f", arguments='{"a":1}'),
        ),
    ],
)
def test_what_the_deltas_of_a_call_left_out_its_end_adds(frames: tuple[bytes, ...]) -> None:
    result = run(*frames, completed())
    assert result.error is None
    assert [(call.name, call.arguments) for call in result.calls] == [("f", {"a": 1})]


@pytest.mark.parametrize("end", [b"", completed(), frame(CREATED) + completed()])
def test_arguments_that_stand_in_the_announcement_alone_are_taken(end: bytes) -> None:
    begins = added(type="function_call", name="f", arguments='{"a":1}')
    result = run(begins, added(1, type="function_call", name="g", arguments={"b": 2}), completed(), end)
    assert [(call.name, call.arguments) for call in result.calls] == [("f", {"a": 1}), ("g", {"b": 2})]


def test_a_call_that_is_announced_twice_is_made_once() -> None:
    begins = added(type="function_call", name="f", call_id="call_1", arguments="")
    more = of("function_call_arguments.delta", delta='{"a":1}')
    result = run(begins, begins, more, done(type="function_call", name="f", arguments='{"a":1}'), completed())
    assert [(call.name, call.arguments) for call in result.calls] == [("f", {"a": 1})]
    other = added(type="function_call", name="f", call_id="call_2", arguments="")
    assert len(run(begins, more, other, more, completed()).calls) == 2


def test_arguments_that_are_an_object_may_hold_half_a_surrogate_pair() -> None:
    result = run(done(type="function_call", name="f", arguments={"a": "\ud83d"}), completed())
    assert [call.arguments for call in result.calls] == [{"a": "\ufffd"}]


def test_a_models_name_and_a_reason_are_whole_characters() -> None:
    result = run(completed(model="a\ud83d\x00", incomplete_details={"reason": "b\x00"}))
    assert (result.outcome.model, result.outcome.raw_reason) == ("a\ufffd\ufffd", "b\ufffd")


@pytest.mark.parametrize("name", [b"ping", b"keepalive", b"heartbeat"])
def test_a_keep_alive_with_a_name_may_hold_anything(name: bytes) -> None:
    alive = b"event: " + name + b"\ndata: still here\n\n"
    result = run(frame(CREATED), alive, say("Hi"), alive, completed())
    assert (result.error, result.text()) == (None, "Hi")


def test_news_of_the_same_answer_after_its_end_does_not_begin_another() -> None:
    late = frame({"type": "response.in_progress", "response": {"status": "in_progress"}})
    result = run(frame(CREATED), say("Hi"), completed(), completed(), late)
    assert (result.error, values(result)) == (None, ["Hi"])


def test_json_that_nests_to_the_very_limit_raises_only_our_own_errors() -> None:
    for depth in range(850, 1000, 3):
        deep = b"[" * depth + b"1" + b"]" * depth
        annotation = (
            b'data: {"type":"response.output_text.annotation.added","annotation":{"type":' + deep + b"}}"
        )
        run_whole(say("Hi"), annotation + b"\n\n", completed())


def test_a_name_that_only_the_terminal_event_knows_is_found_there() -> None:
    call = {"type": "function_call", "name": "f", "arguments": '{"a":1}'}
    result = run(of("function_call_arguments.delta", delta='{"a":1}'), completed(output=[call]))
    assert result.error is None
    assert [(call.name, call.arguments) for call in result.calls] == [("f", {"a": 1})]


def test_a_call_without_a_name_is_an_error() -> None:
    result = run(of("function_call_arguments.delta", delta="{}"), completed())
    assert result.error is not None
    assert "no name" in result.error.message


def test_a_custom_tools_input_is_raw_where_it_is_no_object() -> None:
    result = run(
        added(type="custom_tool_call", name="sql", input=""),
        of("custom_tool_call_input.delta", delta="SELECT"),
        of("custom_tool_call_input.done", input="SELECT 1"),
        done(type="custom_tool_call", name="sql", input="SELECT 1"),
        completed(),
    )
    (call,) = result.calls
    assert (call.arguments, call.raw_arguments) == (None, "SELECT 1")


@pytest.mark.parametrize(
    "frames",
    [
        (of("output_text.done", content_index=0, text="Hello"),),
        (say("Hel"), of("output_text.done", content_index=0, text="Hello")),
        (of("content_part.done", content_index=0, part={"type": "output_text", "text": "Hello"}),),
        (done(type="message", content=[{"type": "output_text", "text": "Hello"}]),),
        (say("Hel"), done(type="message", content=[{"type": "output_text", "text": "Hello"}])),
        (say("Hello"), done(type="message", content=[{"type": "output_text", "text": "Hello"}])),
        (say("Hello", part=1), done(type="message", content=[{"type": "output_text", "text": "Hello"}])),
        (say("Hello"), of("output_text.done", content_index=0, text="Other")),
    ],
)
def test_what_the_deltas_of_a_text_left_out_its_end_adds_once(frames: tuple[bytes, ...]) -> None:
    whole = {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}
    assert run(*frames, completed(output=[whole])).text() == "Hello"


def test_the_terminal_events_output_counts_where_nothing_came_before() -> None:
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": "s"},
        {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]},
        {"type": "function_call", "name": "f", "arguments": "{}"},
    ]
    result = run(frame(CREATED), completed(output=output))
    assert (result.text("reasoning"), result.text(), len(result.calls)) == ("Hm.", "Hello", 1)
    assert [seal.data for seal in found(result, ReasoningSealed)] == output[:1]


def test_kinds_of_items_that_did_not_come_are_taken_from_the_terminal_event() -> None:
    output: list[dict[str, Any]] = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": "s"},
        {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]},
    ]
    result = run(think("Hm."), done(**output[0]), completed(output=output))
    assert (values(result), len(found(result, ReasoningSealed))) == (["Hm.", "Hello"], 1)
    search: dict[str, Any] = {"type": "web_search_call", "id": "ws_1"}
    result = run(done(**search), say("Hello", 1), completed(output=[search, output[1]]))
    assert (values(result), len(found(result, Raw))) == (["Hello"], 1)


@pytest.mark.parity("responses", "reasoning", "sealed reasoning kept")
def test_each_summary_is_a_part_and_the_sealed_item_belongs_to_the_last() -> None:
    item: dict[str, Any] = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "encrypted_content": "gAAA",
        "status": None,
    }
    result = run(
        added(type="reasoning", encrypted_content="early"),
        think("One."),
        think("Two.", part=1),
        of("reasoning_summary_text.done", summary_index=1, text="Two."),
        done(**item),
        added(1, type="message"),
        say("Hi", 1),
        completed(),
    )
    ends = found(result, PartFinished)
    assert [end.value for end in ends] == ["One.", "Two.", "Hi"]
    (seal,) = found(result, ReasoningSealed)
    assert (seal.part, seal.format, seal.data) == (ends[1].part, "openai-responses", item)


def test_a_sealed_item_without_a_summary_stands_alone() -> None:
    (seal,) = found(
        run(done(type="reasoning", summary=[], encrypted_content="x"), completed()), ReasoningSealed
    )
    assert seal.part is None


def test_reasoning_whose_end_comes_after_the_next_item_has_ended_before_it() -> None:
    result = run(
        added(0, type="reasoning"),
        of("reasoning_text.delta", 0, content_index=0, delta="Hm."),
        added(1, type="message"),
        say("4", 1),
        done(1, type="message"),
        of("reasoning_text.done", 0, content_index=0, text="Hm."),
        done(0, type="reasoning", content=[{"type": "reasoning_text", "text": "Hm."}], signature="s"),
        completed(),
    )
    assert result.text("reasoning") == "Hm."
    kinds = [end.kind for end in found(result, PartFinished)]
    assert kinds == ["reasoning", "text"]
    assert found(result, ReasoningSealed)[0].part == "s1p1"


@pytest.mark.parity("responses", "refusals")
def test_a_refusal_is_a_part_of_its_own_and_the_reason() -> None:
    result = run(
        of("refusal.delta", content_index=0, delta="No"),
        of("refusal.done", content_index=0, refusal="No."),
        completed(),
    )
    assert (result.text("refusal"), result.outcome.reason) == ("No.", "refusal")


@pytest.mark.parity("responses", "citations")
def test_citations_come_once_with_their_part() -> None:
    one = {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2}
    two = {"type": "file_citation", "file_id": "file_1", "filename": "b.pdf", "index": 1}
    odd = {"type": "something", "value": 1}
    part = {"type": "output_text", "text": "Hi", "annotations": [one, two]}
    result = run(
        say("Hi"),
        of("output_text.annotation.added", content_index=0, annotation_index=0, annotation=one),
        of("content_part.done", content_index=0, part=part),
        done(type="message", content=[part | {"annotations": [one, two, odd]}]),
        completed(),
    )
    cited = found(result, SourceCited)
    assert [(c.part, c.url, c.title, c.start, c.end) for c in cited] == [
        ("s1p1", "https://a.example", "A", 0, 2),
        ("s1p1", None, "b.pdf", None, None),
    ]
    assert found(result, Raw)[0].data == {"annotation": odd}


@pytest.mark.parity("responses", "the provider's own tools", "unknown events")
def test_hosted_tools_and_unknown_events_are_passed_through_raw() -> None:
    item: dict[str, Any] = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    news = {"type": "response.something.new", "sequence_number": 4, "obfuscation": "xx", "deep": {"a": [1]}}
    result = run(
        added(**item),
        of("web_search_call.searching"),
        done(**item),
        frame(news),
        frame({"v": 1}),
        completed(),
    )
    assert result.error is None
    told = [raw.data for raw in found(result, Raw)]
    assert {"type": "response.output_item.added", "item": item} in told
    assert item in told
    assert {"type": "response.something.new", "sequence_number": 4, "deep": {"a": [1]}} in told


def test_a_large_picture_inside_a_raw_event_is_cut_and_costs_little() -> None:
    item: dict[str, Any] = {"type": "image_generation_call", "result": "A" * 900_000}
    result = run_whole(done(0, **item), done(1, **item), say("Here.", 2), completed())
    assert result.error is None
    assert all(len(raw.data["result"]) < 5_000 for raw in found(result, Raw))


def run_whole(*frames: bytes) -> Decoded:
    return decode([b"".join(frames)], dialect=Decoder)


@pytest.mark.parity("responses", "cached and reasoning tokens")
@pytest.mark.parity("responses", "usage")
def test_usage_is_the_terminal_events_and_is_reported_once() -> None:
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 3},
        "cost": 1.13e-05,
    }
    result = run(say("Hi"), completed(usage=usage, created_at=1764265411))
    (counts,) = result.usage
    assert (counts.input_tokens, counts.cached_input_tokens) == (10, 4)
    assert (counts.output_tokens, counts.reasoning_tokens) == (7, 3)
    assert counts.cost is not None
    assert (counts.cost.amount, counts.cost.currency, counts.cost.priced_at) == (
        "0.0000113",
        "USD",
        "2025-11-27",
    )


@pytest.mark.parity("responses", "cost as charged")
def test_a_price_in_ticks_is_read_in_dollars() -> None:
    usage = {"input_tokens": 1, "output_tokens": 1, "cost_in_usd_ticks": 37756000}
    (counts,) = run(say("Hi"), completed(usage=usage, created_at=1764265411)).usage
    assert counts.cost is not None
    assert counts.cost.amount == "0.0037756"


@pytest.mark.parity("responses", "finish reasons")
@pytest.mark.parametrize(
    ("why", "reason"),
    [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("max_tool_calls", "length")],
)
def test_an_incomplete_answer_says_why(why: str, reason: str) -> None:
    result = run(say("Hi"), completed("incomplete", incomplete_details={"reason": why}))
    assert result.error is None
    assert (result.outcome.reason, result.outcome.raw_reason) == (reason, why)


def test_a_call_that_the_limit_cut_short_ends_with_an_error() -> None:
    result = run(
        added(type="function_call", name="f"),
        of("function_call_arguments.delta", delta='{"a'),
        completed("incomplete", incomplete_details={"reason": "max_output_tokens"}),
    )
    assert result.outcome.reason == "length"
    assert result.calls[0].error is not None


@pytest.mark.parity("responses", "errors inside the stream")
@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (completed("failed", error={"code": "rate_limit_exceeded", "message": "Slow"}), "rate_limit"),
        (completed("failed", error={"code": "server_error", "message": "Oops"}), "overloaded"),
        (completed("failed", error=None), "overloaded"),
        (completed("cancelled"), "overloaded"),
        (completed(error={"code": "server_error", "message": "x"}), "overloaded"),
        (frame({"type": "error", "code": "context_length_exceeded", "message": "x"}), "context_too_long"),
        (
            frame({"type": "error", "error": {"type": "insufficient_quota", "message": "x"}}),
            "quota",
        ),
        (b'data: {"type":"error","code":null,"message":"Your quota is used up","param":null}\n\n', "quota"),
        (b'event: error\ndata: {"code":"server_is_overloaded","message":"x"}\n\n', "overloaded"),
        (b'data: {"error":{"code":429,"message":"x"}}\n\n', "rate_limit"),
        (
            completed("failed", error={"code": "invalid_prompt", "message": "flagged: usage policy"}),
            "content_filtered",
        ),
        (
            completed("failed", error={"code": "image_content_policy_violation", "message": "x"}),
            "content_filtered",
        ),
        (completed("failed", error={"code": "image_file_not_found", "message": "x"}), "bad_request"),
        (completed("failed", error={"code": "invalid_image_format", "message": "x"}), "bad_request"),
        (completed("failed", error={"code": "vector_store_timeout", "message": "x"}), "timeout"),
    ],
)
def test_errors_come_in_many_shapes_and_override_what_came(end: bytes, kind: str) -> None:
    result = run(frame(CREATED), say("Hi"), end)
    assert result.error is not None
    assert result.error.kind == kind
    assert result.text() == "Hi"


def test_an_error_after_the_terminal_event_still_counts() -> None:
    result = run(say("Hi"), completed(), frame({"type": "error", "code": "server_error", "message": "x"}))
    assert result.error is not None


def test_usage_of_a_failed_answer_is_reported() -> None:
    result = run(completed("failed", error={"code": "x"}, usage={"input_tokens": 3, "output_tokens": 0}))
    assert [counts.input_tokens for counts in result.usage] == [3]


@pytest.mark.parity("responses", "a stream cut off")
@pytest.mark.parametrize(
    "body", [b"", say("Hi"), say("Hi") + b"data: [DONE]\n\n", say("Hi") + completed()[:-20]]
)
def test_an_end_of_file_without_a_terminal_event_is_a_cut(body: bytes) -> None:
    result = run(body)
    assert result.error is not None
    assert result.error.kind == "cut"


def test_a_terminal_event_without_its_blank_line_is_an_end() -> None:
    assert run(say("Hi"), completed().rstrip(b"\n")).error is None


def test_another_answer_in_the_same_body_goes_on_from_the_first() -> None:
    result = run(
        frame(CREATED), say("One"), completed(), frame(CREATED), say("Two"), completed(), b"data: [DONE]\n\n"
    )
    assert result.error is None
    assert values(result) == ["One", "Two"]
    assert run(frame(CREATED), say("One"), completed(), frame(CREATED), say("Two")).error is not None


def test_one_payload_with_two_objects_is_both() -> None:
    two = json.dumps({"type": "response.output_text.delta", "delta": "b"})
    body = say("a").rstrip(b"\n") + two.encode() + b"\n\n"
    assert run(body, completed()).text() == "ab"


@pytest.mark.parametrize("bad", [b"data: {oops}\n\n", b"data: <html>\n\n", b'data: {"a":"\xff"}\n\n'])
def test_a_frame_that_is_not_json_fails_the_answer_at_its_end(bad: bytes) -> None:
    for end in (completed(), b""):
        result = run(bad, say("Hi"), end)
        assert result.error is not None
        assert (result.error.kind, result.text()) == ("protocol", "Hi")


@pytest.mark.parametrize("bad", [b"<!doctype html><p>", b'{"models":[]}', b'{"output":1}', b"[]", b'{"a"'])
def test_a_body_that_is_no_answer_is_a_protocol_error(bad: bytes) -> None:
    result = run(bad)
    assert result.error is not None
    assert result.error.kind == "protocol"


def test_a_body_that_is_one_document_is_the_same_answer() -> None:
    document = {
        "object": "response",
        "status": "incomplete",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"},
        "model": "gpt-x",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }
    result = run(json.dumps(document, indent=1).encode())
    assert (result.error, result.text(), result.outcome.reason) == (None, "Hi", "length")
    assert len(result.usage) == 1


def test_an_error_as_a_document_is_sorted() -> None:
    result = run(b'{"error":{"code":"insufficient_quota","message":"x"}}')
    assert result.error is not None
    assert result.error.kind == "quota"


def test_halves_of_a_character_in_two_deltas_are_joined() -> None:
    assert run(say("\ud83d"), say("\ude00"), completed()).text() == "😀"


def test_crlf_and_comments_make_no_difference() -> None:
    body = b": hi\n\n" + say("Hé") + completed()
    assert run(body.replace(b"\n", b"\r\n")).plain() == run(body).plain()


def test_an_end_told_again_without_usage_does_not_lose_it() -> None:
    result = run(say("Hi"), completed(usage={"input_tokens": 1, "output_tokens": 2}), completed(usage=None))
    assert [counts.output_tokens for counts in result.usage] == [2]


def test_an_endless_row_of_empty_items_is_stopped_at_the_cap() -> None:
    frames = [added(at, type="message") for at in range(200)]
    result = decode([b"".join(frames)], dialect=Decoder, max_step_characters=5_000)
    assert result.error is not None
    assert result.error.reason == "answer_too_large"


_TYPES = st.sampled_from(
    [
        "response.created",
        "response.output_item.added",
        "response.output_item.done",
        "response.output_text.delta",
        "response.output_text.done",
        "response.output_text.annotation.added",
        "response.content_part.done",
        "response.refusal.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_text.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.custom_tool_call_input.delta",
        "response.completed",
        "response.incomplete",
        "response.unknown",
        "error",
        None,
        3,
    ]
)
_BAD: list[Any] = [None, [], {}]
_ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_CONTENT = st.fixed_dictionaries(
    {"type": st.sampled_from(["output_text", "refusal", "reasoning_text", "summary_text", *_BAD])},
    optional={"text": st.text(max_size=5) | _ODD, "refusal": _ODD, "annotations": st.lists(_ODD, max_size=3)},
)
_ITEM = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "reasoning", "function_call", "custom_tool_call", "odd", *_BAD])},
    optional={
        "id": _ODD,
        "name": st.text(max_size=5) | _ODD,
        "arguments": st.text(max_size=5) | _ODD,
        "input": _ODD,
        "content": st.lists(_CONTENT | _ODD, max_size=3) | _ODD,
        "summary": st.lists(_CONTENT | _ODD, max_size=3) | _ODD,
        "encrypted_content": _ODD,
    },
)
_EVENTS = st.fixed_dictionaries(
    {"type": _TYPES},
    optional={
        "output_index": st.integers(0, 2) | _ODD,
        "content_index": st.integers(0, 2) | _ODD,
        "summary_index": st.integers(0, 2) | _ODD,
        "item_id": st.sampled_from(["a", "b"]) | _ODD,
        "delta": st.text(max_size=5) | _ODD,
        "text": st.text(max_size=5) | _ODD,
        "arguments": st.text(max_size=5) | _ODD,
        "annotation": _ODD,
        "name": st.text(max_size=5) | _ODD,
        "item": _ITEM | _ODD,
        "part": _CONTENT | _ODD,
        "response": st.fixed_dictionaries(
            {},
            optional={
                "output": st.lists(_ITEM | _ODD, max_size=3),
                "usage": _ODD,
                "status": _ODD,
                "error": _ODD,
            },
        )
        | _ODD,
    },
)


@pytest.mark.parity("responses", "any split of the bytes")
@settings(deadline=None, max_examples=60)
@given(st.lists(_EVENTS, max_size=12), st.integers(0, 1000))
def test_any_row_of_events_keeps_the_laws_at_any_split(events: list[Any], seed: int) -> None:
    body = b"".join(frame(event) for event in events) + completed()
    whole = decode([body], dialect=Decoder)
    assert decode(split(body, seed), dialect=Decoder).plain() == whole.plain()


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.sampled_from([say("x"), b"data: ", b"{", b"}", b"\n\n", b"\xff", b"\r", completed()])
        | st.binary(max_size=20),
        max_size=20,
    )
)
def test_any_bytes_are_an_answer_or_a_model_error(pieces: list[bytes]) -> None:
    decode(pieces, dialect=Decoder)


def test_events_that_nest_without_end_are_survived() -> None:
    deep = b"[" * 5_000 + b"]" * 5_000
    for body in (
        b'data: {"type":"x","v":' + deep + b"}\n\n",
        b'data: {"type":"x","v":' + b"[" * 200 + b"]" * 200 + b"}\n\n",
    ):
        run_whole(body, say("Hi"), completed())
    sealed = b'data: {"type":"response.output_item.done","item":{"type":"reasoning","encrypted_content":' + (
        b"[" * 200 + b"1" + b"]" * 200 + b"}}\n\n"
    )
    assert run_whole(sealed, completed()).error is None
