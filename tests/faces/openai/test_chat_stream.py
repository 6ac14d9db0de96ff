"""Runs as Chat Completions tells them, chunk by chunk and as a whole."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings

from porch.contract.events import (
    AnyEvent,
    ErrorInfo,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    StepDiscarded,
    StepStarted,
    ToolCallFinished,
    ToolCallStarted,
    Usage,
)
from porch.contract.frames import resync_frame
from porch.faces.openai.chat_stream import BETWEEN, ChatChunks, complete_chat
from porch.faces.openai.outcome import settled
from porch.faces.projection import project, read_frames
from tests.faces import journals
from tests.faces.journals import (
    CANCELLED,
    FAILED,
    FINISHED,
    STARTED,
    call,
    data_of,
    everything,
    frames,
    part,
)

BEGUN = StepStarted(step="s1", model="scripted:test")
WEATHER = {"weather"}


def chunks(*events: AnyEvent, tools: Sequence[str] = ("weather",), usage: bool = False) -> list[Any]:
    """The data of the stream, decoded; the last one may be [DONE]."""
    return read(frames(list(events)), tools=tools, usage=usage)


def read(journal: bytes, *, tools: Sequence[str] = ("weather",), usage: bool = False) -> list[Any]:
    projection = ChatChunks(tools, include_usage=usage)
    stream = project(projection, journal) + projection.cut()
    assert projection.cut() == b""
    return [data.decode() if data == b"[DONE]" else json.loads(data) for data in data_of(stream)]


def deltas(told: list[Any]) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in told if chunk != "[DONE]" and chunk.get("choices")]


def joined(told: list[Any], field: str) -> str:
    return "".join(delta.get(field) or "" for delta in deltas(told))


def test_text_reasoning_and_refusals_come_in_their_own_fields() -> None:
    told = chunks(
        STARTED,
        BEGUN,
        *part("s1", 1, "reasoning", "Hm, ", "yes."),
        *part("s1", 2, "text", "It is", " noon."),
        *part("s1", 3, "refusal", "No more."),
        FINISHED,
    )
    assert deltas(told)[0] == {"role": "assistant"}
    assert joined(told, "reasoning_content") == "Hm, yes."
    assert joined(told, "content") == "It is noon."
    assert joined(told, "refusal") == "No more."
    assert told[-2]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop"}
    assert told[-1] == "[DONE]"
    assert {chunk["model"] for chunk in told[:-1]} == {"@ada/helper"}
    assert len({chunk["id"] for chunk in told[:-1]}) == 1


def test_parallel_calls_of_the_callers_tools_keep_their_places_and_the_agents_own_stay_inside() -> None:
    told = chunks(
        STARTED,
        BEGUN,
        *call("s1", "c1", "weather", '{"at":"here"}'),
        *call("s1", "c2", "clock", '{"zone":"UTC"}'),
        *call("s1", "c3", "weather", '{"at":"there"}'),
        RunFinished(reason="tool_calls", usage=None, message="msg_1"),
    )
    calls: dict[int, dict[str, Any]] = {}
    for delta in deltas(told):
        for made in delta.get("tool_calls", []):
            whole = calls.setdefault(made["index"], {"arguments": "", **made})
            whole["arguments"] += made["function"]["arguments"]
    assert [(made["id"], made["arguments"]) for made in calls.values()] == [
        ("c1", '{"at":"here"}'),
        ("c3", '{"at":"there"}'),
    ]
    assert told[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert "clock" not in json.dumps(told)


def test_a_call_without_arguments_says_an_empty_object() -> None:
    told = chunks(
        STARTED,
        BEGUN,
        ToolCallStarted(step="s1", call="c1", name="weather"),
        ToolCallFinished(step="s1", call="c1", name="weather", arguments={}),
        FINISHED,
    )
    assert [
        made["function"]["arguments"] for delta in deltas(told) for made in delta.get("tool_calls", [])
    ] == [
        "",
        "{}",
    ]


def test_words_before_and_after_a_tool_are_kept_apart() -> None:
    first, second = part("s1", 1, "text", "Let me see."), part("s2", 1, "text", "It is noon.")
    told = chunks(STARTED, BEGUN, *first, StepStarted(step="s2", model="m"), *second, FINISHED)
    whole = complete_chat([STARTED, *first, *second, FINISHED], WEATHER)
    assert joined(told, "content") == f"Let me see.{BETWEEN}It is noon."
    assert whole["choices"][0]["message"]["content"] == joined(told, "content")


def test_usage_comes_where_it_was_asked_for_in_a_chunk_of_its_own() -> None:
    usage = Usage(input_tokens=7, output_tokens=5, cached_input_tokens=3, reasoning_tokens=2)
    done = RunFinished(reason="length", usage=usage, message="msg_1")
    told = chunks(STARTED, BEGUN, *part("s1", 1, "text", "Hi"), done, usage=True)
    assert told[-2]["choices"] == []
    assert told[-2]["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert all(chunk["usage"] is None for chunk in told[:-2])
    assert told[-3]["choices"][0]["finish_reason"] == "length"
    assert all("usage" not in chunk for chunk in chunks(STARTED, BEGUN, done)[:-1])


def test_a_run_that_went_on_after_a_pause_is_told_to_its_end() -> None:
    waited = [RunPaused(reason="approval"), RunResumed(reason="approval")]
    assert chunks(STARTED, BEGUN, *waited, *part("s1", 1, "text", "Hi"), FINISHED)[-1] == "[DONE]"


@pytest.mark.parametrize("end", [FAILED, CANCELLED, RunPaused(reason="approval")])
def test_a_run_that_does_not_finish_ends_as_an_error_and_never_as_done(end: AnyEvent) -> None:
    told = chunks(STARTED, BEGUN, *part("s1", 1, "text", "Hi"), end)
    assert set(told[-1]) == {"error"}
    assert set(told[-1]["error"]) == {"message", "type", "param", "code"}
    assert "[DONE]" not in told


@pytest.mark.parametrize(
    ("category", "code"),
    [
        ("rate_limit", "rate_limit_exceeded"),
        ("context_too_long", "context_length_exceeded"),
        ("network", "reset"),
    ],
)
def test_an_error_has_openais_code_where_there_is_one(category: Any, code: str) -> None:
    failure = ErrorInfo(code="reset", category=category, message="No.", retryable=True, emitted_any=True)
    assert chunks(STARTED, BEGUN, RunFailed(error=failure))[-1]["error"]["code"] == code


def test_a_step_taken_back_before_it_said_anything_goes_unnoticed() -> None:
    told = chunks(
        STARTED,
        BEGUN,
        StepDiscarded(step="s1", reason="fallback"),
        StepStarted(step="s2", model="other:model"),
        *part("s2", 1, "text", "Hi"),
        FINISHED,
    )
    assert joined(told, "content") == "Hi"
    assert told[-1] == "[DONE]"


def test_a_step_taken_back_after_it_spoke_ends_the_stream_with_an_error_that_says_so() -> None:
    told = chunks(
        STARTED,
        BEGUN,
        *part("s1", 1, "text", "It is el"),
        StepDiscarded(step="s1", reason="fallback"),
        StepStarted(step="s2", model="other:model"),
        *part("s2", 1, "text", "It is noon."),
        FINISHED,
    )
    assert told[-1]["error"]["code"] == "answer_restarted"
    assert "Asking again is safe" in told[-1]["error"]["message"]
    assert "noon" not in json.dumps(told)


def test_a_takeover_is_an_error_only_where_something_was_shown_behind_it() -> None:
    said = [STARTED, BEGUN, *part("s1", 1, "text", "Hi")]
    taken = [RunResumed(reason="takeover"), StepStarted(step="s2", model="m"), FINISHED]
    unseen = frames(said) + resync_frame("takeover", 5) + frames(taken, 6)
    seen = frames(said) + resync_frame("takeover", 3) + frames(taken, 4)
    assert read(unseen)[-1] == "[DONE]"
    assert read(seen)[-1]["error"]["code"] == "answer_restarted"


def test_a_stream_that_is_cut_says_so() -> None:
    assert chunks(STARTED, BEGUN, *part("s1", 1, "text", "Hi"))[-1]["error"]["code"] == "stream_cut"
    overflown = frames([STARTED, BEGUN]) + resync_frame("overflow", 2)
    assert read(overflown)[-1]["error"]["code"] == "stream_cut"


def test_the_whole_of_a_run_with_everything_leaves_out_what_was_taken_back() -> None:
    events = settled(item for item in read_frames(frames(everything())) if item is not None)
    whole = complete_chat(events, {"clock"})
    [choice] = whole["choices"]
    assert choice["message"]["content"] == f"Let me look.{BETWEEN}It is noon ☼"
    assert choice["message"]["refusal"] == "No more."
    assert choice["message"]["reasoning_content"] == "Hm, yes."
    assert [made["function"]["arguments"] for made in choice["message"]["tool_calls"]] == [
        '{"timezone":"UTC"}',
        "[1",
    ]
    assert whole["usage"]["total_tokens"] == 12


def test_what_came_behind_a_takeovers_cut_is_not_settled() -> None:
    said = [STARTED, BEGUN, *part("s1", 1, "text", "Void")]
    taken = [RunResumed(reason="takeover"), StepDiscarded(step="s1", reason="takeover"), FINISHED]
    journal = frames(said) + resync_frame("takeover", 2) + frames(taken, 3)
    kept = settled(item for item in read_frames(journal) if item is not None)
    assert [type(event) for event in kept] == [RunStarted, RunResumed, RunFinished]


def test_what_is_asked_again_under_its_key_is_told_without_what_was_taken_back() -> None:
    journal = [
        STARTED,
        BEGUN,
        *part("s1", 1, "text", "It is el"),
        StepDiscarded(step="s1", reason="fallback"),
        StepStarted(step="s2", model="other:model"),
        *part("s2", 1, "text", "It is noon."),
        FINISHED,
    ]
    assert chunks(*journal)[-1] != "[DONE]"
    told = chunks(*settled(journal))
    assert (joined(told, "content"), told[-1]) == ("It is noon.", "[DONE]")


@settings(deadline=None)
@given(journals.runs())
def test_any_lawful_run_ends_once_and_says_what_its_whole_says(events: list[AnyEvent]) -> None:
    told = chunks(*events)
    ends = [n for n, one in enumerate(told) if one == "[DONE]" or "error" in one]
    assert ends == [len(told) - 1]
    if told[-1] == "[DONE]":
        whole = complete_chat(settled(events), WEATHER)["choices"][0]
        # Parts may interleave: a stream tells them as they come, the whole one after the other.
        assert sorted(joined(told, "refusal")) == sorted(whole["message"]["refusal"] or "")
        assert sorted(joined(told, "reasoning_content")) == sorted(
            whole["message"].get("reasoning_content", "")
        )
        assert whole["finish_reason"] == told[-2]["choices"][0]["finish_reason"]
