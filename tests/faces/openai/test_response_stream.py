"""Runs as the Responses interface tells them, event by event and as the object."""

import json
from typing import Any

import pytest
from hypothesis import given, settings

from porch.contract.events import (
    AnyEvent,
    RunFinished,
    RunPaused,
    RunResumed,
    StepDiscarded,
    StepStarted,
    ToolCallFinished,
    ToolCallStarted,
)
from porch.contract.sse import SseDecoder
from porch.faces.openai.outcome import settled
from porch.faces.openai.response_stream import ResponseEvents
from porch.faces.projection import project
from tests.faces import journals
from tests.faces.journals import CANCELLED, FAILED, FINISHED, STARTED, call, everything, frames, part

BEGUN = StepStarted(step="s1", model="scripted:test")
REQUEST: dict[str, Any] = {"tools": [], "metadata": {"for": "me"}, "store": True}


def told(*events: AnyEvent, tools: tuple[str, ...] = ("weather",)) -> list[dict[str, Any]]:
    """The stream's events, numbered as they should be and named as their data."""
    projection = ResponseEvents(tools, REQUEST)
    stream = project(projection, frames(list(events))) + projection.cut()
    assert projection.cut() == b""
    found = [(event.event, json.loads(event.data)) for event in SseDecoder().feed(stream)]
    assert [data["sequence_number"] for _, data in found] == list(range(len(found)))
    assert all(name == data["type"] for name, data in found)
    return [data for _, data in found]


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [data["type"].removeprefix("response.") for data in found]


def test_text_is_told_from_its_item_to_its_last_word() -> None:
    found = told(STARTED, BEGUN, *part("s1", 1, "text", "It is", " noon."), FINISHED)
    assert kinds(found) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    whole = found[-1]["response"]
    assert whole["output"] == [found[-2]["item"]]
    assert whole["output"][0]["content"][0]["text"] == found[6]["text"] == "It is noon."
    assert whole["usage"]["total_tokens"] == 12
    assert whole["metadata"] == {"for": "me"}
    assert found[0]["response"]["output"] == []
    assert found[0]["response"]["status"] == "in_progress"


def test_reasoning_is_a_summary_and_a_refusal_a_part_of_its_own() -> None:
    thought, declined = part("s1", 1, "reasoning", "Hm."), part("s1", 2, "refusal", "No.")
    found = told(STARTED, BEGUN, *thought, *declined, FINISHED)
    reasoning, message = found[-1]["response"]["output"]
    assert reasoning["summary"] == [{"type": "summary_text", "text": "Hm."}]
    assert message["content"] == [{"type": "refusal", "refusal": "No."}]
    assert "reasoning_summary_text.delta" in kinds(found)
    assert "refusal.done" in kinds(found)


def test_calls_of_the_callers_tools_are_items_and_the_agents_own_stay_inside() -> None:
    found = told(
        STARTED,
        BEGUN,
        *call("s1", "c1", "weather", '{"at":"here"}'),
        *call("s1", "c2", "clock", "{}"),
        ToolCallStarted(step="s1", call="c3", name="weather"),
        ToolCallFinished(step="s1", call="c3", name="weather", arguments={}),
        RunFinished(reason="tool_calls", usage=None, message="msg_1"),
    )
    output = found[-1]["response"]["output"]
    assert [(item["type"], item["call_id"], item["arguments"]) for item in output] == [
        ("function_call", "c1", '{"at":"here"}'),
        ("function_call", "c3", "{}"),
    ]
    for item in output:
        grown = "".join(
            data["delta"]
            for data in found
            if data["type"].endswith("arguments.delta") and data["item_id"] == item["id"]
        )
        assert grown == item["arguments"]
    assert found[-1]["type"] == "response.completed"
    assert "clock" not in json.dumps(found)


@pytest.mark.parametrize(
    ("reason", "why"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_that_is_not_whole_is_incomplete(reason: Any, why: str) -> None:
    last = told(STARTED, BEGUN, RunFinished(reason=reason, usage=None, message="msg_1"))[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": why}


@pytest.mark.parametrize(("end", "status"), [(FAILED, "failed"), (CANCELLED, "cancelled")])
def test_a_run_that_does_not_finish_is_a_failed_response(end: AnyEvent, status: str) -> None:
    last = told(STARTED, BEGUN, *part("s1", 1, "text", "Hi"), end)[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == status
    assert last["response"]["error"]["code"] == "server_error"


def test_a_step_taken_back_after_it_spoke_ends_the_stream_and_not_the_response() -> None:
    again = [StepStarted(step="s2", model="m"), *part("s2", 1, "text", "It is noon."), FINISHED]
    said = [STARTED, BEGUN, *part("s1", 1, "text", "It is el")]
    found = told(*said, StepDiscarded(step="s1", reason="takeover"), *again)
    assert found[-1]["type"] == "error"
    assert found[-1]["code"] == "answer_restarted"
    silent = told(STARTED, BEGUN, StepDiscarded(step="s1", reason="fallback"), *again)
    assert silent[-1]["type"] == "response.completed"


def test_a_run_that_went_on_after_a_pause_is_told_to_its_end() -> None:
    waited = [RunPaused(reason="approval"), RunResumed(reason="approval")]
    found = told(STARTED, BEGUN, *waited, *part("s1", 1, "text", "Hi"), FINISHED)
    assert found[-1]["type"] == "response.completed"


def test_a_pause_and_a_cut_are_errors() -> None:
    assert told(STARTED, BEGUN, RunPaused(reason="approval"))[-1]["code"] == "run_paused"
    last = told(STARTED, BEGUN)[-1]
    assert last["code"] == "stream_cut"
    assert last["error"] == {
        "type": "server_error",
        **{name: last[name] for name in ("code", "message", "param")},
    }


def test_the_whole_of_a_run_with_everything_leaves_out_what_was_taken_back() -> None:
    projection = ResponseEvents((), REQUEST)
    for event in settled(everything()):
        projection.feed(event)
    texts = [
        item["content"][0].get("text") for item in projection.response["output"] if item["type"] == "message"
    ]
    assert texts == ["Let me look.", "It is noon ☼", None]


@settings(deadline=None)
@given(journals.runs())
def test_any_lawful_run_ends_once_and_its_items_are_what_was_told(events: list[AnyEvent]) -> None:
    found = told(*events)
    ends = ("response.completed", "response.incomplete", "response.failed", "error")
    assert [n for n, data in enumerate(found) if data["type"] in ends] == [len(found) - 1]
    if found[-1]["type"] == "response.completed":
        done = [data["item"] for data in found if data["type"] == "response.output_item.done"]
        assert sorted(done, key=lambda item: item["id"]) == sorted(
            found[-1]["response"]["output"], key=lambda item: item["id"]
        )
        assert all(item["status"] == "completed" for item in done)
