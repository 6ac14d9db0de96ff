import pytest

from porch.client import AnswerCancelled, AnswerFailed, Resync, StreamEvent, ToolUse
from porch.client.answer import Tale, Words
from porch.contract.events import (
    ApprovalRequested,
    ApprovalResolved,
    ErrorInfo,
    Event,
    Notice,
    PartFinished,
    PartKind,
    PartStarted,
    ReasoningSealed,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    SourceCited,
    StepDiscarded,
    StepFinished,
    StepStarted,
    StreamChunk,
    ToolCallFinished,
    ToolCallStarted,
    ToolError,
    ToolResultFinished,
    Usage,
    decode_event,
)
from porch.contract.frames import Cursor, encode_frame, frame_data
from porch.contract.messages import ReasoningPart, RefusalPart, TextPart, ToolCallPart, ToolResultPart
from tests.client.fake import RUN

STARTED = RunStarted(agent="@me/hello", version=1, workspace="me", conversation="conv_1", message="msg_1")
END = RunFinished(reason="stop", usage=Usage(input_tokens=3, output_tokens=2), message="msg_2")


def placed(*events: Event | Resync, first: int = 1, epoch: int = 1) -> list[StreamEvent]:
    """These events as a stream gives them; a resync counts back and raises the epoch."""
    found: list[StreamEvent] = []
    seq = first
    for event in events:
        if isinstance(event, Resync):
            found.append(event)
            seq, epoch = event.keep_through + 1, epoch + (event.reason == "takeover")
            continue
        read = decode_event(frame_data(encode_frame(event, RUN.encode(), epoch, seq, 0)))
        assert read
        found.append(read)
        seq += 1
    return found


def tale(events: list[StreamEvent]) -> Tale:
    told = Tale()
    for event in events:
        told.take(event)
    return told


def words(events: list[StreamEvent]) -> str:
    heard = Words()
    return "".join(heard.take(event) for event in events)


def said(part: str, *deltas: str, step: str = "s1", kind: PartKind = "text") -> list[Event]:
    """A part from its start to its end."""
    events: list[Event] = [PartStarted(step=step, part=part, kind=kind)]
    events += [StreamChunk(step=step, part=part, delta=delta) for delta in deltas]
    return [*events, PartFinished(step=step, part=part, kind=kind, value="".join(deltas))]


def test_an_answer_has_its_words_parts_tools_and_figures() -> None:
    told = tale(
        placed(
            STARTED,
            StepStarted(step="s1", model="a:b"),
            *said("p0", "Hm.", kind="reasoning"),
            ReasoningSealed(step="s1", part="p0", format="x", data="seal"),
            *said("p1", "Let me ", "see."),
            ToolCallStarted(step="s1", call="c1", name="clock"),
            ToolCallFinished(step="s1", call="c1", name="clock", arguments={"timezone": "UTC"}),
            ToolCallFinished(step="s1", call="c2", name="nothing", raw_arguments="{"),
            StepFinished(step="s1", model="a:b-2026"),
            ToolResultFinished(
                step="s1", call="c2", error=ToolError(code="unknown", message="No."), duration_ms=1
            ),
            ToolResultFinished(step="s1", call="c1", output="12:00", duration_ms=7),
            StepStarted(step="s2", model="a:b"),
            *said("p2", "It is noon.", step="s2"),
            SourceCited(step="s2", url="https://a.test"),
            Notice(code="n", text="Mind."),
            END,
        )
    )
    answer = told.verdict
    assert answer.text == str(answer) == "Let me see.\n\nIt is noon."
    assert answer.parts == [
        ReasoningPart(text="Hm.", format="x", sealed="seal"),
        TextPart(text="Let me see."),
        ToolCallPart(call="c1", name="clock", arguments={"timezone": "UTC"}),
        ToolCallPart(call="c2", name="nothing", raw_arguments="{"),
        ToolResultPart(call="c1", output="12:00"),
        ToolResultPart(call="c2", error=ToolError(code="unknown", message="No.")),
        TextPart(text="It is noon."),
    ]
    assert answer.tools == [
        ToolUse(call="c1", name="clock", arguments={"timezone": "UTC"}, output="12:00", duration_ms=7),
        ToolUse(
            call="c2",
            name="nothing",
            raw_arguments="{",
            error=ToolError(code="unknown", message="No."),
            duration_ms=1,
        ),
    ]
    assert (answer.run, answer.conversation, answer.message) == (RUN, "conv_1", "msg_2")
    assert (answer.status, answer.reason, answer.model) == ("finished", "stop", "a:b")
    assert answer.usage == Usage(input_tokens=3, output_tokens=2)
    assert [source.url for source in answer.sources] == ["https://a.test"]
    assert [notice.text for notice in answer.notices] == ["Mind."]
    assert answer.cursor == Cursor(1, 23)


