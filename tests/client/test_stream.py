import asyncio
import json
from collections.abc import Sequence

import pytest

from porch.client import (
    ApiError,
    ConnectionLost,
    Reconnecting,
    Resync,
    RunStream,
    StreamBroken,
    StreamItem,
    Unreachable,
)
from porch.client.connection import Connection
from porch.contract.events import (
    Event,
    PartFinished,
    PartStarted,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    StepFinished,
    StepStarted,
    StreamChunk,
    Usage,
)
from porch.contract.frames import Cursor
from tests.client.fake import RUN, Act, answers, frames, hangs_up, problem, serving, streams

STARTED = RunStarted(agent="@me/hello", version=1, workspace="me", conversation="conv_1", message="msg_1")
STEP = StepStarted(step="s1", model="scripted:demo")
PART = PartStarted(step="s1", part="p1", kind="text")
ONE = StreamChunk(step="s1", part="p1", delta="Good ")
TWO = StreamChunk(step="s1", part="p1", delta="evening.")
CLOSED = PartFinished(step="s1", part="p1", kind="text", value="Good evening.")
DONE = StepFinished(step="s1", model="scripted:demo")
END = RunFinished(reason="stop", usage=Usage(input_tokens=3, output_tokens=2), message="msg_2")
WHOLE: list[Event] = [STARTED, STEP, PART, ONE, TWO, CLOSED, DONE, END]


async def read(stream: RunStream) -> list[StreamItem]:
    return [item async for item in stream]


def seqs(items: Sequence[StreamItem]) -> list[int]:
    return [item.seq for item in items if isinstance(item, Event)]


def text(items: Sequence[StreamItem]) -> str:
    return "".join(item.delta for item in items if isinstance(item, StreamChunk))


async def test_a_run_gives_every_event_in_order_and_ends_with_the_terminal_one() -> None:
    async with serving(streams(frames(*WHOLE))) as (porch, fake):
        stream = porch.run("conv_1", "Hi")
        items = await read(stream)
    assert seqs(items) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert isinstance(items[-1], RunFinished)
    assert stream.run == RUN
    assert fake.requests == [("POST", "/api/v1/conversations/conv_1/runs")]
    assert fake.bodies == [b'{"input":"Hi"}']
    assert fake.headers[0]["Accept"] == "text/event-stream"
    assert fake.headers[0]["Authorization"] == "Bearer porch_pat_x"


async def test_what_comes_after_the_terminal_event_is_not_waited_for() -> None:
    async with serving(streams(frames(*WHOLE), silent=True)) as (porch, _):
        async with asyncio.timeout(5):
            assert len(await read(porch.run("conv_1", "Hi"))) == 8


@pytest.mark.parametrize("at", range(1, len(WHOLE)))
async def test_a_cut_connection_is_taken_up_again_without_loss_or_repetition(at: int) -> None:
    first, rest = frames(*WHOLE[:at]), frames(*WHOLE[at:], first=at + 1)
    async with serving(streams(first + rest[:20], cut=True), streams(rest)) as (porch, fake):
        items = await read(porch.run("conv_1", "Hi"))
    assert seqs(items) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert text(items) == "Good evening."
    assert fake.requests[1] == ("GET", f"/api/v1/runs/{RUN}/events")
    assert fake.headers[1]["Last-Event-ID"] == f"1-{at}"
    assert [item.attempt for item in items if isinstance(item, Reconnecting)] == [1]


async def test_a_server_that_closes_in_mid_run_counts_as_a_lost_connection() -> None:
    async with serving(streams(frames(*WHOLE[:4])), streams(frames(*WHOLE[4:], first=5))) as (porch, _):
        items = await read(porch.run("conv_1", "Hi"))
    assert seqs(items) == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_a_lost_answer_sends_the_message_again_under_the_same_key() -> None:
    async with serving(hangs_up, answers(200, {"run": RUN}), streams(frames(*WHOLE))) as (porch, fake):
        items = await read(porch.run("conv_1", "Hi"))
    assert seqs(items)[-1] == 8
    assert [method for method, _ in fake.requests] == ["POST", "POST", "GET"]
    assert fake.headers[0]["Idempotency-Key"] == fake.headers[1]["Idempotency-Key"]


