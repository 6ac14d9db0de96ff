"""A run's stream that survives its connection: events in order, each once, from any place on."""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, Self, cast

import aiohttp
import msgspec

from porch.client.answer import Answer, Tale, Words
from porch.client.connection import LOST, Connection, new_idempotency_key, passes
from porch.client.errors import ApiError, ConnectionLost, StreamBroken, TimedOut, Unreachable
from porch.client.items import Reconnecting, Resync, StreamEvent, Timings
from porch.contract.errors import InvalidInput, PorchError
from porch.contract.events import TERMINAL, AnyEvent, RunPaused, decode_event
from porch.contract.frames import START, Cursor
from porch.contract.sse import ServerSentEvent, SseDecoder

# Three keep-alives that did not come (law 13).
SILENCE_SECONDS = 45.0
ATTEMPTS = 10
# Of a server that has never answered.
FIRST_ATTEMPTS = 3
LONGEST_PAUSE = 5.0
# A connection that gave signs of life for so long was a good one, though nothing happened in the run.
LASTING_SECONDS = 10.0


@dataclass(slots=True)
class Start:
    """The write that begins a run: `body` to `path`, "{}" in which is the conversation that `opening` makes.

    `opening` is a path and a body. Under one `key` it all counts once, however often it is sent.
    """

    path: str
    body: Any
    key: str
    opening: tuple[str, Any] | None = None

    async def prepare(self, connection: Connection) -> None:
        """Make the conversation, if there is one to make. Raises ApiError, Unreachable."""
        if self.opening:
            path, body = self.opening
            made = await connection.send("POST", path, body=body, key=self.key, pauses=())
            if not isinstance(made, dict) or "id" not in made:
                raise ApiError.of(200, b"")
            self.path, self.opening = self.path.format(cast("dict[str, str]", made)["id"]), None


