"""The Messages decoder on hand-made answers: the wire's rules, one at a time."""

import json
from typing import Any

import pytest

from porch.contract.events import Notice, PartFinished, PartStarted, ReasoningSealed, StreamChunk
from porch.providers.assembly import Assembly
from porch.providers.endpoint import Endpoint
from porch.providers.failures import Asked
from porch.providers.messages.decoder import Decoder
from porch.providers.messages.wire import FORMAT
from porch.providers.reader import AnswerReader
from porch.providers.request import StepOutcome
from tests.providers.messages import (
    CITED,
    END,
    PING,
    STOP,
    begin,
    call,
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


@pytest.mark.parity("messages", "text")
def test_text_is_one_part_that_ends_with_its_full_value() -> None:
    decoded = run(begin(), text(0, "Hel", "", "lo"), END)
    assert [type(found) for found in decoded.events[:4]] == [
        PartStarted,
        StreamChunk,
        StreamChunk,
        PartFinished,
    ]
    assert decoded.text() == "Hello"
    assert (decoded.outcome.reason, decoded.outcome.raw_reason) == ("stop", "end_turn")
    assert decoded.outcome.model == "claude-real"
    assert decoded.done


def test_pings_anywhere_change_nothing() -> None:
    frames = [
        begin(),
        start(0, text=""),
        delta(0, "text_delta", text="Hi"),
        stop(0),
        reason("end_turn"),
        STOP,
    ]
    pinged = [piece for frame in frames for piece in (PING, frame)]
    assert run(*pinged).plain() == run(*frames).plain()


@pytest.mark.parity("messages", "cached and reasoning tokens")
@pytest.mark.parity("messages", "usage")
def test_usage_is_cumulative_and_counts_the_whole_prompt_once() -> None:
    first = {"input_tokens": 3, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 100}
    last = {"input_tokens": 3, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 100}
    thought = {"output_tokens_details": {"thinking_tokens": 4}}
    decoded = run(
        begin(first | {"output_tokens": 1}),
        text(0, "x"),
        reason(None, last | {"output_tokens": 5}),
        reason("end_turn", {"output_tokens": 9, "input_tokens": None} | thought),
        STOP,
    )
    (report,) = decoded.usage
    counts = (report.input_tokens, report.output_tokens, report.cached_input_tokens, report.reasoning_tokens)
    assert counts == (123, 9, 100, 4)
    assert decoded.outcome.usage is not None
    assert decoded.outcome.usage.input_tokens == 123


@pytest.mark.parametrize("usage", [None, [], "x", {}, {"input_tokens": "7"}, {"input_tokens": True}])
def test_usage_of_odd_types_is_left_out(usage: Any) -> None:
    message: dict[str, Any] = {"type": "message", "model": "m", "content": [], "usage": usage}
    decoded = run(
        event("message_start", message=message), text(0, "x"), reason("end_turn", usage or []), STOP
    )
    assert decoded.error is None
    assert decoded.usage == []


@pytest.mark.parity("messages", "reasoning", "sealed reasoning kept")
def test_thinking_is_reasoning_whose_signature_is_sealed_with_its_part() -> None:
    decoded = run(
        begin(),
        start(0, "thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="hm"),
        delta(0, "thinking_delta", thinking="m"),
        delta(0, "signature_delta", signature="c2ln"),
        stop(0),
        text(1, "Yes"),
        END,
    )
    assert (decoded.text("reasoning"), decoded.text()) == ("hmm", "Yes")
    (seal,) = [found for found in decoded.events if isinstance(found, ReasoningSealed)]
    assert (seal.format, seal.data) == (FORMAT, {"type": "thinking", "signature": "c2ln"})
    (part,) = [found for found in decoded.events if isinstance(found, PartFinished) and found.kind != "text"]
    assert seal.part == part.part
    assert decoded.events.index(part) == decoded.events.index(seal) + 1


def test_thinking_that_is_not_shown_is_sealed_without_a_part() -> None:
    decoded = run(
        begin(),
        start(0, "thinking", thinking="", signature=""),
        delta(0, "signature_delta", signature="c2ln"),
        stop(0),
        END,
    )
    assert sealed(decoded) == [{"type": "thinking", "thinking": "", "signature": "c2ln"}]
    assert decoded.text("reasoning") == ""


@pytest.mark.parity("messages", "sealed reasoning kept")
def test_redacted_thinking_is_sealed_as_it_came() -> None:
    decoded = run(begin(), start(0, "redacted_thinking", data="RW5j"), stop(0), text(1, "x"), END)
    assert sealed(decoded) == [{"type": "redacted_thinking", "data": "RW5j"}]


@pytest.mark.parametrize("words", ["a\x00b", "a\ud83db"])
def test_a_signature_over_words_that_had_to_be_mended_is_not_kept(words: str) -> None:
    decoded = run(
        begin(),
        start(0, "thinking", thinking=words, signature="c2ln"),
        stop(0),
        END,
    )
    assert decoded.text("reasoning") == "a\ufffdb"
    assert sealed(decoded) == []


@pytest.mark.parity("messages", "tool calls in parallel")
def test_parallel_calls_are_kept_apart() -> None:
    decoded = run(
        begin(),
        start(0, "tool_use", id="a", name="one", input={}),
        start(1, "tool_use", id="b", name="two", input={}),
        delta(0, "input_json_delta", partial_json=""),
        delta(0, "input_json_delta", partial_json='{"x":'),
        delta(1, "input_json_delta", partial_json='{"y":2}'),
        delta(0, "input_json_delta", partial_json="1}"),
        stop(1),
        stop(0),
        reason("tool_use"),
        STOP,
    )
    made = sorted((made.name, made.arguments) for made in decoded.calls)
    assert made == [("one", {"x": 1}), ("two", {"y": 2})]
    assert (decoded.outcome.reason, decoded.outcome.raw_reason) == ("tool_calls", "tool_use")


@pytest.mark.parametrize("pieces", [[], [""], ["{}"]])
def test_a_call_without_arguments_has_an_empty_object(pieces: list[str]) -> None:
    decoded = run(begin(), call(0, "now", *pieces), reason("tool_use"), STOP)
    assert [made.arguments for made in decoded.calls] == [{}]


def test_arguments_that_come_whole_with_the_start_are_taken() -> None:
    block = start(0, "tool_use", id="a", name="one", input={"x": [1, "\ud83d"]})
    decoded = run(begin(), block, stop(0), reason("tool_use"), STOP)
    assert [made.arguments for made in decoded.calls] == [{"x": [1, "\ufffd"]}]


def test_arguments_that_come_both_ways_count_once() -> None:
    block = start(0, "tool_use", id="a", name="one", input={"x": 1})
    more = delta(0, "input_json_delta", partial_json='{"x":1}')
    decoded = run(begin(), block, more, stop(0), reason("tool_use"), STOP)
    assert [made.arguments for made in decoded.calls] == [{"x": 1}]


@pytest.mark.parametrize("arguments", ["not json", "[1]", '{"a":1', '{"a":NaN}', '{"a":' * 1000])
def test_arguments_that_are_no_object_are_kept_raw_with_an_error(arguments: str) -> None:
    (made,) = run(begin(), call(0, "one", arguments), reason("max_tokens"), STOP).calls
    assert made.raw_arguments == arguments
    assert made.error is not None


@pytest.mark.parametrize("name", ["", None, 5])
def test_a_call_without_a_name_is_an_error(name: Any) -> None:
    decoded = run(begin(), start(0, "tool_use", id="a", name=name, input={}), stop(0), END)
    assert decoded.error is not None
    assert decoded.error.kind == "protocol"


def test_the_arguments_of_the_answer_tool_are_the_answers_text() -> None:
    def dialect(*more: Any, **named: Any) -> AnswerReader:
        return Decoder(*more, answer_tool="answer", **named)

    body = [begin(), call(0, "answer", '{"city":', '"Rome"}'), reason("tool_use"), STOP]
    decoded = run(*body, dialect=dialect)
    assert json.loads(decoded.text()) == {"city": "Rome"}
    assert decoded.calls == []
    assert decoded.outcome.reason == "stop"
    assert [made.name for made in run(*body).calls] == ["answer"]


@pytest.mark.parity("messages", "citations")
def test_text_that_a_citation_parts_is_one_part_and_the_source_says_which_stretch() -> None:
    decoded = run(
        begin(),
        text(0, "It is said that "),
        start(1, text="", citations=[]),
        delta(1, "citations_delta", citation=CITED),
        delta(1, "text_delta", text="a fact"),
        delta(1, "text_delta", text=" is 🎉"),
        stop(1),
        text(2, "."),
        END,
    )
    (part,) = [found for found in decoded.events if isinstance(found, PartFinished)]
    assert part.value == "It is said that a fact is 🎉."
    (source,) = sources(decoded)
    assert (source.part, source.title, source.text, source.url) == (part.part, "facts.txt", "A fact.", None)
    assert part.value[source.start : source.end] == "a fact is 🎉"


def test_a_source_on_the_web_has_its_address() -> None:
    found = {
        "type": "web_search_result_location",
        "url": "https://example.org/a",
        "title": "A",
        "cited_text": "…",
    }
    odd = [{"url": "javascript:alert(1)"}, {"source": 5, "title": ["x"]}, {}, "x"]
    deltas = [delta(0, "citations_delta", citation=citation) for citation in (found, *odd)]
    decoded = run(begin(), start(0, text=""), delta(0, "text_delta", text="x"), *deltas, stop(0), END)
    assert decoded.error is None
    assert [source.url for source in sources(decoded)] == ["https://example.org/a", None, None, None]


def test_what_a_block_held_is_told_even_if_its_end_is_not() -> None:
    open_block = start(1, text="x") + delta(1, "citations_delta", citation=CITED)
    decoded = run(begin(), start(0, "thinking", thinking="hm", signature="c2ln"), open_block, END)
    assert decoded.error is None
    assert len(sealed(decoded)) == 1
    assert len(sources(decoded)) == 1


def test_a_source_seen_before_a_cut_is_still_told() -> None:
    decoded = run(begin(), start(0, text="x"), delta(0, "citations_delta", citation=CITED))
    assert decoded.error is not None
    assert len(sources(decoded)) == 1


def test_text_after_other_blocks_is_a_part_of_its_own() -> None:
    decoded = run(begin(), text(0, "Let me see."), call(1, "one"), text(2, "Done."), reason("tool_use"), STOP)
    parts = [found.value for found in decoded.events if isinstance(found, PartFinished)]
    assert parts == ["Let me see.", "Done."]


@pytest.mark.parity("messages", "the provider's own tools")
def test_a_tool_of_the_providers_own_is_passed_on_with_its_input() -> None:
    decoded = run(
        begin(),
        start(0, "server_tool_use", id="s", name="web_search", input={}),
        delta(0, "input_json_delta", partial_json=""),
        delta(0, "input_json_delta", partial_json='{"query":'),
        delta(0, "input_json_delta", partial_json='"x"}'),
        stop(0),
        start(
            1,
            "web_search_tool_result",
            tool_use_id="s",
            content=[{"url": "u", "encrypted_content": "e" * 20_000}],
        ),
        stop(1),
        text(2, "Found."),
        END,
    )
    first, second = raws(decoded)
    assert first == {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}
    assert second["type"] == "web_search_tool_result"
    assert decoded.calls == []
    assert decoded.outcome.reason == "stop"


def test_a_block_of_an_unknown_kind_is_passed_on_with_what_its_deltas_added() -> None:
    decoded = run(
        begin(),
        start(0, "compaction", content=None),
        delta(0, "compaction_delta", content="In "),
        delta(0, "compaction_delta", content="short."),
        stop(0),
        text(1, "Hi"),
        END,
    )
    assert raws(decoded) == [{"type": "compaction", "content": "In short."}]
    assert decoded.text() == "Hi"


@pytest.mark.parity("messages", "unknown events")
@pytest.mark.parametrize(
    "odd",
    [
        event("content_block_sparkle", index=0, glitter=[1]),
        event("sparkle", delta="of another type"),
        event("sparkle", index=0, delta={"type": "text_delta", "text": "not said"}),
        delta(0, "whisper_delta", text="not said"),
        event("sparkle", index={"a": 1}),
        delta(0, "sparkle_delta", sparkle="x"),
        delta(9, "sparkle_delta", sparkle="x"),
        event("content_block_delta", index=0),
        event("content_block_start", index=3),
        event("message_start"),
        b"event: x\ndata: [1, 2]\n\n",
        b"data: 5\n\n",
    ],
)
def test_what_is_not_known_is_passed_on_and_does_not_fail_the_stream(odd: bytes) -> None:
    decoded = run(begin(), start(0, text=""), odd, delta(0, "text_delta", text="Hi"), stop(0), END)
    assert decoded.error is None, decoded.error
    assert decoded.text() == "Hi"
    assert len(raws(decoded)) == 1


@pytest.mark.parametrize(
    "harmless", [stop(7), delta(0, "text_delta", text=""), b": comment\n\n", b"data:\n\n"]
)
def test_what_says_nothing_gives_no_event(harmless: bytes) -> None:
    decoded = run(begin(), start(0, text=""), harmless, delta(0, "text_delta", text="Hi"), stop(0), END)
    assert decoded.text() == "Hi"
    assert raws(decoded) == []


def test_blocks_without_a_start_or_an_end_are_still_read() -> None:
    decoded = run(delta(0, "thinking_delta", thinking="hm"), delta(1, "text_delta", text="Hi"), END)
    assert decoded.error is None
    assert (decoded.text("reasoning"), decoded.text()) == ("hm", "Hi")


@pytest.mark.parity("messages", "finish reasons")
@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refusal"),
        ("pause_turn", "limit"),
        ("tool_use", "stop"),
        ("of the future", "stop"),
    ],
)
def test_stop_reasons_are_normalised_and_kept_raw(raw: str, kind: str) -> None:
    decoded = run(begin(), text(0, "x"), reason(raw), STOP)
    assert (decoded.outcome.reason, decoded.outcome.raw_reason) == (kind, raw)


