import asyncio
import json
from collections import deque
from collections.abc import AsyncIterable, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from porch.client import (
    AnswerCancelled,
    AnswerFailed,
    ApiError,
    Closed,
    ConnectionLost,
    Reconnecting,
    Resync,
    RunStream,
    StreamBroken,
    StreamEvent,
    TimedOut,
    Unreachable,
)
from porch.client.connection import Connection
from porch.client.stream import FIRST_ATTEMPTS, make_start
from porch.contract.errors import InvalidInput
from porch.contract.events import (
    ErrorInfo,
    Event,
    PartFinished,
    PartStarted,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    StepFinished,
    StepStarted,
    StreamChunk,
    Usage,
)
from porch.contract.frames import Cursor, split_frames
from tests.client.fake import RUN, Act, answers, frames, hangs_up, problem, serving, streams

T = TypeVar("T")
STARTED = RunStarted(agent="@me/hello", version=1, workspace="me", conversation="conv_1", message="msg_1")
STEP = StepStarted(step="s1", model="scripted:demo")
PART = PartStarted(step="s1", part="p1", kind="text")
ONE = StreamChunk(step="s1", part="p1", delta="Good ")
TWO = StreamChunk(step="s1", part="p1", delta="evening.")
CLOSED = PartFinished(step="s1", part="p1", kind="text", value="Good evening.")
DONE = StepFinished(step="s1", model="scripted:demo")
END = RunFinished(reason="stop", usage=Usage(input_tokens=3, output_tokens=2), message="msg_2")
FAILED = RunFailed(
    error=ErrorInfo(code="x", category="overloaded", message="No.", retryable=True, emitted_any=True)
)
WHOLE: list[Event] = [STARTED, STEP, PART, ONE, TWO, CLOSED, DONE, END]


async def read(stream: RunStream) -> list[StreamEvent]:
    return [item async for item in stream]


async def keep(items: AsyncIterable[T], kept: list[T]) -> None:
    """Read to the end, or to an error, and keep what came before it."""
    async for item in items:
        kept.append(item)


def told(stream: RunStream) -> list[Reconnecting]:
    """Every connection that this stream loses."""
    lost: list[Reconnecting] = []
    stream.on_lost = lost.append
    return lost


def seqs(items: Sequence[StreamEvent]) -> list[int]:
    return [item.seq for item in items if isinstance(item, Event)]


def text(items: Sequence[StreamEvent]) -> str:
    return "".join(item.delta for item in items if isinstance(item, StreamChunk))


async def test_a_run_gives_every_event_in_order_and_ends_with_the_terminal_one() -> None:
    async with serving(streams(frames(*WHOLE))) as (porch, fake):
        stream = porch.stream("conv_1", "Hi")
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
            assert len(await read(porch.stream("conv_1", "Hi"))) == 8


@pytest.mark.parametrize("at", range(1, len(WHOLE)))
async def test_a_cut_connection_is_taken_up_again_without_loss_or_repetition(at: int) -> None:
    first, rest = frames(*WHOLE[:at]), frames(*WHOLE[at:], first=at + 1)
    async with serving(streams(first + rest[:20], cut=True), streams(rest)) as (porch, fake):
        stream = porch.stream("conv_1", "Hi")
        lost = told(stream)
        items = await read(stream)
    assert seqs(items) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert text(items) == "Good evening."
    assert fake.requests[1] == ("GET", f"/api/v1/runs/{RUN}/events")
    assert fake.headers[1]["Last-Event-ID"] == f"1-{at}"
    assert [item.attempt for item in lost] == [1]


async def test_a_server_that_closes_in_mid_run_counts_as_a_lost_connection() -> None:
    async with serving(streams(frames(*WHOLE[:4])), streams(frames(*WHOLE[4:], first=5))) as (porch, _):
        items = await read(porch.stream("conv_1", "Hi"))
    assert seqs(items) == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_a_lost_answer_sends_the_message_again_under_the_same_key() -> None:
    async with serving(hangs_up, answers(200, {"run": RUN}), streams(frames(*WHOLE))) as (porch, fake):
        items = await read(porch.stream("conv_1", "Hi"))
    assert seqs(items)[-1] == 8
    assert [method for method, _ in fake.requests] == ["POST", "POST", "GET"]
    assert fake.headers[0]["Idempotency-Key"] == fake.headers[1]["Idempotency-Key"]


