"""A run followed in another protocol, and for an answer that is given as a whole."""

import asyncio
import contextlib
from collections.abc import MutableMapping
from typing import Any
from uuid import UUID

import pytest
from starlette.responses import Response

from porch import background
from porch.contract.events import RunCancelled, RunFailed, RunFinished, RunResumed, StreamChunk
from porch.contract.frames import KEEP_ALIVE, Cursor
from porch.contract.ids import format_id
from porch.faces.ag_ui.projection import AgUi
from porch.faces.ai_sdk.projection import UiMessageStream
from porch.faces.openai.chat_stream import ChatChunks
from porch.faces.projection import Resync
from porch.faces.stream import HeldStream, ProjectedStream, events, events_of
from porch.runs import reader
from porch.runs.service import Started
from porch.runs.stream import EventStream
from tests.faces.ag_ui.reader import Client as AgUiClient
from tests.faces.ai_sdk.reader import Client
from tests.faces.journals import everything, frames
from tests.laws import check_run
from tests.runs.conftest import Desk
from tests.runs.sink import Sink

SCOPE: Any = {"type": "http"}


def as_is(stream: EventStream) -> EventStream:
    """Everybody may read it, for as long as they like."""
    return stream


async def served(projected: ProjectedStream, sink: Sink | None = None) -> Sink:
    """A stream served until its end."""
    sink = sink or Sink()
    async with asyncio.timeout(30):
        await projected(SCOPE, sink.receive, sink.send)
    return sink


async def test_a_live_run_and_its_replay_are_told_the_same(desk: Desk) -> None:
    started = await desk.start("[[think Hm]] [[say Good evening to you.]]")
    live = await served(ProjectedStream(desk.runs.follow_new(desk.principal, started), UiMessageStream()))
    followed = await desk.runs.follow(desk.principal, started.run)
    assert followed is not None
    replay = await served(ProjectedStream(followed, UiMessageStream()))
    assert live.data == replay.data
    assert live.ended
    assert live.status == 200
    assert live.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert live.headers["porch-run"] == format_id("run", started.run)
    assert Client().read(live.data).parts[1]["text"] == "Good evening to you."


class Gasping(Sink):
    """Takes the beginning, and then nothing until its gate is opened."""

    gasped = False

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await super().send(message)
        if not self.gasped and b"start-step" in self.data:
            self.gasped = True
            self.gate.clear()


async def test_a_reader_who_falls_behind_hears_that_the_stream_was_cut(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader.Reader.__init__, "__kwdefaults__", {"max_bytes": 2000})
    started = await desk.start("[[tokens 200]]")
    sink = Gasping()
    followed = desk.runs.follow_new(desk.principal, started)
    serving = asyncio.create_task(served(ProjectedStream(followed, UiMessageStream()), sink))
    await sink.until(b"start-step")
    await desk.replay(started.run)
    sink.gate.set()
    await serving
    client = Client().read(sink.data)
    assert client.chunks[-1]["type"] == "error"
    assert client.done


async def test_leaving_changes_nothing_for_the_run(desk: Desk) -> None:
    started = await desk.start("[[say One]] [[pace 0.01]] [[tokens 20]]")
    sink = Sink()
    followed = desk.runs.follow_new(desk.principal, started)
    serving = asyncio.create_task(served(ProjectedStream(followed, AgUi("t", "r")), sink))
    await sink.until(b"One")
    sink.leave()
    await serving
    replayed = [event async for event in events_of(desk.runs, desk.principal, started.run, admitted=as_is)]
    check_run([event for event in replayed if not isinstance(event, Resync)])


