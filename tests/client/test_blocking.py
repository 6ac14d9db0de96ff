"""The client for programs without an event loop. The test's own loop serves; the client works in other threads."""

import asyncio
import gc
import signal
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from porch.client import (
    AnswerFailed,
    ApiError,
    AsyncPorch,
    Closed,
    Porch,
    Reconnecting,
    Resync,
    TimedOut,
)
from porch.contract.events import Event, StreamChunk
from tests.client.fake import RUN, Act, Fake, answers, frames, serving, streams
from tests.client.test_stream import FAILED, WHOLE

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nPorch-Run: %b\r\n\r\n" % RUN.encode()
elsewhere = asyncio.to_thread


@asynccontextmanager
async def blocked(*acts: Act) -> AsyncGenerator[tuple[Porch, Fake]]:
    """A blocking client whose server acts like this."""
    async with serving(*acts) as (porch, fake):
        blocking = Porch(porch.connection.base_url, "porch_pat_x")
        try:
            yield blocking, fake
        finally:
            await elsewhere(blocking.close)


class Held:
    """A server that sends a stream's first events, holds it open, and tells when a reader has left."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEADERS + frames(*WHOLE[:4]))
        while await reader.read(1024):
            pass
        writer.close()
        self.left.set()


@asynccontextmanager
async def held() -> AsyncGenerator[Held]:
    server = Held()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listening:
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield server


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "porch-client"]


async def test_a_stream_is_the_same_events_without_a_loop_of_ones_own() -> None:
    async with blocked(streams(frames(*WHOLE[:4]), cut=True), streams(frames(*WHOLE[4:], first=5))) as (
        porch,
        fake,
    ):
        stream = porch.stream("conv_1", "Hi")
        lost: list[Reconnecting] = []
        stream.on_lost(lost.append)
        events = await elsewhere(list, stream)
    assert [event.seq for event in events if isinstance(event, Event)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert fake.headers[1]["Last-Event-ID"] == "1-4"
    assert [item.attempt for item in lost] == [1]
    assert (stream.run, str(stream.cursor)) == (RUN, "1-8")
    assert stream.timings.end_to_end


async def test_a_resync_is_one_event_here_too() -> None:
    resync = b'event: stream.resync\ndata: {"type":"stream.resync","reason":"overflow","keep_through":2}\n\n'
    sent = frames(*WHOLE[:5]) + resync + frames(*WHOLE[2:], first=3)
    async with blocked(streams(sent)) as (porch, _):
        events = await elsewhere(list, porch.resume(RUN))
    assert [event for event in events if isinstance(event, Resync)] == [Resync("overflow", 2)]


async def test_an_answer_and_its_words_are_had_without_a_loop() -> None:
    async with blocked(*[streams(frames(*WHOLE))] * 3) as (porch, _):
        answer = await elsewhere(porch.ask, "conv_1", "Hi")
        assert (answer.text, answer.status) == ("Good evening.", "finished")
        assert (await elsewhere(porch.stream("conv_1", "Hi").answer)).parts == answer.parts
        assert await elsewhere(list, porch.stream("conv_1", "Hi").text_stream()) == ["Good ", "evening."]


async def test_errors_are_raised_where_one_waits() -> None:
    problem = answers(404, {"status": 404, "code": "not_found", "detail": "There is no agent 'nobody'."})
    async with blocked(problem, streams(frames(*WHOLE[:4], FAILED)), streams(silent=True)) as (porch, _):
        with pytest.raises(ApiError, match="no agent 'nobody'"):
            await elsewhere(porch.ask, "@me/nobody", "Hi")
        with pytest.raises(AnswerFailed):
            await elsewhere(list, porch.stream("conv_1", "Hi").text_stream())
        with pytest.raises(TimedOut):
            await elsewhere(list, porch.resume(RUN, timeout=0.05))


async def test_lists_are_read_page_by_page() -> None:
    pages = (
        answers(200, {"items": [{"name": "a"}, {"name": "b"}], "next_cursor": "c"}),
        answers(200, {"items": [{"name": "c"}], "next_cursor": None}),
    )
    async with blocked(*pages) as (porch, _):
        names = await elsewhere(lambda: [agent["name"] for agent in porch.agents.list("me")])
    assert names == ["a", "b", "c"]


def test_whatever_the_asynchronous_client_can_do_the_blocking_one_can() -> None:
    with Porch("http://127.0.0.1:1", "x") as porch:
        for mine, other in ((porch, porch.inner), *((vars(porch)[n], vars(porch.inner)[n]) for n in KINDS)):
            assert {n for n in dir(other) if not n.startswith("_")} - set(dir(mine)) <= {"connection"}
    assert Porch.ask.__doc__ == AsyncPorch.ask.__doc__


KINDS = ("agents", "conversations", "tokens", "sign_in_links")


def leave_by_break(porch: Porch) -> None:
    for _ in porch.stream("conv_1", "Hi"):
        break


def leave_words(porch: Porch) -> None:
    for _ in porch.stream("conv_1", "Hi").text_stream():
        break


def leave_the_block(porch: Porch) -> None:
    with porch.stream("conv_1", "Hi") as stream:
        next(stream)
    assert list(stream) == []


@pytest.mark.parametrize("leave", [leave_by_break, leave_words, leave_the_block])
async def test_whoever_leaves_a_stream_closes_its_connection(leave: Callable[[Porch], None]) -> None:
    async with held() as server:
        with Porch(server.url, "x") as porch:
            await elsewhere(leave, porch)
            gc.collect()
            await server.left.wait()


async def test_closing_the_client_wakes_who_waits_in_another_thread() -> None:
    async with held() as server:
        porch, reached = Porch(server.url, "x"), threading.Event()

        def read() -> None:
            for event in porch.stream("conv_1", "Hi"):
                if isinstance(event, StreamChunk):
                    reached.set()

        reading = asyncio.create_task(elsewhere(read))
        await elsewhere(reached.wait)
        await elsewhere(porch.close)
        with pytest.raises(Closed):
            await reading
        await server.left.wait()
        with pytest.raises(Closed, match="Make a new one"):
            await elsewhere(porch.me)


async def test_a_client_leaves_no_thread_and_no_socket_behind() -> None:
    before = threads()
    async with held() as server:
        porch = Porch(server.url, "x")
        assert threads() == before, "nothing is started before it is needed"
        await elsewhere(next, porch.stream("conv_1", "Hi"))
        assert len(threads()) == len(before) + 1
        await elsewhere(porch.close)
        await elsewhere(porch.close)
        assert threads() == before
        await server.left.wait()


async def test_a_client_that_is_forgotten_is_closed() -> None:
    async with held() as server:
        porch = Porch(server.url, "x")
        stream = porch.stream("conv_1", "Hi")
        await elsewhere(next, stream)
        gone = weakref.ref(porch)
        del porch
        gc.collect()
        assert gone() is None
        await server.left.wait()
        with pytest.raises(Closed):
            await elsewhere(list, stream)


async def test_many_threads_share_one_client() -> None:
    async with blocked(*[streams(frames(*WHOLE))] * 24) as (porch, fake):
        read = [elsewhere(porch.ask, "conv_1", f"Hi {number}") for number in range(24)]
        answers = await asyncio.gather(*read)
    assert {answer.text for answer in answers} == {"Good evening."}
    assert len({header["Idempotency-Key"] for header in fake.headers}) == 24


async def test_a_callback_that_would_wait_for_itself_is_told_so() -> None:
    async with blocked(streams(frames(*WHOLE[:4]), cut=True)) as (porch, _):

        def wait(_: Reconnecting) -> None:
            porch.me()

        stream = porch.stream("conv_1", "Hi")
        stream.on_lost(wait)
        with pytest.raises(Closed, match="callback"):
            await elsewhere(stream.answer)


CTRL_C = """
import sys, threading
from porch.client import Porch

with Porch(sys.argv[1], "x") as porch:
    stream = porch.stream("conv_1", "Hi")
    try:
        with stream:
            for event in stream:
                print(event.seq, flush=True)
    except KeyboardInterrupt:
        print("left at", stream.cursor, flush=True)
    print("then", list(stream))
print("threads", threading.active_count())
"""


async def test_ctrl_c_in_the_middle_of_a_stream_closes_it_and_leaves_the_rest_whole() -> None:
    async with held() as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "default", "-c", CTRL_C, server.url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout
        await process.stdout.readuntil(b"4\n")
        process.send_signal(signal.SIGINT)
        printed, complaints = await process.communicate()
        await server.left.wait()
    assert (printed.decode(), complaints.decode()) == ("left at 1-4\nthen []\nthreads 1\n", "")


async def test_a_program_that_ends_without_closing_ends() -> None:
    code = (
        "import sys; from porch.client import Porch; porch = Porch(sys.argv[1], 'x');"
        "stream = porch.stream('conv_1', 'Hi'); next(stream)"
    )
    async with held() as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "default", "-c", code, server.url), stderr=asyncio.subprocess.PIPE
        )
        _, complaints = await process.communicate()
        await server.left.wait()
    assert complaints == b""