async def test_a_message_that_is_still_being_taken_is_waited_for() -> None:
    busy = problem(409, "in_progress", "The first call is still at work.")
    async with serving(busy, answers(200, {"run": RUN}), streams(frames(*WHOLE))) as (porch, fake):
        items = await read(porch.stream("conv_1", "Hi"))
    assert seqs(items)[-1] == 8
    assert fake.headers[0]["Idempotency-Key"] == fake.headers[1]["Idempotency-Key"]


async def test_two_messages_never_share_a_key() -> None:
    async with serving(streams(frames(*WHOLE)), streams(frames(*WHOLE))) as (porch, fake):
        await read(porch.stream("conv_1", "Hi"))
        await read(porch.stream("conv_1", "Hi"))
    assert fake.headers[0]["Idempotency-Key"] != fake.headers[1]["Idempotency-Key"]


async def test_a_silent_connection_counts_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(streams(frames(*WHOLE[:4]), silent=True), streams(frames(*WHOLE[4:], first=5))) as (
        porch,
        fake,
    ):
        stream = RunStream(porch.connection, run=RUN)
        lost = list[Reconnecting]()

        def hear(item: Reconnecting) -> None:
            lost.append(item)
            monkeypatch.setattr(stream, "_silence", 45.0)

        stream.on_lost = hear
        items = [await anext(stream) for _ in range(4)]
        # Only now, so that no slow machine is taken for a silent one.
        monkeypatch.setattr(stream, "_silence", 0.05)
        items += await read(stream)
    assert seqs(items) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert fake.headers[1]["Last-Event-ID"] == "1-4"
    assert [item.reason for item in lost] == ["no sign of life"]


async def test_a_takeover_tells_what_to_forget_and_goes_on_from_there() -> None:
    resync = b'event: stream.resync\ndata: {"type":"stream.resync","reason":"takeover","keep_through":2}\n\n'
    again = frames(RunResumed(reason="takeover"), *WHOLE[2:], first=3, epoch=2)
    async with serving(streams(frames(*WHOLE[:5]) + resync + again)) as (porch, _):
        stream = porch.stream("conv_1", "Hi")
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
        items = await read(porch.stream("conv_1", "Hi"))
    assert fake.headers[1]["Last-Event-ID"] == "1-4"
    assert seqs(items) == [1, 2, 3, 4, 5, 5, 6, 7, 8]


async def test_a_pause_ends_the_stream_without_an_attempt_to_come_back() -> None:
    async with serving(streams(frames(STARTED, STEP, RunPaused(reason="approval")))) as (porch, fake):
        items = await read(porch.stream("conv_1", "Hi"))
    assert isinstance(items[-1], RunPaused)
    assert len(fake.requests) == 1


async def test_a_replay_goes_on_over_a_pause_that_was_resolved() -> None:
    events = [STARTED, STEP, RunPaused(reason="approval"), RunResumed(reason="approval"), END]
    async with serving(streams(frames(*events))) as (porch, _):
        assert seqs(await read(porch.resume(RUN))) == [1, 2, 3, 4, 5]


async def test_a_cursor_at_the_end_gives_nothing() -> None:
    async with serving(answers(204)) as (porch, fake):
        assert await read(porch.resume(RUN, Cursor(1, 8))) == []
    assert fake.headers[0]["Last-Event-ID"] == "1-8"


async def test_unknown_event_types_and_comments_are_skipped_and_counted() -> None:
    strange = b'id: 1-3\nevent: star.rose\ndata: {"v":1,"type":"star.rose","run":"r","epoch":1,"seq":3}\n\n'
    sent = frames(*WHOLE[:2]) + b": keep-alive\n\n" + strange + frames(*WHOLE[2:], first=4)
    async with serving(streams(sent)) as (porch, _):
        assert seqs(await read(porch.stream("conv_1", "Hi"))) == [1, 2, 4, 5, 6, 7, 8, 9]


async def test_events_split_at_every_byte_are_the_same_events() -> None:
    whole = frames(*WHOLE)
    async with serving(streams(*(whole[at : at + 1] for at in range(len(whole))))) as (porch, _):
        assert seqs(await read(porch.stream("conv_1", "Hi"))) == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_a_gap_in_the_stream_is_an_error_and_no_silent_loss() -> None:
    async with serving(streams(frames(STARTED) + frames(ONE, first=3))) as (porch, _):
        with pytest.raises(StreamBroken, match="skipped from event 1-1 to 1-3"):
            await read(porch.stream("conv_1", "Hi"))


