"""Cursors from the future: of a run that is at work nobody is left to wait for what it may never say."""

import asyncio

import pytest

from porch.contract.errors import Conflict
from porch.contract.events import RunFinished
from porch.contract.frames import START, Cursor, split_frames
from porch.runs import journal, stream
from porch.runs.live import LiveRun
from porch.runs.reach import place_to_go_on
from porch.runs.replay import Page
from porch.runs.stream import EventStream
from tests.runs.conftest import Desk, events_in
from tests.runs.sink import Sink

WORKING = "[[tokens 20]] [[stall 60s]]"
# The beginnings of the run, its step and its part, and all the words that come before it stalls.
SAID = 3 + 20
RESYNC = b'event: stream.resync\ndata: {"type":"stream.resync","reason":"takeover","keep_through":%d}\n\n'


async def spoken(desk: Desk, text: str, words: int) -> LiveRun:
    """A run that has shown so many events and goes on."""
    live = desk.runs.live((await desk.start(text)).run)
    assert live is not None
    async with asyncio.timeout(10):
        while live.shown_to < words:
            await asyncio.sleep(0.002)
    return live


async def test_a_cursor_that_a_run_at_work_has_told_nobody_is_refused_at_once(desk: Desk) -> None:
    live = await spoken(desk, WORKING, SAID)
    for cursor in (Cursor(1, live.shown_to + 1), Cursor(1, 5000)):
        with pytest.raises(Conflict, match=str(cursor)):
            await desk.runs.follow(desk.principal, live.id, cursor)
    assert await desk.runs.follow(desk.principal, live.id, Cursor(1, live.shown_to))
    await desk.runs.cancel(desk.principal, live.id)


async def test_a_cursor_of_an_epoch_that_never_was_is_refused_whatever_its_seq(desk: Desk) -> None:
    live = await spoken(desk, WORKING, SAID)
    other = await desk.another()
    for runs in (desk.runs, other):
        for cursor in (Cursor(7, 3), Cursor(2, 0)):
            with pytest.raises(Conflict, match="it is in epoch 1"):
                await runs.follow(desk.principal, live.id, cursor)
    await desk.runs.cancel(desk.principal, live.id)
    await desk.replay(live.id)
    with pytest.raises(Conflict, match="it is in epoch 1"):
        await desk.runs.follow(desk.principal, live.id, Cursor(7, 3))


async def test_a_run_that_waits_for_its_turn_has_given_no_cursor(desk: Desk) -> None:
    conversation = await desk.conversation(concurrency="queue")
    first = await desk.start(WORKING, conversation)
    waiting = await desk.start("Next", conversation)
    assert waiting.queued
    with pytest.raises(Conflict, match="it is in epoch 0"):
        await desk.runs.follow(desk.principal, waiting.run, Cursor(1, 4))
    assert await desk.runs.follow(desk.principal, waiting.run, START)
    await desk.runs.cancel(desk.principal, waiting.run)
    await desk.runs.cancel(desk.principal, first.run)


async def test_elsewhere_what_never_comes_is_awaited_for_moments_and_then_taken_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "AHEAD_SECONDS", 0.2)
    live = await spoken(desk, WORKING, SAID)
    await live.settle()
    kept = live.committed_to
    other = await desk.another()
    sink = Sink()
    followed = await other.follow(desk.principal, live.id, Cursor(1, 5000))
    assert followed is not None
    reading = asyncio.create_task(desk.read(followed, sink))
    await sink.until(RESYNC % kept)
    await desk.runs.cancel(desk.principal, live.id)
    await reading
    assert events_in(sink.data) == events_in(await desk.replay(live.id))[kept:]


async def test_elsewhere_a_little_ahead_of_the_journal_is_neither_refused_nor_taken_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "DELAY_SECONDS", 30.0)  # what it said is committed with its end
    monkeypatch.setattr(journal, "WATCHED_DELAY_SECONDS", 30.0)
    monkeypatch.setattr(stream, "AHEAD_SECONDS", 10.0)
    other = await desk.another()
    live = await spoken(desk, "[[tokens 60 itl=10ms]]", 20)
    seen = Cursor(1, live.shown_to)
    assert live.committed_to < seen.seq
    rest = await desk.replay(live.id, seen, other)
    assert rest == b"".join(split_frames(await desk.replay(live.id))[seen.seq :])


async def test_whoever_is_ahead_when_a_run_ends_gets_its_last_event(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "AHEAD_SECONDS", 30.0)  # however slow the machine is
    started = await desk.start("[[tokens 30 itl=5ms]]")
    other = await desk.another()
    ahead = EventStream(other, desk.principal.workspace, started.run, Cursor(1, 5000))
    data = (await desk.read(ahead)).data
    whole = events_in(await desk.replay(started.run))
    assert data.startswith(RESYNC % (len(whole) - 1))
    assert events_in(data) == whole[-1:]
    assert isinstance(whole[-1], RunFinished)


def test_whoever_is_ahead_of_a_pause_is_told_it_again() -> None:
    paused = Page([], "paused", 2, 41, None)
    assert place_to_go_on(Cursor(2, 99), paused, None, awaited=False) == Cursor(2, 40)
