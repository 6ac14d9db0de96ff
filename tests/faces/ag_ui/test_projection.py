"""Runs as AG-UI 1.0 tells them, read as its own client reads them."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from porch.contract.events import AnyEvent, Notice, PartFinished, RunPaused, StepDiscarded, ToolCallFinished
from porch.faces.ag_ui.projection import AgUi
from porch.faces.projection import project
from tests.faces import journals
from tests.faces.ag_ui.reader import Client
from tests.faces.journals import CANCELLED, FAILED, FINISHED, RUN, STARTED, call, everything, frames, part

QUESTION = {"id": "m1", "role": "user", "content": "What time is it?"}


def told(events: list[AnyEvent], *notices: Notice) -> Client:
    """What a client that asked the question has when the stream ended."""
    projection = AgUi("t1", "r1", [QUESTION], notices)
    stream = project(projection, frames(events)) + projection.cut()
    assert projection.cut() == b""
    return Client([QUESTION]).read(stream)


def step(*events: AnyEvent, end: AnyEvent = FINISHED) -> list[AnyEvent]:
    """A run of one step."""
    begin, finish = everything()[1], everything()[-2]
    return [STARTED, begin, *events, finish, end]


def test_a_run_starts_with_the_clients_ids_and_names_ours_in_its_metadata() -> None:
    first = told([STARTED]).events[0]
    assert {key: first[key] for key in ("type", "threadId", "runId", "protocolVersion")} == {
        "type": "RUN_STARTED",
        "threadId": "t1",
        "runId": "r1",
        "protocolVersion": "1.0",
    }
    assert first["metadata"]["porch"]["run"] == RUN
    assert first["metadata"]["porch"]["conversation"] == "conv_0"


def test_a_run_with_everything_amounts_to_the_conversation_without_what_was_discarded() -> None:
    client = told(everything())
    said = [(m["role"], m.get("content")) for m in client.messages]
    assert said == [
        ("user", "What time is it?"),
        ("reasoning", "Hm, yes."),
        ("assistant", "Let me look."),
        ("tool", '{"time":"12:00"}'),
        ("tool", "The arguments must be one JSON object."),
        ("assistant", "It is noon ☼"),
        ("assistant", "No more."),
    ]
    calls = client.messages[2]["toolCalls"]
    assert [(made["id"], made["function"]["arguments"]) for made in calls] == [
        ("call_1", '{"timezone":"UTC"}'),
        ("call_2", "[1"),
    ]


def test_what_ag_ui_has_no_event_for_is_custom_and_keeps_its_fields() -> None:
    client = told(everything())
    assert [event["name"] for event in client.named("CUSTOM")] == [
        "porch.approval.requested",
        "porch.approval.resolved",
        "porch.run.resumed",
        "porch.tool_result.started",
        "porch.tool_result.chunk",
        "porch.memory.write",
        "porch.notice",
        "porch.source",
        "porch.source",
        "porch.file",
    ]
    notice = next(event for event in client.named("CUSTOM") if event["name"] == "porch.notice")
    assert notice["value"] == {
        "code": "context_truncated",
        "text": "The oldest part was left out.",
        "step": "s3",
    }
    assert client.named("RAW") == [{"type": "RAW", "event": {"ping": 1}, "source": "local"}]


def test_a_sealed_block_stays_with_porch() -> None:
    assert "sealed-block" not in str(told(everything()).events)


def test_the_end_counts_tokens_per_model_of_the_steps_that_were_kept() -> None:
    end = told(everything()).events[-1]
    assert end["usage"] == [
        {
            "provider": "scripted",
            "model": "test-1",
            "inputTokens": 4,
            "outputTokens": 3,
            "reasoningTokens": 1,
            "totalTokens": 7,
        },
        {"provider": "local", "model": "smollm2", "inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
    ]
    assert end["metadata"]["porch"]["message"] == journals.MESSAGE
    assert end["outcome"] == {"type": "success"}


def test_a_failed_run_ends_with_its_error() -> None:
    end = told(step(*part("s1", 1, "text", "Hello"), end=FAILED)).events[-1]
    assert (end["type"], end["message"], end["code"]) == ("RUN_ERROR", "Too busy.", "overloaded")
    assert end["metadata"]["porch"]["retryable"] is True


def test_a_cancelled_run_is_neither_success_nor_failure() -> None:
    assert told(step(end=CANCELLED)).events[-1]["outcome"] == {"type": "cancelled"}


def test_calls_that_nobody_answered_are_named_for_the_client_to_answer() -> None:
    end = told(step(*call("s1", "call_1", "ask_person", "{}"))).events[-1]
    assert end["outcome"] == {"type": "success", "pendingToolCallIds": ["call_1"]}


def test_arguments_that_came_at_once_are_shown_all_the_same() -> None:
    whole = call("s1", "call_1", "clock", "{}")
    finished = ToolCallFinished(step="s1", call="call_1", name="clock", arguments={"a": 1})
    client = told(step(whole[0], finished))
    assert [event["delta"] for event in client.named("TOOL_CALL_ARGS")] == ['{"a":1}']


def test_a_stream_that_ends_at_a_pause_is_an_interrupt_that_names_the_approval() -> None:
    events = everything()
    at = next(at for at, event in enumerate(events) if isinstance(event, RunPaused))
    end = told(events[: at + 1]).events[-1]
    assert end["type"] == "RUN_FINISHED"
    assert end["outcome"]["type"] == "interrupt"
    [waiting] = end["outcome"]["interrupts"]
    assert (waiting["id"], waiting["toolCallId"], waiting["message"]) == (
        "apr_1",
        "call_1",
        "It tells the time.",
    )


def test_a_pause_for_quota_is_an_interrupt_too() -> None:
    [waiting] = told([STARTED, RunPaused(reason="quota")]).events[-1]["outcome"]["interrupts"]
    assert waiting["reason"] == "quota"


def test_a_discarded_step_is_taken_back_by_a_snapshot() -> None:
    void = [*part("s1", 1, "text", "Void"), *part("s1", 2, "reasoning", "void thought")]
    events = [STARTED, everything()[1], *void, StepDiscarded(step="s1", reason="fallback")]
    client = told(events)
    assert [m["content"] for m in client.messages if m["role"] != "reasoning"] == ["What time is it?"]
    # Without another reasoning in the snapshot the client keeps the message, but no word of it.
    assert [m["content"] for m in client.messages if m["role"] == "reasoning"] == [""]


def test_nothing_is_taken_back_where_nothing_was_shown() -> None:
    client = told([STARTED, everything()[1], StepDiscarded(step="s1", reason="fallback")])
    assert client.named("MESSAGES_SNAPSHOT") == []


def test_a_stream_that_is_cut_ends_in_an_error() -> None:
    end = told([STARTED, everything()[1]]).events[-1]
    assert (end["type"], end["code"]) == ("RUN_ERROR", "stream_cut")


def test_notices_about_the_input_follow_the_start() -> None:
    client = told([STARTED], Notice(code="input_not_used", text="Not told: state."))
    assert client.events[1]["name"] == "porch.notice"
    assert client.events[1]["value"] == {"code": "input_not_used", "text": "Not told: state."}


def test_a_keep_alive_is_a_comment() -> None:
    assert project(AgUi("t", "r"), b": keep-alive\n\n") == b": keep-alive\n\n"


@settings(deadline=None)
@given(journals.runs(), st.data())
def test_any_beginning_of_any_run_is_well_formed_and_any_whole_run_ends(
    run: list[AnyEvent], data: Any
) -> None:
    until = data.draw(st.integers(0, len(run)))
    client = told(run[:until])
    assert client.ended
    whole = told(run)
    expected = "RUN_ERROR" if run[-1] == FAILED else "RUN_FINISHED"
    assert whole.events[-1]["type"] == expected


@settings(deadline=None)
@given(journals.runs())
def test_a_client_has_the_words_of_the_steps_that_were_kept_and_no_others(run: list[AnyEvent]) -> None:
    void = {event.step for event in run if isinstance(event, StepDiscarded)}
    kept = [event for event in run if event.step not in void]
    words = [event.value for event in kept if isinstance(event, PartFinished)]
    client = told(run)
    have = [m["content"] for m in client.messages[1:] if m["role"] != "tool" and m.get("content")]
    assert sorted(have) == sorted(words)
    arguments = [json.loads(json.dumps(e.arguments)) for e in kept if isinstance(e, ToolCallFinished)]
    made = [c["function"]["arguments"] for m in client.messages for c in m.get("toolCalls", ())]
    assert sorted(map(str, arguments)) == sorted(str(json.loads(text)) for text in made)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_frames_are_told_the_same_however_they_are_put_together(size: int) -> None:
    events = everything()
    whole = project(AgUi("t", "r"), frames(events))
    projection, pieces = AgUi("t", "r"), b""
    for at in range(0, len(events), size):
        pieces += project(projection, frames(events[at : at + size], at + 1))
    assert pieces == whole