async def test_what_is_no_event_is_an_error() -> None:
    async with serving(streams(b"id: 1-1\nevent: run.started\ndata: {oops\n\n")) as (porch, _):
        with pytest.raises(StreamBroken, match="cannot be read"):
            await read(porch.stream("conv_1", "Hi"))


async def test_a_refused_message_raises_what_the_server_said() -> None:
    refusal = problem(409, "conversation_busy", "run_1 is still answering in this conversation.")
    async with serving(refusal) as (porch, _):
        with pytest.raises(ApiError, match="still answering") as caught:
            await read(porch.stream("conv_1", "Hi"))
    assert (caught.value.status, caught.value.code) == (409, "conversation_busy")


async def test_a_server_that_is_busy_for_a_moment_is_asked_again() -> None:
    async with serving(problem(503, "unavailable", "No lease yet."), streams(frames(*WHOLE))) as (porch, _):
        stream = porch.stream("conv_1", "Hi")
        lost = told(stream)
        items = await read(stream)
    assert [item.reason for item in lost] == ["No lease yet."]
    assert seqs(items)[-1] == 8


async def test_attempts_to_come_back_are_bounded_and_the_error_names_the_run() -> None:
    acts: list[Act] = [streams(frames(*WHOLE[:3]), cut=True), *[streams(cut=True)] * 3]
    async with serving(*acts) as (porch, fake):
        stream = RunStream(porch.connection, run=RUN, attempts=2)
        with pytest.raises(ConnectionLost, match=RUN):
            await read(stream)
    assert len(fake.requests) == 3


async def test_a_network_that_cuts_long_waits_is_no_reason_to_give_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("porch.client.stream.LASTING_SECONDS", 0.0)
    waits: list[Act] = [streams(b": keep-alive\n\n", cut=True)] * 4
    async with serving(
        streams(frames(*WHOLE[:3]), cut=True), *waits, streams(frames(*WHOLE[3:], first=4))
    ) as (
        porch,
        fake,
    ):
        stream = RunStream(porch.connection, run=RUN, attempts=2)
        assert seqs(await read(stream)) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len(fake.requests) == 6


async def test_nobody_at_the_address_is_said_with_the_command_that_helps() -> None:
    connection = Connection("http://127.0.0.1:1", "x")
    stream = RunStream(connection, start=make_start("/x", {}, key=None), attempts=1)
    try:
        with pytest.raises(Unreachable, match="porch up"):
            await read(stream)
    finally:
        await connection.close()


async def test_closing_a_stream_lets_go_and_asks_nothing_more() -> None:
    async with serving(streams(frames(*WHOLE[:3]), silent=True)) as (porch, fake):
        async with porch.stream("conv_1", "Hi") as stream:
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
        stream = porch.stream("conv_1", "Hi")
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
        stream = porch.stream("conv_1", "Hi")
        await read(stream)
    assert stream.timings.to_first_text is None


@pytest.mark.parametrize("parent", ["msg_1", None])
async def test_a_message_may_follow_another_than_the_last(parent: str | None) -> None:
    async with serving(streams(frames(*WHOLE))) as (porch, fake):
        await read(porch.stream("conv_1", "Hi", parent=parent))
    assert json.loads(fake.bodies[0]) == {"input": "Hi", "parent": parent}


async def test_an_answer_is_made_anew_and_followed() -> None:
    async with serving(streams(frames(*WHOLE))) as (porch, fake):
        items = await read(porch.regenerate("conv_1", "msg_2"))
    assert isinstance(items[-1], RunFinished)
    assert fake.requests == [("POST", "/api/v1/conversations/conv_1/messages/msg_2/regenerate")]


async def test_the_cursor_stands_at_what_was_handed_out_and_not_at_what_has_come() -> None:
    async with serving(streams(frames(*WHOLE))) as (porch, _):
        stream = porch.stream("conv_1", "Hi")
        assert isinstance(await anext(stream), RunStarted)
        await anext(stream)
        assert stream.cursor == Cursor(1, 2)


async def test_what_came_before_something_unreadable_is_handed_out_first() -> None:
    async with serving(streams(frames(*WHOLE[:3]) + b"id: 1-4\nevent: x\ndata: {oops\n\n")) as (porch, fake):
        stream, seen = porch.resume(RUN), list[StreamEvent]()
        with pytest.raises(StreamBroken):
            await keep(stream, seen)
        assert await read(stream) == []
    assert seqs(seen) == [1, 2, 3]
    assert len(fake.requests) == 1