async def test_a_message_that_is_still_being_taken_is_waited_for() -> None:
    busy = problem(409, "in_progress", "The first call is still at work.")
    async with serving(busy, answers(200, {"run": RUN}), streams(frames(*WHOLE))) as (porch, fake):
        items = await read(porch.run("conv_1", "Hi"))
    assert seqs(items)[-1] == 8
    assert fake.headers[0]["Idempotency-Key"] == fake.headers[1]["Idempotency-Key"]


async def test_two_messages_never_share_a_key() -> None:
    async with serving(streams(frames(*WHOLE)), streams(frames(*WHOLE))) as (porch, fake):
        await read(porch.run("conv_1", "Hi"))
        await read(porch.run("conv_1", "Hi"))
    assert fake.headers[0]["Idempotency-Key"] != fake.headers[1]["Idempotency-Key"]


async def test_a_silent_connection_counts_as_lost() -> None:
    async with serving(streams(frames(*WHOLE[:4]), silent=True), streams(frames(*WHOLE[4:], first=5))) as (
        porch,
        fake,
    ):
        stream = RunStream(porch.connection, run=RUN, silence=0.05)
        items = await read(stream)
    assert seqs(items) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert fake.headers[1]["Last-Event-ID"] == "1-4"
    assert [item.reason for item in items if isinstance(item, Reconnecting)] == ["no sign of life"]


async def test_a_takeover_tells_what_to_forget_and_goes_on_from_there() -> None:
    resync = b'event: stream.resync\ndata: {"type":"stream.resync","reason":"takeover","keep_through":2}\n\n'
    again = frames(RunResumed(reason="takeover"), *WHOLE[2:], first=3, epoch=2)
    async with serving(streams(frames(*WHOLE[:5]) + resync + again)) as (porch, _):
        stream = porch.run("conv_1", "Hi")
        items = await read(stream)
    assert items[5] == Resync("takeover", 2)
    assert seqs(items) == [1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8, 9]
    assert stream.cursor == Cursor(2, 9)


async def test_a_connection_lost_right_after_a_resync_comes_back_at_what_was_kept() -> None:
    resync = b'event: stream.resync\ndata: {"type":"stream.resync","reason":"overflow","keep_through":4}\n\n'
    async with serving(streams(frames(*WHOLE[:5]) + resync), streams(frames(*WHOLE[4:], first=5))) as (
        porch,
        fake,
    ):
        items = await read(porch.run("conv_1", "Hi"))
    assert fake.headers[1]["Last-Event-ID"] == "1-4"
    assert seqs(items) == [1, 2, 3, 4, 5, 5, 6, 7, 8]


async def test_a_pause_ends_the_stream_without_an_attempt_to_come_back() -> None:
    async with serving(streams(frames(STARTED, STEP, RunPaused(reason="approval")))) as (porch, fake):
        items = await read(porch.run("conv_1", "Hi"))
    assert isinstance(items[-1], RunPaused)
    assert len(fake.requests) == 1


async def test_a_replay_goes_on_over_a_pause_that_was_resolved() -> None:
    events = [STARTED, STEP, RunPaused(reason="approval"), RunResumed(reason="approval"), END]
    async with serving(streams(frames(*events))) as (porch, _):
        assert seqs(await read(porch.stream(RUN))) == [1, 2, 3, 4, 5]


async def test_a_cursor_at_the_end_gives_nothing() -> None:
    async with serving(answers(204)) as (porch, fake):
        assert await read(porch.stream(RUN, Cursor(1, 8))) == []
    assert fake.headers[0]["Last-Event-ID"] == "1-8"


async def test_unknown_event_types_and_comments_are_skipped_and_counted() -> None:
    strange = b'id: 1-3\nevent: star.rose\ndata: {"v":1,"type":"star.rose","run":"r","epoch":1,"seq":3}\n\n'
    sent = frames(*WHOLE[:2]) + b": keep-alive\n\n" + strange + frames(*WHOLE[2:], first=4)
    async with serving(streams(sent)) as (porch, _):
        assert seqs(await read(porch.run("conv_1", "Hi"))) == [1, 2, 4, 5, 6, 7, 8, 9]


async def test_events_split_at_every_byte_are_the_same_events() -> None:
    whole = frames(*WHOLE)
    async with serving(streams(*(whole[at : at + 1] for at in range(len(whole))))) as (porch, _):
        assert seqs(await read(porch.run("conv_1", "Hi"))) == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_a_gap_in_the_stream_is_an_error_and_no_silent_loss() -> None:
    async with serving(streams(frames(STARTED) + frames(ONE, first=3))) as (porch, _):
        with pytest.raises(StreamBroken, match="skipped from event 1-1 to 1-3"):
            await read(porch.run("conv_1", "Hi"))


