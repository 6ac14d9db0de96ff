"""Runs as the AI SDK's UI message stream tells them, read as its own client reads them."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from porch.contract.events import (
    AnyEvent,
    FileProduced,
    Notice,
    PartFinished,
    RunFinished,
    RunPaused,
    SourceCited,
    StepDiscarded,
    StepStarted,
)
from porch.faces.ai_sdk.projection import UiMessageStream
from porch.faces.projection import project
from tests.faces import journals
from tests.faces.ai_sdk.reader import Client
from tests.faces.journals import CANCELLED, FAILED, FINISHED, RUN, STARTED, everything, frames, part


def told(events: list[AnyEvent], version: int = 7) -> Client:
    """What a client has when the stream ended."""
    projection = UiMessageStream(version=version)
    stream = project(projection, frames(events)) + projection.cut()
    assert projection.cut() == b""
    client = Client().read(stream)
    assert client.done
    return client


def step(*events: AnyEvent, end: AnyEvent = FINISHED) -> list[AnyEvent]:
    """A run of one step."""
    begin, finish = everything()[1], everything()[-2]
    return [STARTED, begin, *events, finish, end]


def test_a_run_is_one_message_with_the_runs_id() -> None:
    client = told(everything())
    assert client.name == RUN
    assert client.metadata["porch"]["conversation"] == "conv_0"
    assert client.metadata["porch"]["message"] == journals.MESSAGE
    assert client.metadata["usage"] == {"inputTokens": 7, "outputTokens": 5, "totalTokens": 12}


def test_words_and_thoughts_are_parts_of_the_message() -> None:
    client = told(everything())
    assert [(p["type"], p["text"]) for p in client.parts if p["type"] in ("text", "reasoning")] == [
        ("reasoning", "Hm, yes."),
        ("text", "Let me look."),
        ("text", "It is noon ☼"),
        ("text", "No more."),
    ]


def test_tools_are_run_here_and_their_results_belong_to_the_step_that_called_them() -> None:
    client = told(everything())
    assert client.tool("call_1") == {
        "type": "tool",
        "call": "call_1",
        "name": "clock",
        "state": "done",
        "input": {"timezone": "UTC"},
        "output": {"time": "12:00"},
        "approval": "apr_1",
        "approved": True,
    }
    assert client.tool("call_2")["state"] == "error"
    kinds = [chunk["type"] for chunk in client.chunks]
    assert kinds.index("tool-output-available") < kinds.index("finish-step")
    called = [chunk for chunk in client.chunks if chunk["type"].startswith(("tool-input-s", "tool-input-a"))]
    assert all(chunk["providerExecuted"] and chunk["dynamic"] for chunk in called)


def test_sources_files_memories_notices_and_raw_events_are_carried() -> None:
    client = told(everything())
    [source] = client.named("source-url")
    assert (source["url"], source["title"]) == ("https://example.org", "Noon")
    assert client.named("source-document")[0]["title"] == "A sundial"
    assert client.named("data-porch-file")[0]["data"]["name"] == "dial.png"
    assert client.named("data-porch-memory")[0]["data"]["text"] == "It is noon."
    assert client.named("data-porch-notice")[0]["data"]["code"] == "context_truncated"
    assert client.named("data-porch-raw")[0]["transient"] is True
    assert client.named("data-porch-tool-output")[0]["data"]["delta"] == "12:"
    assert "sealed-block" not in str(client.chunks)


@pytest.mark.parametrize("version", [6, 7])
def test_what_a_discard_makes_void_is_named(version: int) -> None:
    [chunk] = told(everything(), version).named("data-porch-discarded")
    assert chunk["data"] == {"step": "s2", "reason": "fallback", "void": ["s2p1", "s2p2"]}


def test_a_client_of_version_6_gets_no_chunk_that_it_would_fail_on() -> None:
    client = told(everything(), version=6)
    assert "Void words" in [part.get("text") for part in client.parts]
    assert not client.named("reset-step")
    assert not client.named("tool-approval-response")


def test_what_is_said_beside_a_discarded_step_stays() -> None:
    notice = Notice(step="s1", code="retried", text="Once more.")
    file = FileProduced(step="s1", file="file_1", name="a.png", media_type="image/png", size=9)
    source = SourceCited(step="s1", part="s1p1", url="https://example.org")
    spoken = part("s1", 1, "text", "Void")
    again = [StepStarted(step="s2", model="m"), *part("s2", 1, "text", "Sound"), FINISHED]
    events = [
        STARTED,
        everything()[1],
        notice,
        *spoken,
        file,
        source,
        StepDiscarded(step="s1", reason="x"),
        *again,
    ]
    client = told(events)
    kinds = [part["type"] for part in client.parts]
    assert kinds == ["data-porch-notice", "data-porch-file", "data-porch-discarded", "text"]


def test_a_failed_run_ends_with_an_error_and_says_before_what_kind_it_is() -> None:
    client = told(step(*part("s1", 1, "text", "Hello"), end=FAILED))
    assert client.chunks[-1] == {"type": "error", "errorText": "Too busy."}
    error = {"code": "overloaded", "category": "overloaded", "retryable": True}
    assert client.metadata["porch"]["error"] == error


def test_a_cancelled_run_is_aborted() -> None:
    assert told(step(end=CANCELLED)).chunks[-1] == {"type": "abort", "reason": "cancelled by user:usr_1"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool-calls"),
        ("content_filter", "content-filter"),
        ("refusal", "content-filter"),
        ("limit", "other"),
    ],
)
def test_every_finish_reason_has_its_name(ours: Any, theirs: str) -> None:
    end = RunFinished(reason=ours, usage=None, message=journals.MESSAGE)
    client = told(step(end=end))
    assert client.chunks[-1]["finishReason"] == theirs
    assert "usage" not in client.metadata


def test_a_stream_that_ends_at_a_pause_asks_for_the_approval() -> None:
    events = everything()
    at = next(at for at, event in enumerate(events) if isinstance(event, RunPaused))
    client = told(events[: at + 1])
    assert client.tool("call_1")["state"] == "asked"
    assert client.chunks[-1]["finishReason"] == "tool-calls"
    assert client.metadata["porch"]["paused"] == "approval"


def test_a_stream_that_is_cut_ends_in_an_error() -> None:
    assert told([STARTED, everything()[1]]).chunks[-1]["type"] == "error"


def test_a_keep_alive_is_a_comment() -> None:
    assert project(UiMessageStream(), b": keep-alive\n\n") == b": keep-alive\n\n"


@settings(deadline=None)
@given(journals.runs(), st.data())
def test_any_beginning_of_any_run_is_well_formed(run: list[AnyEvent], data: Any) -> None:
    told(run[: data.draw(st.integers(0, len(run)))])


@settings(deadline=None)
@given(journals.runs())
def test_a_client_has_the_words_that_stand(run: list[AnyEvent]) -> None:
    client = told(run)
    dropped = {event.step for event in run if isinstance(event, StepDiscarded)}
    words = [event.value for event in run if isinstance(event, PartFinished) and event.step not in dropped]
    have = [part["text"] for part in client.parts if part["type"] in ("text", "reasoning")]
    assert sorted(have) == sorted(words)


@settings(deadline=None)
@given(journals.runs())
def test_a_client_of_version_6_has_all_words_and_knows_which_are_void(run: list[AnyEvent]) -> None:
    client = told(run, version=6)
    void = {name for chunk in client.named("data-porch-discarded") for name in chunk["data"]["void"]}
    dropped = {event.step for event in run if isinstance(event, StepDiscarded)}
    shown = {name: event.step for event in run for name in [getattr(event, "part", None)] if name}
    assert {name for name, of in shown.items() if of in dropped} == void & shown.keys()
    words = [event.value for event in run if isinstance(event, PartFinished)]
    have = [part["text"] for part in client.parts if part["type"] in ("text", "reasoning")]
    assert all(word in have for word in words)