async def test_an_agent_named_by_its_address_gets_a_new_conversation_under_one_key() -> None:
    busy = problem(503, "unavailable", "Starting.")
    acts = (busy, answers(201, {"id": "conv_9"}), hangs_up, streams(frames(*WHOLE)))
    async with serving(*acts) as (porch, fake):
        stream = porch.stream("@me/hello", "Hi", key="order-17")
        assert seqs(await read(stream))[-1] == 8
    opened, said = "/api/v1/workspaces/me/agents/hello/conversations", "/api/v1/conversations/conv_9/runs"
    assert fake.requests == [("POST", path) for path in (opened, opened, said, said)]
    assert {header["Idempotency-Key"] for header in fake.headers} == {"order-17"}


async def test_a_message_can_be_left_to_be_answered_and_read_later() -> None:
    taken = answers(202, {"run": RUN, "conversation": "conv_9", "message": "msg_1"})
    async with serving(answers(201, {"id": "conv_9"}), taken, streams(frames(*WHOLE))) as (porch, fake):
        receipt = await porch.run("@me/hello", ["Look:", {"type": "text", "text": "here"}], draft=True)
        answer = await porch.resume(receipt.run).answer()
    assert (receipt.run, receipt.conversation, receipt.message) == (RUN, "conv_9", "msg_1")
    assert answer.text == "Good evening."
    assert json.loads(fake.bodies[0]) == {"draft": True}
    assert json.loads(fake.bodies[1]) == {
        "input": [{"type": "text", "text": "Look:"}, {"type": "text", "text": "here"}]
    }


@pytest.mark.parametrize(
    ("to", "more"), [("hello", {}), ("@me", {}), ("@me/a", {"parent": "msg_1"}), ("conv_1", {"draft": True})]
)
async def test_what_cannot_be_meant_is_refused_before_anything_is_sent(to: str, more: dict[str, Any]) -> None:
    async with serving() as (porch, fake):
        with pytest.raises(InvalidInput):
            porch.stream(to, "Hi", **more)
    assert fake.requests == []


async def test_the_words_of_an_answer_come_alone() -> None:
    async with serving(streams(frames(*WHOLE))) as (porch, _):
        assert [text async for text in porch.stream("conv_1", "Hi").text_stream()] == ["Good ", "evening."]


@pytest.mark.parametrize("end", [FAILED, RunCancelled(by="user:usr_1")])
async def test_words_of_a_run_that_did_not_finish_end_with_an_error(end: Event) -> None:
    async with serving(streams(frames(*WHOLE[:4], end))) as (porch, _):
        heard: list[str] = []
        with pytest.raises((AnswerFailed, AnswerCancelled)):
            await keep(porch.stream("conv_1", "Hi").text_stream(), heard)
    assert heard == ["Good "]


async def test_asking_answers_the_whole() -> None:
    async with serving(streams(frames(*WHOLE))) as (porch, _):
        answer = await porch.ask("conv_1", "Hi")
    assert (answer.text, answer.status, answer.run) == ("Good evening.", "finished", RUN)


async def test_an_answer_that_takes_too_long_is_let_go_and_can_be_come_back_to() -> None:
    async with serving(streams(silent=True)) as (porch, _):
        stream = porch.resume(RUN, "1-4", timeout=0.05)
        with pytest.raises(TimedOut, match=f"within 0.05 s. The run {RUN} goes on"):
            await read(stream)
        assert await read(stream) == []
    assert stream.cursor == Cursor(1, 4)


async def test_a_client_that_is_closed_stays_closed_and_says_so_to_whoever_reads() -> None:
    async with serving(streams(frames(*WHOLE[:3]), silent=True), streams(frames(*WHOLE[3:], first=4))) as (
        porch,
        fake,
    ):
        stream = porch.stream("conv_1", "Hi")
        for _ in range(3):
            await anext(stream)
        waiting = asyncio.create_task(read(stream))
        await asyncio.sleep(0)
        await porch.close()
        async with asyncio.timeout(10):
            with pytest.raises(Closed):
                await waiting
            with pytest.raises(Closed):
                await porch.me()
        await porch.close()
    assert len(fake.requests) == 1


async def test_a_client_that_is_closed_wakes_who_waits_for_an_answer() -> None:
    asked = asyncio.Event()

    async def keeps_waiting(_: web.Request) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(keeps_waiting) as (porch, _):
        waiting = asyncio.create_task(porch.me())
        await asked.wait()
        await porch.close()
        async with asyncio.timeout(10):
            with pytest.raises(Closed):
                await waiting