@pytest.mark.parity("messages", "refusals")
def test_a_refusal_is_told_in_the_providers_words() -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "This asks for a pathogen."}
    decoded = run(begin(), reason("refusal", stop_details=details), STOP)
    (notice,) = [found for found in decoded.events if isinstance(found, Notice)]
    assert notice.code == "refusal"
    assert "pathogen" in notice.text
    assert notices(run(begin(), reason("refusal"), STOP)) == ["refusal"]


def test_a_paused_turn_is_told() -> None:
    assert notices(run(begin(), text(0, "x"), reason("pause_turn"), STOP)) == ["turn_paused"]


@pytest.mark.parametrize("ending", ["refusal", "pause_turn"])
def test_a_notice_begins_with_a_capital_letter_whatever_the_servers_label(ending: str) -> None:
    asked = Asked(Endpoint("the server in place of Anthropic", "http://localhost"), "m")
    assembly = Assembly("s1")
    decoder = Decoder(assembly, StepOutcome(), asked)
    decoder.feed(begin() + text(0, "x") + reason(ending) + STOP)
    decoder.finish()
    (notice,) = [found for found in assembly.take() if isinstance(found, Notice)]
    assert notice.text.startswith("The server in place of Anthropic ")


def test_a_call_that_is_announced_twice_is_made_once() -> None:
    begins = start(0, "tool_use", id="toolu_1", name="one", input={})
    more = delta(0, "input_json_delta", partial_json='{"x":1}')
    decoded = run(begin(), begins, begins, more, stop(0), stop(0), reason("tool_use"), STOP)
    assert [(made.name, made.arguments) for made in decoded.calls] == [("one", {"x": 1})]
    other = start(0, "tool_use", id="toolu_2", name="one", input={})
    assert len(run(begin(), begins, other, more, stop(0), reason("tool_use"), STOP).calls) == 2


def test_a_keep_alive_with_a_name_may_hold_anything() -> None:
    alive = b"event: keepalive\ndata: still here\n\n"
    decoded = run(begin(), alive, text(0, "Hi"), alive, END)
    assert (decoded.error, decoded.text(), raws(decoded)) == (None, "Hi", [])


def test_a_source_without_a_title_is_called_by_its_own_name() -> None:
    found = {"type": "search_result_location", "source": "handbook/leave", "title": "", "cited_text": "…"}
    decoded = run(begin(), start(0, text="x"), delta(0, "citations_delta", citation=found), stop(0), END)
    assert [(source.url, source.title) for source in sources(decoded)] == [(None, "handbook/leave")]


def test_a_models_name_and_a_reason_are_whole_characters() -> None:
    decoded = run(begin(model="a\ud83d\x00"), text(0, "x"), reason("b\ud83d\x00"), STOP)
    assert (decoded.outcome.model, decoded.outcome.raw_reason) == ("a\ufffd\ufffd", "b\ufffd\ufffd")