def test_a_discarded_step_is_no_part_of_the_answer() -> None:
    cited = SourceCited(step="s1", url="https://a.test")
    gone = [STARTED, *said("p1", "Good "), cited, StepDiscarded(step="s1", reason="fallback")]
    answer = tale(placed(*gone, *said("p1", "Good evening.", step="s2"), END)).verdict
    assert (answer.text, answer.sources) == ("Good evening.", [])


def test_what_a_resync_says_to_forget_is_forgotten() -> None:
    events = placed(
        STARTED,
        *said("p1", "Good evening."),
        Notice(code="n", text="Gone."),
        Resync("takeover", 1),
        RunResumed(reason="takeover"),
        *said("p1", "Good morning."),
        END,
    )
    told = tale(events)
    assert told.cursor == Cursor(2, 6)
    assert (told.verdict.text, told.verdict.notices) == ("Good morning.", [])


def test_a_failed_run_raises_what_went_wrong_and_keeps_what_came() -> None:
    error = ErrorInfo(
        code="overloaded", category="overloaded", message="Later.", retryable=True, emitted_any=True
    )
    told = tale(placed(STARTED, *said("p1", "Good "), RunFailed(error=error)))
    with pytest.raises(AnswerFailed, match=r"Later\.") as caught:
        _ = told.verdict
    assert (caught.value.code, caught.value.category, caught.value.error) == (
        "overloaded",
        "overloaded",
        error,
    )
    assert (caught.value.answer.text, caught.value.answer.status) == ("Good ", "failed")


def test_a_cancelled_run_raises_who_stopped_it_and_keeps_what_came() -> None:
    told = tale(placed(STARTED, *said("p1", "Good "), RunCancelled(by="user:usr_1")))
    with pytest.raises(AnswerCancelled, match="cancelled by user:usr_1") as caught:
        _ = told.verdict
    assert (caught.value.by, caught.value.answer.text) == ("user:usr_1", "Good ")


def test_a_run_that_waits_for_a_person_shows_what_for() -> None:
    asked = ApprovalRequested(
        approval="apr_1",
        call="c1",
        name="send",
        arguments={"to": "a"},
        reason="It costs.",
        expires="2026-11-23T00:00:00Z",  # pyright: ignore[reportArgumentType]  # as it is written on the wire
    )
    paused = [STARTED, asked, RunPaused(reason="approval")]
    waiting = tale(placed(*paused)).verdict
    assert (waiting.status, waiting.reason) == ("paused", "approval")
    assert [(item.approval, item.arguments) for item in waiting.approvals] == [("apr_1", {"to": "a"})]
    resolved = ApprovalResolved(approval="apr_1", decision="approve", by="user:usr_1")
    whole = tale(placed(*paused, RunResumed(reason="approval"), resolved, END)).verdict
    assert (whole.status, whole.approvals) == ("finished", [])


def test_a_refusal_is_said_and_thoughts_are_not() -> None:
    events = placed(STARTED, *said("p0", "Hm.", kind="reasoning"), *said("p1", "No.", kind="refusal"), END)
    assert words(events) == tale(events).verdict.text == "No."
    assert RefusalPart(text="No.") in tale(events).verdict.parts


def test_words_as_they_come_are_the_answers_text_with_its_blank_lines() -> None:
    events = placed(STARTED, *said("p1", "Let me ", "see."), *said("p2", "It ", "is.", step="s2"), END)
    assert words(events) == tale(events).verdict.text == "Let me see.\n\nIt is."


def test_words_that_came_twice_for_a_slow_reader_are_said_once() -> None:
    whole = [STARTED, *said("p1", "Good ", "evening."), END]
    assert words(placed(*whole[:4], Resync("overflow", 2), *whole[2:])) == "Good evening."


def test_words_that_a_takeover_made_void_are_followed_by_new_ones_after_a_blank_line() -> None:
    again = [RunResumed(reason="takeover"), StepDiscarded(step="s1", reason="takeover")]
    events = placed(
        STARTED, *said("p1", "Good e")[:2], Resync("takeover", 2), *again, *said("p1", "Good evening."), END
    )
    assert words(events) == "Good e\n\nGood evening."
    assert tale(events).verdict.text == "Good evening."


@pytest.mark.parametrize(("kind", "heard"), [("text", "evening."), ("reasoning", "")])
def test_words_of_a_part_whose_start_was_read_elsewhere_wait_for_what_they_are(
    kind: PartKind, heard: str
) -> None:
    assert words(placed(*said("p1", "Good ", "evening.", kind=kind)[2:], END, first=4)) == heard
