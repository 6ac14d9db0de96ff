"""A generator's events as one streamed answer, which ends with its reader."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message

from porch.contract.events import Event, Notice, decode_event
from porch.contract.frames import KEEP_ALIVE
from porch.contract.sse import SseDecoder
from porch.http import event_stream
from porch.http.event_stream import EventResponse


class Reader:
    """One reader of an answer; `leave` is set when it goes."""

    def __init__(self) -> None:
        self.leave = asyncio.Event()
        self.messages: list[Message] = []
        self.heard = asyncio.Event()
        self.waits_for = b""

    async def receive(self) -> Message:
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.messages.append(message)
        if self.waits_for and message.get("body") == self.waits_for:
            self.heard.set()

    async def read(self, events: AsyncGenerator[Event]) -> bytes:
        async with asyncio.timeout(20):
            await EventResponse(events)({"type": "http"}, self.receive, self.send)
        return b"".join(message.get("body", b"") for message in self.messages)


async def numbered(count: int) -> AsyncGenerator[Event]:
    for number in range(count):
        yield Notice(code="n", text=str(number))


async def test_events_come_as_frames_that_are_numbered_and_the_answer_has_an_end() -> None:
    reader = Reader()
    body = await reader.read(numbered(200))
    events = [decode_event(each.data) for each in SseDecoder().feed(body)]
    assert [event.seq for event in events if event] == list(range(1, 201))
    start = dict(reader.messages[0]["headers"])
    assert start[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert b"content-length" not in start
    assert [message["more_body"] for message in reader.messages[1:]].count(False) == 1


async def test_silence_is_kept_alive_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_SECONDS", 0.001)
    reader = Reader()
    reader.waits_for = KEEP_ALIVE

    async def silent() -> AsyncGenerator[Event]:
        await reader.heard.wait()
        yield Notice(code="n", text="At last.")

    assert (await reader.read(silent())).endswith(b"}\n\n")


async def test_a_generator_is_closed_as_soon_as_its_reader_leaves() -> None:
    reader, closed = Reader(), asyncio.Event()

    async def endless() -> AsyncGenerator[Event]:
        try:
            yield Notice(code="n", text="Well,")
            reader.leave.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    await reader.read(endless())
    assert closed.is_set()


async def test_a_reader_that_leaves_in_mid_flood_ends_it_too() -> None:
    reader = Reader()

    async def stuck(message: Message) -> None:
        if message.get("body"):
            reader.leave.set()
            await asyncio.Event().wait()

    async with asyncio.timeout(20):
        await EventResponse(numbered(10_000))({"type": "http"}, reader.receive, stuck)


async def test_a_generator_that_fails_leaves_the_answer_without_an_end() -> None:
    reader = Reader()

    async def failing() -> AsyncGenerator[Event]:
        yield Notice(code="n", text="Well,")
        raise LookupError("a fault of ours")

    with pytest.raises(LookupError):
        await reader.read(failing())
    assert all(message["more_body"] for message in reader.messages[1:])
