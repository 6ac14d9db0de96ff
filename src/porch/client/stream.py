"""A run's stream that survives its connection: events in order, each once, from any place on."""

import asyncio
import random
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Literal, Self

import aiohttp
import msgspec

from porch.client.connection import ANSWER_SECONDS, LOST, PASSING, Connection, new_idempotency_key
from porch.client.errors import ApiError, ConnectionLost, StreamBroken
from porch.contract.errors import InvalidInput
from porch.contract.events import (
    TERMINAL,
    AnyEvent,
    PartStarted,
    RunPaused,
    StreamChunk,
    decode_event,
)
from porch.contract.frames import START, Cursor
from porch.contract.sse import ServerSentEvent, SseDecoder

# Three keep-alives that did not come (law 13).
SILENCE_SECONDS = 45.0
ATTEMPTS = 10
LONGEST_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Resync:
    """Forget every event after seq `keep_through`: another producer took over, or this reader fell behind."""

    reason: Literal["takeover", "overflow"]
    keep_through: int


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The connection was lost; the stream goes on where it was, after `seconds`, if the server answers."""

    attempt: int
    seconds: float
    reason: str


StreamItem = AnyEvent | Resync | Reconnecting


@dataclass(slots=True)
class Timings:
    """When things happened, in seconds of `time.perf_counter`; None for what did not happen yet."""

    sent: float | None = None
    first_text: float | None = None
    last_text: float | None = None
    ended: float | None = None

    @property
    def to_first_text(self) -> float | None:
        """Seconds from sending the message to the answer's first words."""
        return None if self.sent is None or self.first_text is None else self.first_text - self.sent

    @property
    def end_to_end(self) -> float | None:
        """Seconds from sending the message to the stream's end."""
        return None if self.sent is None or self.ended is None else self.ended - self.sent

    def tokens_per_second(self, tokens: int) -> float | None:
        """The pace of an answer of so many tokens, between its first words and its last."""
        if (
            self.first_text is None
            or self.last_text is None
            or self.last_text <= self.first_text
            or tokens < 2
        ):
            return None
        return (tokens - 1) / (self.last_text - self.first_text)