class RunStream:
    """Iterate for what happens: contract events, and `Resync` for what must be forgotten.

    It ends with the run or its pause. Leaving it does not cancel the run. Iterating raises ApiError, Unreachable,
    ConnectionLost, StreamBroken and TimedOut. One reader at a time.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        run: str | None = None,
        after: Cursor = START,
        start: Start | None = None,
        attempts: int = ATTEMPTS,
        silence: float = SILENCE_SECONDS,
        timeout: float | None = None,
    ) -> None:
        """`start` begins the run; without it `run` is followed from `after`. `timeout` is for the whole stream."""
        self.on_lost: Callable[[Reconnecting], None] | None = None
        self.on_queued: Callable[[], None] | None = None
        self.timings = Timings()
        self._tale = Tale(run, after)
        self._place = after
        self._run = run
        self._known = asyncio.Event()
        self._connection = connection
        self._start = start
        self._attempts = attempts
        self._silence = silence
        self._timeout = timeout
        self._deadline: float | None = None
        self._failures = 0
        self._pause = 0.0
        self._response: aiohttp.ClientResponse | None = None
        self._opened = self._heard = 0.0
        self._decoder = SseDecoder()
        self._ready: deque[StreamEvent] = deque()
        self._paused = False
        self._ended = False
        self._error: PorchError | None = None
        self._closing = asyncio.Event()

    @property
    def run(self) -> str | None:
        """The run's id, None until the server has taken the message."""
        return self._run

    @property
    def cursor(self) -> Cursor:
        """The place of the last event that was handed out; `resume` goes on from there."""
        return self._tale.cursor

    async def known(self) -> str:
        """The run's id, once there is one; for somebody else than who iterates."""
        while self._run is None:
            await self._known.wait()
        return self._run

    async def answer(self) -> Answer:
        """Read on to the end, and answer what it all amounts to: of a resumed stream, what came since.

        Raises what iterating raises, AnswerFailed and AnswerCancelled. A run that waits for somebody is an
        answer with the status "paused".
        """
        async with self:
            async for _ in self:
                pass
        return self._tale.verdict

    async def text_stream(self) -> AsyncGenerator[str]:
        """The agent's words alone, as they come; together they are `Answer.text`. Raises what `answer` raises.

        Words that a fallback or a takeover made void cannot be taken back here: new ones follow after a blank line.
        """
        words = Words()
        async with self:
            async for event in self:
                if text := words.take(event):
                    yield text
        _ = self._tale.verdict

    def close(self) -> None:
        """Let go of the connection, from the event loop's own thread; the run goes on."""
        self._ended = True
        self._ready.clear()
        self._drop()
        self._closing.set()

    async def aclose(self) -> None:
        """Let go of the connection; the run goes on."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        await self._fill()
        if not self._ready:
            raise StopAsyncIteration
        event = self._ready.popleft()
        self._tale.take(event)
        return event

    async def take(self) -> list[StreamEvent]:
        """All that is there, after waiting for the first; nothing at the end. The taker keeps the cursor."""
        await self._fill()
        events = list(self._ready)
        self._ready.clear()
        return events

    async def _fill(self) -> None:
        """Have something ready, or the end. Raises what went wrong once all before it was handed out."""
        if self._timeout is None:
            await self._advance()
        else:
            await self._advance_in_time(self._timeout)
        if self._error and not self._ready:
            error, self._error = self._error, None
            raise error

    async def _advance_in_time(self, seconds: float) -> None:
        self._deadline = self._deadline or asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                await self._advance()
        except TimeoutError as error:
            self.close()
            where = f"The run {self._run} goes on" if self._run else "If it was taken, it goes on"
            raise TimedOut(
                f"The answer did not end within {seconds:g} s. {where}: come back to it, or cancel it."
            ) from error

    async def _advance(self) -> None:
        while not self._ready and not self._ended:
            try:
                await self._step()
            except PorchError as error:
                self._error, self._ended = error, True
                self._drop()
            except BaseException:
                self._drop()
                raise

    async def _step(self) -> None:
        try:
            await (self._connect() if self._response is None else self._read(self._response))
        except LOST as error:
            self._lose(_describe(error))

    async def _connect(self) -> None:
        if self._pause and await self._closed_within(self._pause):
            return
        if self.timings.sent is None:
            self.timings.sent = time.perf_counter()
        try:
            response = await self._request()
        except Unreachable as error:
            self._lose("nothing answers there", cause=error)
            return
        except ApiError as error:
            self._yield_to(error)
            return
        if self._ended:
            response.close()
        elif response.status == 200 and response.content_type == "text/event-stream":
            self._decoder = SseDecoder()
            self._response = response
            self._opened = time.monotonic()
            self._name(response.headers.get("Porch-Run"))
            if self.on_queued and response.headers.get("Porch-Status") == "queued":
                self.on_queued()
        else:
            await self._take_answer(response)

    async def _take_answer(self, response: aiohttp.ClientResponse) -> None:
        """An answer that is no stream."""
        async with response:
            content = await response.read()
        if response.status == 204:
            self._end()
        elif response.status < 300:
            # A write that was sent twice is answered by what the first one made.
            self._name(_read_run(response.status, content))
            self._pause = 0.0
        else:
            self._yield_to(ApiError.of(response.status, content, response.headers.get("Retry-After")))

    async def _request(self) -> aiohttp.ClientResponse:
        headers = {"Accept": "text/event-stream"}
        if self._run is None:
            assert self._start, "a stream follows a run, or starts one"
            await self._start.prepare(self._connection)
            headers["Idempotency-Key"] = self._start.key
            seconds = self._connection.answer_seconds
            return await self._connection.open(
                "POST", self._start.path, body=self._start.body, headers=headers, read_seconds=seconds
            )
        if self._place != START:
            headers["Last-Event-ID"] = str(self._place)
        path = f"/api/v1/runs/{self._run}/events"
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
        self._heard = time.monotonic()
        for frame in self._decoder.feed(chunk):
            self._take(frame)

    def _take(self, frame: ServerSentEvent) -> None:
        if self._ended:
            return
        try:
            if frame.event == "stream.resync":
                resync = msgspec.json.decode(frame.data, type=Resync)
                self._place = Cursor(self._place.epoch, min(self._place.seq, resync.keep_through))
                self._ready.append(resync)
                return
            if frame.id is None:
                return
            place = Cursor.parse(frame.id)
            event = decode_event(frame.data)
        except (msgspec.DecodeError, InvalidInput) as error:
            raise StreamBroken(f"The server sent an event that cannot be read: {error}") from error
        if place.seq <= self._place.seq:
            return
        if place.seq > self._place.seq + 1:
            raise StreamBroken(f"The stream skipped from event {self._place} to {place}.")
        self._place = place
        self._failures, self._pause = 0, 0.0
        if event is not None:
            self._note(event)
            self._ready.append(event)

    def _name(self, run: str | None) -> None:
        if run and self._run is None:
            self._run = run
            self._known.set()

    def _note(self, event: AnyEvent) -> None:
        self._name(event.run)
        self._paused = isinstance(event, RunPaused)
        self.timings.note(event)
        if isinstance(event, TERMINAL):
            self._end()

    def _yield_to(self, error: ApiError) -> None:
        """Try again later where that may help. Raises the error where it may not."""
        if not passes(error):
            raise error
        self._lose(error.detail, error.retry_after or 0.0, error)

    def _lose(self, reason: str, at_least: float = 0.0, cause: Exception | None = None) -> None:
        if self._response is not None and self._heard - self._opened >= LASTING_SECONDS:
            self._failures = 0
        self._drop()
        if self._ended:
            return
        self._failures += 1
        if self._failures > (self._attempts if self._connection.reached else FIRST_ATTEMPTS):
            if self._run is None:
                raise cause or self._connection.unreachable()
            raise ConnectionLost(
                f"The connection to {self._connection.base_url} was lost and did not come back ({reason}). "
                f"The run {self._run} goes on without its reader, if the server is down with its next start; "
                "come back to it with the same conversation."
            )
        pause = min(0.1 * 2 ** (self._failures - 1), LONGEST_PAUSE)
        pause *= 0.8 + 0.4 * random.random()  # noqa: S311  # apart from each other, not secret
        self._pause = max(pause, min(at_least, LONGEST_PAUSE))
        if self.on_lost:
            self.on_lost(Reconnecting(self._failures, self._pause, reason))

    async def _closed_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._closing.wait()
        except TimeoutError:
            return False

    def _end(self) -> None:
        self._ended = True
        self.timings.ended = self.timings.ended or time.perf_counter()
        self._drop()

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


def make_start(path: str, body: Any, *, key: str | None, opening: tuple[str, Any] | None = None) -> Start:
    """A start under the given key, or a fresh one."""
    return Start(path, body, key or new_idempotency_key(), opening)


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