async def test_what_is_no_event_is_an_error() -> None:
    async with serving(streams(b"id: 1-1\nevent: run.started\ndata: {oops\n\n")) as (porch, _):
        with pytest.raises(StreamBroken, match="cannot be read"):
            await read(porch.run("conv_1", "Hi"))


async def test_a_refused_message_raises_what_the_server_said() -> None:
    refusal = problem(409, "conversation_busy", "run_1 is still answering in this conversation.")
    async with serving(refusal) as (porch, _):
        with pytest.raises(ApiError, match="still answering") as caught:
            await read(porch.run("conv_1", "Hi"))
    assert (caught.value.status, caught.value.code) == (409, "conversation_busy")


async def test_a_server_that_is_busy_for_a_moment_is_asked_again() -> None:
    async with serving(problem(503, "unavailable", "No lease yet."), streams(frames(*WHOLE))) as (porch, _):
        items = await read(porch.run("conv_1", "Hi"))
    assert isinstance(items[0], Reconnecting)
    assert items[0].reason == "No lease yet."
    assert seqs(items)[-1] == 8


async def test_attempts_to_come_back_are_bounded_and_the_error_names_the_run() -> None:
    acts: list[Act] = [streams(frames(*WHOLE[:3]), cut=True), *[streams(cut=True)] * 3]
    async with serving(*acts) as (porch, fake):
        stream = RunStream(porch.connection, run=RUN, attempts=2)
        with pytest.raises(ConnectionLost, match=RUN):
            await read(stream)
    assert len(fake.requests) == 3


async def test_nobody_at_the_address_is_said_with_the_command_that_helps() -> None:
    connection = Connection("http://127.0.0.1:1", "x")
    stream = RunStream(connection, start=("/x", {}), attempts=1)
    try:
        with pytest.raises(Unreachable, match="porch up"):
            await read(stream)
    finally:
        await connection.close()


async def test_closing_a_stream_lets_go_and_asks_nothing_more() -> None:
    async with serving(streams(frames(*WHOLE[:3]), silent=True)) as (porch, fake):
        async with porch.run("conv_1", "Hi") as stream:
            assert isinstance(await anext(stream), RunStarted)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    assert len(fake.requests) == 1


async def test_time_to_first_text_leaves_thinking_out() -> None:
    thought = PartStarted(step="s1", part="p0", kind="reasoning")
    thinking = StreamChunk(step="s1", part="p0", delta="Hm.")
    async with serving(streams(frames(STARTED, thought, thinking, PART, ONE, TWO, CLOSED, END))) as (
        porch,
        _,
    ):
        stream = porch.run("conv_1", "Hi")
        async for item in stream:
            if isinstance(item, StreamChunk) and item.part == "p0":
                assert stream.timings.to_first_text is None or stream.timings.to_first_text > 0
    timings = stream.timings
    assert timings.to_first_text is not None
    assert timings.end_to_end is not None
    assert 0 < timings.to_first_text <= timings.end_to_end


async def test_a_stream_of_thoughts_alone_has_no_first_text() -> None:
    thought = PartStarted(step="s1", part="p0", kind="reasoning")
    thinking = StreamChunk(step="s1", part="p0", delta="Hm.")
    async with serving(streams(frames(STARTED, thought, thinking, END))) as (porch, _):
        stream = porch.run("conv_1", "Hi")
        await read(stream)
    assert stream.timings.to_first_text is None


@pytest.mark.parametrize("parent", ["msg_1", None])
async def test_a_message_may_follow_another_than_the_last(parent: str | None) -> None:
    async with serving(streams(frames(*WHOLE))) as (porch, fake):
        await read(porch.run("conv_1", "Hi", parent=parent))
    assert json.loads(fake.bodies[0]) == {"input": "Hi", "parent": parent}


async def test_an_answer_is_made_anew_and_followed() -> None:
    async with serving(streams(frames(*WHOLE))) as (porch, fake):
        items = await read(porch.regenerate("conv_1", "msg_2"))
    assert isinstance(items[-1], RunFinished)
    assert fake.requests == [("POST", "/api/v1/conversations/conv_1/messages/msg_2/regenerate")]