class RunStream:
    """Iterate for what happens: contract events, `Resync` and `Reconnecting`. It ends with the run or its pause.

    Closing it does not cancel the run. Iterating raises ApiError, ConnectionLost or StreamBroken.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        run: str | None = None,
        after: Cursor = START,
        start: tuple[str, Any] | None = None,
        attempts: int = ATTEMPTS,
        silence: float = SILENCE_SECONDS,
    ) -> None:
        """`start` is the path and body that begin the run; without it `run` is followed from `after`."""
        self.cursor = after
        self.timings = Timings()
        self._run = run
        self._known = asyncio.Event()
        self._connection = connection
        self._start = start
        self._key = new_idempotency_key()
        self._attempts = attempts
        self._silence = silence
        self._failures = 0
        self._pause = 0.0
        self._response: aiohttp.ClientResponse | None = None
        self._decoder = SseDecoder()
        self._ready: deque[StreamItem] = deque()
        self._spoken: set[str] = set()
        self._paused = False
        self._ended = False

    @property
    def run(self) -> str | None:
        """The run's id, None until the server has taken the message."""
        return self._run

    async def known(self) -> str:
        """The run's id, once there is one; for somebody else than who iterates."""
        while self._run is None:
            await self._known.wait()
        return self._run

    async def aclose(self) -> None:
        """Let go of the connection; the run goes on."""
        self._ended = True
        self._ready.clear()
        self._drop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamItem:
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            try:
                await (self._connect() if self._response is None else self._read(self._response))
            except LOST as error:
                self._lose(_describe(error))
            except BaseException:
                self._drop()
                raise
        return self._ready.popleft()

    async def _connect(self) -> None:
        if self._pause:
            await asyncio.sleep(self._pause)
        if self.timings.sent is None:
            self.timings.sent = time.perf_counter()
        response = await self._request()
        if response.status == 200 and response.content_type == "text/event-stream":
            self._decoder = SseDecoder()
            self._response = response
            self._name(response.headers.get("Porch-Run"))
            return
        async with response:
            content = await response.read()
        if response.status == 204:
            self._end()
        elif response.status < 300:
            # A write that was sent twice is answered by what the first one made.
            self._name(_read_run(response.status, content))
            self._pause = 0.0
        else:
            error = ApiError.of(response.status, content, response.headers.get("Retry-After"))
            if error.status not in PASSING and error.code != "in_progress":
                raise error
            self._lose(error.detail, error.retry_after or 0.0, error)

    async def _request(self) -> aiohttp.ClientResponse:
        headers = {"Accept": "text/event-stream"}
        if self.run is None:
            assert self._start, "a stream follows a run, or starts one"
            path, body = self._start
            headers["Idempotency-Key"] = self._key
            return await self._connection.open(
                "POST", path, body=body, headers=headers, read_seconds=ANSWER_SECONDS
            )
        if self.cursor != START:
            headers["Last-Event-ID"] = str(self.cursor)
        path = f"/api/v1/runs/{self.run}/events"
        return await self._connection.open("GET", path, headers=headers, read_seconds=self._silence)

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        async with asyncio.timeout(self._silence):
            chunk = await response.content.readany()
        if not chunk:
            if self._paused:
                self._end()
            else:
                self._lose("the server closed the connection")
            return
        for frame in self._decoder.feed(chunk):
            self._take(frame)

    def _take(self, frame: ServerSentEvent) -> None:
        if self._ended:
            return
        try:
            if frame.event == "stream.resync":
                resync = msgspec.json.decode(frame.data, type=Resync)
                self.cursor = Cursor(self.cursor.epoch, min(self.cursor.seq, resync.keep_through))
                self._ready.append(resync)
                return
            if frame.id is None:
                return
            cursor = Cursor.parse(frame.id)
            event = decode_event(frame.data)
        except (msgspec.DecodeError, InvalidInput) as error:
            raise StreamBroken(f"The server sent an event that cannot be read: {error}") from error
        if cursor.seq <= self.cursor.seq:
            return
        if cursor.seq > self.cursor.seq + 1:
            raise StreamBroken(f"The stream skipped from event {self.cursor} to {cursor}.")
        self.cursor = cursor
        self._failures, self._pause = 0, 0.0
        if event is not None:
            self._name(event.run)
            self._note(event)
            self._ready.append(event)

    def _name(self, run: str | None) -> None:
        if run and self._run is None:
            self._run = run
            self._known.set()

    def _note(self, event: AnyEvent) -> None:
        self._paused = isinstance(event, RunPaused)
        if isinstance(event, StreamChunk):
            if event.part in self._spoken:
                self.timings.last_text = time.perf_counter()
                self.timings.first_text = self.timings.first_text or self.timings.last_text
        elif isinstance(event, PartStarted):
            if event.kind != "reasoning":
                self._spoken.add(event.part)
        elif isinstance(event, TERMINAL):
            self._end()

    def _lose(self, reason: str, at_least: float = 0.0, cause: Exception | None = None) -> None:
        self._drop()
        self._failures += 1
        if self._failures > self._attempts:
            self._ended = True
            if self.run is None:
                raise cause or self._connection.unreachable()
            raise ConnectionLost(
                f"The connection to {self._connection.base_url} was lost and did not come back ({reason}). "
                f"The run {self.run} goes on without its reader, if the server is down with its next start; "
                "come back to it with the same conversation."
            )
        pause = min(0.1 * 2 ** (self._failures - 1), LONGEST_PAUSE)
        pause *= 0.8 + 0.4 * random.random()  # noqa: S311  # apart from each other, not secret
        self._pause = max(pause, min(at_least, LONGEST_PAUSE))
        self._ready.append(Reconnecting(self._failures, self._pause, reason))

    def _end(self) -> None:
        self._ended = True
        self.timings.ended = time.perf_counter()
        self._drop()

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


def _read_run(status: int, content: bytes) -> str:
    try:
        return str(msgspec.json.decode(content, type=dict[str, Any])["run"])
    except (msgspec.MsgspecError, KeyError) as error:
        raise ApiError.of(status, content) from error


def _describe(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no sign of life"
    if isinstance(error, aiohttp.ClientConnectorError | ConnectionRefusedError):
        return "nothing answers there"
    return "the connection was cut"
