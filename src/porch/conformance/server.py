"""The server under test, as bytes on a wire: requests, and streams that keep every byte."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from porch.client.connection import LOST, Connection
from porch.conformance.recording import Recording

ANSWER_SECONDS = 30.0
# Longer than three keep-alives take: law 13 is judged elsewhere.
READ_SECONDS = 50.0
EVENT_STREAM = "text/event-stream"
LAST_EVENT_ID, IDEMPOTENCY_KEY = "Last-Event-ID", "Idempotency-Key"
AGAIN_SECONDS = 0.1
# A connection that a server closes while it idles would look like a server that does not answer.
FRESH = {"Connection": "close"}


class Answer(NamedTuple):
    """What a request got. `status` is 0 where nothing came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> dict[str, Any]:
        """The body's object; an empty one where it is none."""
        try:
            return msgspec.json.decode(self.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return {}

    @property
    def is_problem(self) -> bool:
        """Whether it refuses as RFC 9457 says, with a code and a sentence."""
        typed = self.headers.get("content-type", "").partition(";")[0] == "application/problem+json"
        return typed and {"status", "code", "detail"} <= set(self.told)

    @property
    def shown(self) -> bytes:
        """Status and body, as evidence."""
        return b"%d " % self.status + self.body


class Server:
    """One address of the server, with a token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._connection = Connection(url, token, answer_seconds=ANSWER_SECONDS)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Answer:
        """One request and its whole answer."""
        given = {"Accept": "application/json", **FRESH, **(headers or {})}
        try:
            async with asyncio.timeout(seconds):
                opened = await self._connection.open(
                    method, path, body=body, headers=given, read_seconds=seconds
                )
                async with opened as response:
                    return Answer(response.status, _lower(response.headers), await response.read())
        except LOST as error:
            return Answer(0, {}, f"no answer: {type(error).__name__} {error}".encode())

    async def record(
        self,
        recording: Recording,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        enough: Callable[[Recording], bool] | None = None,
        idle: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Read a stream: to its end, to a cut, or until it is `enough` and we leave.

        Nothing is read before `idle` is over: that is how a slow reader is made. A reader that is told
        `stream.resync {overflow}` comes back by its cursor, as each may be told to.
        """
        given = {"Accept": EVENT_STREAM, **FRESH, **(headers or {})}
        place, fresh = path, time.monotonic()
        while True:
            had, back = len(recording.told), len(recording.resyncs)
            if recording.cursor:
                given[LAST_EVENT_ID] = recording.cursor
            left = await self._read(recording, method, place, body, headers=given, enough=enough, idle=idle)
            overflowed = any(resync.reason == "overflow" for resync in recording.resyncs[back:])
            if len(recording.told) > had:
                fresh = time.monotonic()
            if left or recording.ended or not overflowed or time.monotonic() > fresh + READ_SECONDS:
                return
            await asyncio.sleep(AGAIN_SECONDS)
            query = path.partition("?")[2] if method == "GET" else ""
            place = f"/api/v1/runs/{recording.run}/events" + (f"?{query}" if query else "")
            method, body, idle = "GET", None, None
            given.pop(IDEMPOTENCY_KEY, None)

    async def _read(
        self,
        recording: Recording,
        method: str,
        path: str,
        body: Any,
        *,
        headers: dict[str, str],
        enough: Callable[[Recording], bool] | None,
        idle: Callable[[], Awaitable[object]] | None,
    ) -> bool:
        """One connection. Answers whether we left it, or it was lost."""
        lost = False
        try:
            opened = await self._connection.open(
                method, path, body=body, headers=headers, read_seconds=READ_SECONDS
            )
            async with opened as response:
                recording.status, recording.headers = response.status, _lower(response.headers)
                if response.status != 200 or response.content_type != EVENT_STREAM:
                    recording.body = await response.read()
                    return False
                if idle:
                    await idle()
                while data := await response.content.readany():
                    recording.take(data)
                    if enough and enough(recording):
                        response.close()
                        lost = True
                        break
        except LOST:
            lost = True
        finally:
            with contextlib.suppress(RuntimeError):
                recording.close(lost=lost)
        return lost

    async def follow(self, recording: Recording, after: str | None = None, **how: Any) -> None:
        """Read a run from behind what the recording has, or from a cursor."""
        query = f"?after={after}" if after else ""
        await self.record(recording, "GET", f"/api/v1/runs/{recording.run}/events{query}", **how)

    async def follow_to_the_end(self, recording: Recording) -> None:
        """Come back as often as it takes. Wait for it with a limit."""
        while not recording.ended:
            await self.follow(recording)
            if not recording.ended:
                await asyncio.sleep(AGAIN_SECONDS)

    async def replay(self, run: str) -> Recording:
        """A run from its start, to where it stands or ends."""
        recording = Recording(run)
        await self.follow(recording)
        return recording

    async def close(self) -> None:
        """Close all sockets."""
        await self._connection.close()


def _lower(headers: Any) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in headers.items()}
