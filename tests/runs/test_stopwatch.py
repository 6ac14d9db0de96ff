"""What is measured of a run, as its own journal tells the same story."""

import asyncio

import pytest

from porch.contract.errors import Conflict
from porch.contract.events import StreamChunk
from porch.contract.messages import TextPart
from porch.plugins.service import Tools
from porch.runs.start import Asked
from porch.runs.stopwatch import RunTimes, Stopwatch
from tests.runs.conftest import Desk, types


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[RunTimes]:
    """Every run that came to an end, as it was measured."""
    found: list[RunTimes] = []
    finish = Stopwatch.finish

    def listen(watch: Stopwatch, *arguments: object) -> None:
        tell = watch._observer.run_ended  # pyright: ignore[reportPrivateUsage] - what it tells is the matter

        class Listener:
            def run_ended(self, run: RunTimes) -> None:
                found.append(run)
                tell(run)

        watch._observer = Listener()  # pyright: ignore[reportPrivateUsage]
        finish(watch, *arguments)  # pyright: ignore[reportArgumentType] - passed on as they came

    monkeypatch.setattr(Stopwatch, "finish", listen)
    return found


async def test_a_run_tells_its_chunks_tokens_and_times(desk: Desk, ended: list[RunTimes]) -> None:
    events = await desk.ask("[[think Hm hm.]] [[stall 60ms]] [[tokens 20 itl=2ms]]")
    (run,) = ended
    (call,) = run.calls
    assert call.chunks == sum(isinstance(event, StreamChunk) for event in events)
    assert (run.outcome, run.code, call.reason, call.code) == ("finished", None, "stop", None)
    assert call.output_tokens
    assert call.first_chunk is not None
    assert run.first_chunk is not None
    assert run.first_text is not None
    # Thinking comes first, and is no text.
    assert run.first_text - call.first_chunk >= 0.05
    assert 0 < run.first_chunk < run.first_text < run.duration
    assert call.per_chunk
    assert run.takeovers == 0


async def test_what_a_run_came_to_here_is_told_when_another_process_goes_on_with_it(
    desk: Desk, ended: list[RunTimes]
) -> None:
    started = await desk.start("[[call clock {}]] [[stall 30s]]", tools=["clock"])
    live = desk.runs.live(started.run)
    assert live is not None
    async with asyncio.timeout(10):
        while not (live.turn and len(live.turn.transcript.steps) == 2):
            await asyncio.sleep(0.01)
    await desk.runs.stop()
    (left,) = ended
    assert (left.outcome, left.first_text, left.first_chunk) == ("left", None, None)
    assert [call.step for call in left.calls] == ["s1"], "what was being said is void, and is not counted"
    assert [tool.name for tool in left.tools] == ["clock"]
    async with desk.database.tenant(desk.principal.workspace) as connection:
        assert await connection.fetchval("SELECT array_agg(step) FROM porch.call_figures") == ["s1"]
        assert await connection.fetchval("SELECT count(*) FROM porch.run_figures") == 0


async def test_a_message_that_came_too_late_tells_of_no_run(desk: Desk, ended: list[RunTimes]) -> None:
    where = await desk.conversation()
    await desk.start("[[stall 30s]]", where)
    with pytest.raises(Conflict):
        await desk.start("[[say Hello.]]", where)
    await desk.runs.stop()
    assert ended == []


async def test_tools_that_a_model_made_up_are_one_series(desk: Desk, ended: list[RunTimes]) -> None:
    await desk.ask("[[call abc {}]] [[call def {}]] [[say I see.]]", tools=["clock"])
    assert {(tool.name, tool.code) for tool in ended[0].tools} == {("unknown", "unknown_tool")}


async def test_tools_and_later_steps_are_told_apart(desk: Desk, ended: list[RunTimes]) -> None:
    await desk.ask("[[call clock]] [[say It is {result}.]]", tools=["clock"])
    (run,) = ended
    assert [call.step for call in run.calls] == ["s1", "s2"]
    assert [(tool.name, tool.code) for tool in run.tools] == [("clock", None)]
    assert run.calls[0].first_chunk is not None
    assert run.first_text is not None
    assert run.first_text > run.calls[0].duration


async def test_a_failure_in_mid_answer_is_told_from_one_before_it(desk: Desk, ended: list[RunTimes]) -> None:
    await desk.ask("[[fail after=3 overloaded]]")
    await desk.ask("[[fail 429]]")
    assert [run.outcome for run in ended] == ["failed", "failed"]
    assert [run.broke for run in ended] == [True, False]
    assert ended[1].first_text is None
    assert all(run.code and run.code == run.calls[0].code for run in ended)
    assert desk.runs.telemetry.stream_errors.series == {("scripted", "test", ended[0].code): 1}


async def test_text_that_another_model_replaced_is_void(desk: Desk, ended: list[RunTimes]) -> None:
    events = await desk.ask("[[fail after=2 overloaded]]", model=["scripted:first", "scripted:second"])
    assert "step.discarded" in types(events)
    (run,) = ended
    assert [call.asked for call in run.calls] == ["scripted:first", "scripted:second"]
    assert run.asked == "scripted:first"


async def test_a_cancelled_run_is_no_failure(desk: Desk, ended: list[RunTimes]) -> None:
    started = await desk.start("[[say Well]] [[stall]]")
    reading = asyncio.create_task(desk.read(desk.runs.follow_new(desk.principal, started)))
    await desk.runs.cancel(desk.principal, started.run)
    await reading
    assert [(run.outcome, run.code) for run in ended] == [("cancelled", None)]


async def test_a_takeover_tells_for_how_long_the_run_stood_still(desk: Desk, ended: list[RunTimes]) -> None:
    started = await desk.start("[[tokens 300 itl=3ms]]")
    other = await desk.another(Tools())
    await desk.expire(desk.runs)
    await desk.replay(started.run, runs=other)
    run = next(run for run in ended if run.takeovers)
    assert run.gap is not None
    assert 0 <= run.gap < 30
    assert other.telemetry.takeover.series[()].count == 1
    assert run.first_text is not None  # no step was complete, so all that was shown is void


async def test_the_journal_tells_how_long_commits_take(desk: Desk) -> None:
    await desk.ask("[[tokens 50 itl=2ms]]")
    lag = desk.runs.telemetry.journal_lag.series[()]
    assert lag.count >= 2
    assert 0 < lag.sum / lag.count < 5


async def test_a_message_that_could_not_be_taken_is_counted(desk: Desk) -> None:
    conversation = await desk.conversation()
    await desk.runs.stop()
    with pytest.raises(Exception, match="lease"):
        await desk.runs.ask(desk.principal, conversation, Asked([TextPart(text="Hi")]))
    assert desk.runs.telemetry.start_failures.series == {("unavailable",): 1}