async def test_a_takeover_takes_back_what_the_lost_step_showed(desk: Desk) -> None:
    started = await desk.start("[[say Before]] [[stall]]")
    sink = Sink()
    followed = desk.runs.follow_new(desk.principal, started)
    serving = asyncio.create_task(served(ProjectedStream(followed, AgUi("t", "r")), sink))
    await sink.until(b"Before")
    await desk.another()
    await desk.expire(desk.runs)
    await sink.until(b"MESSAGES_SNAPSHOT")
    await desk.others[0].cancel(desk.principal, started.run)
    await serving
    client = AgUiClient().read(sink.data)
    [snapshot] = client.named("MESSAGES_SNAPSHOT")
    assert snapshot["messages"] == []
    assert client.events[-1]["outcome"] == {"type": "cancelled"}


async def test_a_server_that_stops_cuts_the_stream(desk: Desk) -> None:
    started = await desk.start("[[say Before]] [[stall]]")
    sink = Sink()
    followed = desk.runs.follow_new(desk.principal, started)
    serving = asyncio.create_task(served(ProjectedStream(followed, AgUi("t", "r")), sink))
    await sink.until(b"Before")
    await desk.runs.stop()
    await serving
    assert AgUiClient().read(sink.data).events[-1]["code"] == "stream_cut"


def explained(end: RunFailed | RunCancelled | None) -> Response:
    """An answer that tells how the run ended."""
    return Response(type(end).__name__, 418)


def held(desk: Desk, started: Started) -> HeldStream:
    """The run as chunks of a chat, whose status waits."""
    return HeldStream(desk.runs.follow_new(desk.principal, started), ChatChunks(()), explained)


async def test_a_run_that_fails_before_its_first_word_is_an_answer_and_no_stream(desk: Desk) -> None:
    sink = await served(held(desk, await desk.start("[[fail 429]]")))
    assert (sink.status, sink.data, sink.ended) == (418, b"RunFailed", True)


async def test_a_run_that_fails_after_it_spoke_or_used_a_tool_is_a_stream(desk: Desk) -> None:
    for script in ("[[fail after=2 quota]]", "[[call clock]] [[next]] [[fail quota]]"):
        sink = await served(held(desk, await desk.start(script)))
        assert sink.status == 200
        assert sink.headers["content-type"].startswith("text/event-stream")
        assert b'"role":"assistant"' in sink.data
        assert b"insufficient_quota" in sink.data


async def test_the_status_does_not_wait_longer_than_a_keep_alive(desk: Desk) -> None:
    started, sink = await desk.start("[[stall]]"), Sink()
    serving = asyncio.create_task(served(held(desk, started), sink))
    while not desk.runs.readers:
        await asyncio.sleep(0)
    [waiting] = desk.runs.readers
    waiting.push(KEEP_ALIVE)
    await sink.until(b": keep-alive")
    assert sink.status == 200
    await desk.runs.cancel(desk.principal, started.run)
    await serving
    assert sink.data.startswith(b"data: ")
    assert b"run_cancelled" in sink.data


async def test_the_status_does_not_wait_for_words_while_the_agent_uses_tools(desk: Desk) -> None:
    started, sink = await desk.start("[[call clock]] [[next]] [[stall]]"), Sink()
    serving = asyncio.create_task(served(held(desk, started), sink))
    await sink.until(b": keep-alive")
    assert sink.status == 200
    await desk.runs.cancel(desk.principal, started.run)
    await serving


async def test_a_server_that_stops_before_the_first_word_says_so_by_a_status(desk: Desk) -> None:
    started, sink = await desk.start("[[stall]]"), Sink()
    serving = asyncio.create_task(served(held(desk, started), sink))
    while not desk.runs.readers:
        await asyncio.sleep(0)
    await desk.runs.stop()
    await serving
    assert (sink.status, sink.data) == (418, b"NoneType")


async def test_whoever_leaves_before_the_first_word_gets_nothing(desk: Desk) -> None:
    started, sink = await desk.start("[[stall]]"), Sink()
    serving = asyncio.create_task(served(held(desk, started), sink))
    while not desk.runs.readers:
        await asyncio.sleep(0)
    sink.leave()
    await serving
    assert (sink.status, sink.data) == (0, b"")