async def test_a_stream_that_is_closed_while_somebody_waits_in_it_ends_there() -> None:
    async with serving(streams(frames(*WHOLE[:3]), silent=True)) as (porch, fake):
        stream = porch.stream("conv_1", "Hi")
        for _ in range(3):
            await anext(stream)
        waiting = asyncio.create_task(read(stream))
        await asyncio.sleep(0)
        await stream.aclose()
        async with asyncio.timeout(10):
            assert await waiting == []
    assert len(fake.requests) == 1


async def test_a_stream_that_is_closed_before_it_tries_again_does_not_try() -> None:
    async with serving(problem(503, "unavailable", "No.", **{"Retry-After": "60"})) as (porch, fake):
        stream = porch.stream("conv_1", "Hi")
        stream.on_lost = lambda _: asyncio.get_running_loop().call_soon(stream.close) and None
        assert await read(stream) == []
    assert len(fake.requests) == 1


async def test_a_reader_that_stops_waiting_may_go_on_later_and_misses_nothing() -> None:
    rest = streams(frames(*WHOLE[3:], first=4))
    async with serving(streams(frames(*WHOLE[:3]), silent=True), rest) as (porch, fake):
        stream = porch.stream("conv_1", "Hi")
        seen = [await anext(stream) for _ in range(3)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.1)
        seen += await read(stream)
    assert seqs(seen) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert fake.headers[1]["Last-Event-ID"] == "1-3"


async def test_a_server_that_never_answered_is_given_up_on_soon() -> None:
    connection = Connection("http://127.0.0.1:1", "x")
    stream = RunStream(connection, start=make_start("/x", {}, key=None))
    lost = told(stream)
    with pytest.raises(Unreachable):
        await read(stream)
    assert len(lost) == FIRST_ATTEMPTS


@settings(deadline=None)
@given(st.lists(st.integers(0, 10_000), max_size=20), st.lists(st.integers(1, 8), max_size=4))
def test_the_same_events_come_however_the_bytes_are_split_and_wherever_they_are_cut(
    splits: list[int], cuts: list[int]
) -> None:
    resync = (
        b'event: stream.resync\r\ndata: {"type":"stream.resync","reason":"takeover","keep_through":2}\r\n\r\n'
    )
    ends = frames(RunResumed(reason="takeover"), *WHOLE[2:], first=3, epoch=2)
    events = split_frames(frames(*WHOLE[:5])), split_frames(ends)
    answers: list[bytes] = []
    at = 0
    for cut in sorted({cut for cut in cuts if cut < 5}):
        answers.append(b"".join(events[0][at:cut]) + events[0][cut][:15])
        at = cut
    answers.append(b": hello\r\n\r\n" + b"".join(events[0][at:]) + resync + ends)
    script = Script([chopped(answer, splits) for answer in answers])
    stream = RunStream(cast("Connection", script), run=RUN)
    items = asyncio.run(drain(stream))
    assert [item.seq if isinstance(item, Event) else "forget" for item in items] == [
        *(1, 2, 3, 4, 5, "forget"),
        *(3, 4, 5, 6, 7, 8, 9),
    ]
    assert stream.cursor == Cursor(2, 9)


class Script:
    """A connection whose answers are these bytes, and which then is lost."""

    reached, answer_seconds, base_url = True, 60.0, "http://script.test"

    def __init__(self, answers: list[list[bytes]]) -> None:
        self.answers = answers

    async def open(self, *_: object, **__: object) -> Any:
        chunks = deque(self.answers.pop(0))

        async def readany() -> bytes:
            return chunks.popleft() if chunks else b""

        return SimpleNamespace(
            status=200,
            content_type="text/event-stream",
            headers={"Porch-Run": RUN},
            content=SimpleNamespace(readany=readany),
            close=lambda: None,
        )


async def drain(stream: RunStream) -> list[StreamEvent]:
    """All of a stream, with no pause before it comes back."""
    found: list[StreamEvent] = []
    stream.on_lost = lambda _: setattr(stream, "_pause", 0.0)
    async for event in stream:
        found.append(event)
    return found


def chopped(whole: bytes, splits: list[int]) -> list[bytes]:
    """The same bytes in pieces."""
    places = sorted({0, len(whole), *(split % len(whole) for split in splits)})
    return [whole[start:end] for start, end in pairwise(places)]
