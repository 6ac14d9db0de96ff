"""What some servers add to Chat Completions: details, sources, prices, and their own ways to fail."""

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from porch.contract.events import Raw, ReasoningSealed, SourceCited
from porch.providers.chat_completions.decoder import Decoder
from tests.providers.decoding import Decoded, decode, split


def frame(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    return frame(choices=[{"index": 0, "delta": delta, "finish_reason": finish}], created=1764265411)


def run(*frames: bytes, **quirks: Any) -> Decoded:
    dialect = partial(Decoder, **({"seal": "openrouter"} | quirks))
    body = b"".join(frames)
    whole = decode([body], dialect=dialect)
    assert decode([body[at : at + 1] for at in range(len(body))], dialect=dialect).plain() == whole.plain()
    return whole


def piece(**fields: Any) -> dict[str, Any]:
    return {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1"} | fields


@pytest.mark.parity("openrouter", "reasoning", "sealed reasoning kept")
def test_reasoning_details_are_put_together_and_sealed_while_their_text_counts_once() -> None:
    result = run(
        chunk(reasoning="Hm", reasoning_details=[piece(text="Hm")]),
        chunk(reasoning=".", reasoning_details=[piece(text=".")]),
        chunk(reasoning_details=[piece(signature="sig", text="")]),
        chunk(content="Hi"),
        chunk(reasoning_details=[{"type": "reasoning.encrypted", "data": "a", "index": 0, "id": "1"}]),
        chunk(reasoning_details=[{"type": "reasoning.encrypted", "data": "b", "index": 0, "id": "2"}]),
        chunk("stop"),
    )
    assert (result.text("reasoning"), result.text()) == ("Hm.", "Hi")
    (seal,) = [event for event in result.events if isinstance(event, ReasoningSealed)]
    assert (seal.part, seal.format) == ("s1p1", "openrouter")
    assert seal.data == [
        piece(text="Hm.", signature="sig"),
        {"type": "reasoning.encrypted", "data": "a", "index": 0, "id": "1"},
        {"type": "reasoning.encrypted", "data": "b", "index": 0, "id": "2"},
    ]


def test_details_are_kept_only_for_a_server_that_takes_them_back() -> None:
    result = run(chunk(content="Hi", reasoning_details=[piece(text="Hm")]), chunk("stop"), seal="")
    assert not [event for event in result.events if isinstance(event, ReasoningSealed)]


@pytest.mark.parametrize("odd", [1, "x", [1, None], {"a": 1}, [{"type": 3, "index": [1], "text": 4}]])
def test_odd_details_annotations_and_sources_do_no_harm(odd: Any) -> None:
    body = chunk(content="Hi", reasoning_details=odd, annotations=odd) + frame(citations=odd, choices=[])
    assert run(body, chunk("stop")).error is None


def cited(result: Decoded) -> list[SourceCited]:
    return [event for event in result.events if isinstance(event, SourceCited)]


@pytest.mark.parity("chat_completions", "citations")
def test_annotations_are_citations_of_the_text() -> None:
    note = {"url": "https://a.example", "title": "A", "content": "Words", "start_index": 2, "end_index": 4}
    unplaced = {"url": "https://b.example", "title": "", "start_index": 0, "end_index": 0}
    notes = [{"type": "url_citation", "url_citation": value} for value in (note, unplaced)]
    first, second = cited(run(chunk(content="Hi"), chunk(annotations=notes), chunk("stop")))
    assert (first.part, first.url, first.title, first.text) == ("s1p1", "https://a.example", "A", "Words")
    assert (first.start, first.end) == (2, 4)
    assert (second.title, second.start, second.end) == (None, None, None)


@pytest.mark.parity("chat_completions", "citations")
def test_sources_that_every_chunk_repeats_are_cited_once() -> None:
    found = [{"title": "A", "url": "https://a.example", "date": "2026-01-01"}]
    says = frame(
        choices=[{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}],
        citations=["https://a.example"],
        search_results=found,
    )
    assert [(source.url, source.title) for source in cited(run(says, says))] == [("https://a.example", "A")]
    bare = frame(choices=[], citations=["https://b.example"])
    assert [source.url for source in cited(run(chunk(content="Hi"), bare, chunk("stop")))] == [
        "https://b.example"
    ]


@pytest.mark.parity("chat_completions", "cost as charged")
@pytest.mark.parity("openrouter", "cost as charged")
def test_what_the_server_charged_is_told_with_its_day() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.00001255}
    ends = frame(
        choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=usage, created=1764265411
    )
    (counts,) = run(chunk(content="Hi"), ends).usage
    assert counts.cost is not None
    assert (counts.cost.amount, counts.cost.priced_at) == ("0.00001255", "2025-11-27")


@pytest.mark.parametrize("cost", [-1, True, "0.1", 1e300, None])
def test_a_price_that_is_none_is_left_out(cost: Any) -> None:
    ends = frame(choices=[], usage={"prompt_tokens": 1, "completion_tokens": 2, "cost": cost})
    assert [counts.cost for counts in run(chunk("stop", content="Hi"), ends).usage] == [None]


@pytest.mark.parity("openrouter", "errors inside the stream")
@pytest.mark.parametrize(
    "error",
    [
        frame(error={"code": 502, "message": "Provider disconnected"}, choices=[{"index": 0, "delta": {}}]),
        frame(choices=[{"index": 0, "delta": {}, "error": {"code": 502, "message": "Gone"}}]),
        frame(choices=[{"index": 0, "delta": {}, "finish_reason": "error", "error": {"code": 502}}]),
    ],
)
def test_an_error_after_chunks_that_say_length_overrides_them(error: bytes) -> None:
    result = run(chunk("length", content="Hi"), chunk("length"), error, b"data: [DONE]\n\n")
    assert result.error is not None
    assert (result.error.kind, result.error.retryable, result.text()) == ("overloaded", True, "Hi")


@pytest.mark.parity("openrouter", "errors instead of an answer")
def test_a_flagged_message_is_filtered_content_and_no_matter_of_the_key() -> None:
    flagged = {"code": 403, "message": "Your input was flagged", "metadata": {"reasons": ["violence"]}}
    result = run(frame(error=flagged))
    assert result.error is not None
    assert result.error.kind == "content_filtered"


def test_pictures_that_a_model_made_are_passed_through() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aW1n"}}
    (raw,) = [event for event in run(chunk(images=[picture]), chunk("stop")).events if isinstance(event, Raw)]
    assert raw.data == {"images": [picture]}


@pytest.mark.parametrize(
    ("said", "thought", "words"),
    [
        ("<think>Hm.</think>\n\nHi", "Hm.", "Hi"),
        ("\n<think>\nHm. </thin</think>Hi <think>not</think>", "\nHm. </thin", "Hi <think>not</think>"),
        ("<think></think>Hi", "", "Hi"),
        ("<think>Hm.", "Hm.", ""),
        ("<think>Hm.</thi", "Hm.</thi", ""),
        ("<thinker>Hi", "", "<thinker>Hi"),
        ("  <thi", "", "  <thi"),
        (" " * 400 + "<think>Hm.", "", " " * 400 + "<think>Hm."),
        ("Hi <think>", "", "Hi <think>"),
        ("<think>Hm.</think>", "Hm.", ""),
    ],
)
def test_thoughts_between_tags_are_reasoning_where_the_profile_says_so(
    said: str, thought: str, words: str
) -> None:
    for frames in ([chunk(content=said)], [chunk(content=character) for character in said]):
        result = run(*frames, chunk("stop"), think_tags=True)
        assert (result.text("reasoning"), result.text()) == (thought, words)
        assert run(*frames, chunk("stop")).text() == said


def test_text_held_back_for_a_tag_comes_before_a_call_of_the_older_form() -> None:
    call = {"name": "f", "arguments": "{}"}
    result = run(chunk(content="<thi"), chunk(function_call=call), chunk("stop"), think_tags=True)
    kinds = [type(event).__name__ for event in result.events]
    assert result.text() == "<thi"
    assert kinds.index("PartFinished") < kinds.index("ToolCallStarted")


def test_text_held_back_for_a_tag_comes_before_a_call() -> None:
    call = {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}
    result = run(chunk(content="<thi"), chunk(tool_calls=[call]), chunk("stop"), think_tags=True)
    kinds = [type(event).__name__ for event in result.events]
    assert result.text() == "<thi"
    assert kinds.index("PartFinished") < kinds.index("ToolCallStarted")


_ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
_DETAIL = st.fixed_dictionaries(
    {"type": st.sampled_from(["reasoning.text", "reasoning.encrypted", None])},
    optional={
        "text": st.text(max_size=4) | _ODD,
        "data": _ODD,
        "index": st.integers(0, 2) | _ODD,
        "id": _ODD,
    },
)
_FIELDS: dict[str, Any] = {
    "content": st.text(max_size=5) | st.sampled_from(["<think>", "</think>"]) | _ODD,
    "reasoning": st.text(max_size=5) | _ODD,
    "reasoning_details": st.lists(_DETAIL | _ODD, max_size=3) | _ODD,
    "annotations": _ODD,
    "images": _ODD,
    "refusal": _ODD,
    "tool_calls": st.lists(st.fixed_dictionaries({}, optional={"index": _ODD, "id": _ODD}), max_size=2),
}
_DELTA = st.fixed_dictionaries({}, optional=_FIELDS)
_CHUNK = st.fixed_dictionaries(
    {"choices": st.lists(st.fixed_dictionaries({"index": st.just(0), "delta": _DELTA}), max_size=2)},
    optional={"usage": _ODD, "citations": _ODD, "search_results": _ODD, "created": _ODD, "model": _ODD},
)


@pytest.mark.parity("chat_completions", "any split of the bytes")
@settings(deadline=None, max_examples=60)
@given(st.lists(_CHUNK, max_size=8), st.integers(0, 1000))
def test_any_row_of_chunks_keeps_the_laws_at_any_split(chunks: list[Any], seed: int) -> None:
    dialect = partial(Decoder, seal="openrouter", think_tags=True)
    body = b"".join(frame(**value) for value in chunks) + chunk("stop")
    whole = decode([body], dialect=dialect)
    assert decode(split(body, seed), dialect=dialect).plain() == whole.plain()
