import io

from porch.cli.prose import Prose
from porch.cli.reply import Reply, result_of
from porch.client import Reconnecting, Resync, StreamItem
from porch.contract.events import (
    ErrorInfo,
    Notice,
    PartFinished,
    PartStarted,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    StepDiscarded,
    StepFinished,
    StepStarted,
    StreamChunk,
    ToolCallFinished,
    ToolError,
    ToolResultFinished,
    Usage,
)

STEP = StepStarted(step="s1", model="scripted:demo")
END = RunFinished(reason="stop", usage=Usage(input_tokens=3, output_tokens=2), message="msg_2")


def part(name: str, text: str, kind: str = "text", step: str = "s1") -> list[StreamItem]:
    assert kind in ("text", "reasoning", "refusal")
    return [
        PartStarted(step=step, part=name, kind=kind),
        *(StreamChunk(step=step, part=name, delta=sign) for sign in text),
        PartFinished(step=step, part=name, kind=kind, value=text),
    ]


def show(*items: StreamItem, quiet: bool = False) -> tuple[Reply, str, str]:
    said, aside = io.StringIO(), io.StringIO()
    reply = Reply(Prose(said), Prose(aside), quiet=quiet)
    for item in items:
        reply.show(item)
    return reply, said.getvalue(), aside.getvalue()


def test_the_answer_goes_to_one_place_and_all_else_to_the_other() -> None:
    _, said, aside = show(STEP, *part("p1", "Hm.", "reasoning"), *part("p2", "Good evening."), END)
    assert said == "Good evening.\n"
    assert aside == "Hm.\n"


def test_a_tool_is_shown_with_its_arguments_result_and_duration() -> None:
    call = ToolCallFinished(step="s1", call="c1", name="clock", arguments={"timezone": "UTC"})
    result = ToolResultFinished(call="c1", output={"now": "12:00"}, duration_ms=3)
    _, said, aside = show(STEP, call, result, END)
    assert said == ""
    assert 'clock {"timezone": "UTC"}' in aside
    assert '{"now": "12:00"} (3 ms)' in aside


def test_a_tool_that_fails_says_why_by_its_name() -> None:
    call = ToolCallFinished(step="s1", call="c1", name="clock", arguments={})
    failed = ToolResultFinished(call="c1", error=ToolError(code="x", message="no such zone"), duration_ms=1)
    assert "clock: no such zone" in show(call, failed)[2]


def test_an_enormous_argument_is_shortened() -> None:
    call = ToolCallFinished(step="s1", call="c1", name="save", arguments={"text": "y" * 10_000})
    assert len(show(call)[2]) < 250


def test_a_discarded_step_does_not_count_as_the_answer() -> None:
    again = StepStarted(step="s2", model="openai:gpt-5")
    reply, _, aside = show(
        STEP,
        *part("p1", "Wro"),
        RunResumed(reason="takeover"),
        StepDiscarded(step="s1", reason="takeover"),
        again,
        *part("p2", "Right.", step="s2"),
        END,
    )
    assert reply.outcome.text == "Right."
    assert reply.outcome.model == "openai:gpt-5"
    assert "begins it again" in aside


def test_a_quotas_pause_is_no_answer_that_was_cut_off_unless_words_of_it_are_taken_back() -> None:
    pause = (StepDiscarded(step="s1", reason="quota"), RunPaused(reason="quota"))
    reply, _, aside = show(STEP, *pause)
    assert aside == ""
    assert reply.outcome.status == "paused"
    assert "cut off" in show(STEP, *part("p1", "Wro"), *pause)[2]


def test_a_program_gets_what_stands_alone_and_a_step_at_a_time() -> None:
    said = io.StringIO()
    reply = Reply(Prose(said), Prose(io.StringIO()))
    for item in (STEP, *part("p1", "Let me see."), StepFinished(step="s1", model="scripted:demo")):
        reply.show(item)
    assert said.getvalue() == "Let me see."
    for item in (StepStarted(step="s2", model="scripted:demo"), *part("p2", "Wro", step="s2")[:-1]):
        reply.show(item)
    assert said.getvalue() == "Let me see."
    gone = StepDiscarded(step="s2", reason="fallback")
    for item in (gone, StepStarted(step="s3", model="openai:gpt-5"), *part("p3", "Right.", step="s3"), END):
        reply.show(item)
    assert said.getvalue() == "Let me see.\n\nRight.\n" == reply.outcome.text + "\n"


def test_words_of_a_run_that_failed_are_given_when_they_are_kept() -> None:
    error = ErrorInfo(code="x", category="auth", message="No key.", retryable=False, emitted_any=True)
    closed = StepFinished(step="s1", model="scripted:demo")
    assert show(STEP, *part("p1", "Half"), closed, RunFailed(error=error))[1] == "Half\n"
    assert show(STEP, *part("p1", "Half"))[1] == "", "whether it stands is not known yet"


def test_the_model_is_the_one_that_answered_though_another_one_was_asked() -> None:
    reply = show(STEP, *part("p1", "Hi."), StepFinished(step="s1", model="openai:gpt-5"), END)[0]
    assert result_of(reply.outcome)["model"] == "openai:gpt-5"


def test_a_lost_connection_is_told_once_however_often_it_is_tried() -> None:
    _, _, aside = show(
        Reconnecting(1, 0.1, "the connection was cut"), Reconnecting(2, 0.2, "no sign of life")
    )
    assert aside.count("Connection lost") == 1


def test_notices_and_takeovers_are_told() -> None:
    aside = show(Notice(code="truncated", text="Older messages were left out."), Resync("takeover", 4))[2]
    assert "Older messages were left out." in aside
    assert "picked the answer up" in aside


def test_two_parts_stand_apart_and_leading_blank_lines_go() -> None:
    reply, said, _ = show(STEP, *part("p1", "\n\nOne."), *part("p2", "Two."), END)
    assert said == "One.\n\nTwo.\n"
    assert reply.outcome.text == "One.\n\nTwo."


def test_every_end_is_known_by_its_status() -> None:
    error = ErrorInfo(code="x", category="auth", message="No key.", retryable=False, emitted_any=False)
    assert show(END)[0].outcome.status == "finished"
    assert show(RunFailed(error=error))[0].outcome.error == error
    assert show(RunCancelled(by="user:usr_1"))[0].outcome.status == "cancelled"
    assert show()[0].outcome.status == "open"


def test_a_quiet_reply_collects_and_prints_nothing() -> None:
    reply, said, _ = show(STEP, *part("p1", "Good evening."), END, quiet=True)
    assert said == ""
    found = result_of(reply.outcome)
    assert (found["answer"], found["status"]) == ("Good evening.", "finished")
    assert found["figures"]["output_tokens"] == 2


def test_figures_that_were_not_measured_are_left_out() -> None:
    assert show(END)[0].outcome.figures == ""