async def test_the_events_of_a_run_come_decoded_until_its_end(desk: Desk) -> None:
    started = await desk.start("[[tokens 20]]")
    new = [event async for event in events(desk.runs.follow_new(desk.principal, started))]
    again = [event async for event in events_of(desk.runs, desk.principal, started.run, admitted=as_is)]
    assert new == again
    check_run([event for event in again if not isinstance(event, Resync)])
    behind = events_of(desk.runs, desk.principal, started.run, Cursor(1, 5), admitted=as_is)
    assert [event async for event in behind] == again[5:]
    end = again[-1]
    assert isinstance(end, RunFinished)
    ended = events_of(desk.runs, desk.principal, started.run, Cursor(1, end.seq), admitted=as_is)
    assert [event async for event in ended] == []


async def test_the_events_of_a_run_that_went_on_after_a_pause_do_not_end_there() -> None:
    class Journal:
        async def follow(self, *_: object) -> Any:
            async def stream(_scope: object, _receive: object, send: Any) -> None:
                await send({"type": "http.response.body", "body": frames(everything()), "more_body": True})

            return stream

    runs: Any = Journal()
    nobody: Any = None
    found = [event async for event in events_of(runs, nobody, UUID(int=0), admitted=as_is)]
    assert [type(event) for event in found] == [type(event) for event in everything()]


async def test_a_consumer_may_be_as_slow_as_it_likes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader.Reader.__init__, "__kwdefaults__", {"max_bytes": 2000})
    started = await desk.start("[[pace 0]] [[tokens 2000]]")
    found: list[Any] = []
    async with contextlib.aclosing(
        events_of(desk.runs, desk.principal, started.run, admitted=as_is)
    ) as items:
        async for item in items:
            if not found:
                await desk.replay(started.run)  # the run is over before the second event is taken
            found.append(item)
    check_run(found)
    assert sum(isinstance(event, StreamChunk) for event in found) == 2000


async def test_a_takeover_is_told_among_the_events(desk: Desk) -> None:
    started = await desk.start("[[say Before]] [[stall]]")
    sink = Sink()
    followed = desk.runs.follow_new(desk.principal, started)
    serving = asyncio.create_task(desk.read(followed, sink))
    await sink.until(b"Before")
    await desk.another()
    await desk.expire(desk.runs)
    await sink.until(b"step.discarded")
    # As if more had been shown before the crash than was ever committed.
    ahead = events_of(desk.others[0], desk.principal, started.run, Cursor(1, 1000), admitted=as_is)
    async with contextlib.aclosing(ahead) as items:
        resync, first = await anext(items), await anext(items)
    assert isinstance(resync, Resync)
    assert resync.reason == "takeover"
    assert isinstance(first, RunResumed)
    assert first.seq == resync.keep_through + 1
    await desk.others[0].cancel(desk.principal, started.run)
    await serving


async def test_stopping_to_read_leaves_no_reader_behind(desk: Desk) -> None:
    started = await desk.start("[[say Before]] [[stall]]")
    async with contextlib.aclosing(
        events_of(desk.runs, desk.principal, started.run, admitted=as_is)
    ) as items:
        async for item in items:
            if isinstance(item, StreamChunk):
                assert len(desk.runs.readers) == 1
                break
    assert desk.runs.readers == set()


async def test_who_stops_to_read_while_much_waits_is_held_up_by_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "AGAIN_SECONDS", 60.0)

    async def endless(_scope: object, _receive: object, send: Any) -> None:
        while True:
            await send({"type": "http.response.body", "body": frames(everything()), "more_body": True})

    stream: Any = endless
    async with contextlib.aclosing(events(stream)) as items:
        await anext(items)
        await asyncio.sleep(0)  # what was taken has made room, and that is filled again
    assert "Left behind" not in caplog.text
