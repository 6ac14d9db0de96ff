"""The server as bytes on a wire sees it: requests without a client library, and streams that keep every byte."""

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import aiohttp
import msgspec

from porch.contract.events import AnyEvent
from porch.contract.frames import split_frames
from tests.runs.conftest import events_in

LOST = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError, OSError)
TERMINAL = (b"\nevent: run.finished\n", b"\nevent: run.failed\n", b"\nevent: run.cancelled\n")
PAUSED = b"\nevent: run.paused\n"
# A reader without a sign of life for so long has lost its server; keep-alives come every 10 to 15 s.
SILENCE_SECONDS = 20.0


class Answer(NamedTuple):
    """What a request got."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's value."""
        return msgspec.json.decode(self.body)


def check_problem(answer: Answer) -> str:
    """A refusal is a problem of RFC 9457 with a sentence; answers its code."""
    assert answer.headers["content-type"] == "application/problem+json", answer
    problem = answer.json
    assert problem["status"] == answer.status
    assert re.search(r" .*[.!]$", problem["detail"]), problem
    if answer.status == 503:
        assert int(answer.headers["retry-after"]) >= 1, answer
    return str(problem["code"])


@dataclass(eq=False)
class Story:
    """A run's stream as one reader holds it, kept by the rules that every reader is told: nothing is skipped,
    nothing comes twice, and what a resync says to forget is forgotten."""

    run: str = ""
    frames: list[bytes] = field(default_factory=list[bytes])
    times: list[float] = field(default_factory=list[float])
    resyncs: list[int] = field(default_factory=list[int])
    connections: int = 0
    went_away: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, frame: bytes) -> None:
        """One whole frame as it came."""
        if frame.startswith(b":"):
            return
        if frame.startswith(b"event: stream.resync\n"):
            keep = msgspec.json.decode(frame.partition(b"\ndata: ")[2])["keep_through"]
            assert keep <= len(self.frames), f"told to keep {keep} of {len(self.frames)}"
            self.resyncs.append(keep)
            del self.frames[keep:]
            return
        assert not self.ended, f"something follows the end of {self.run}: {frame!r}"
        seq = int(frame[4 : frame.index(b"\n")].partition(b"-")[2])
        assert seq == len(self.frames) + 1, f"{self.run}: {seq} came after {len(self.frames)}"
        self.frames.append(frame)
        self.times.append(time.monotonic())
        self.changed.set()

    @property
    def cursor(self) -> str | None:
        """The last event's id, for `Last-Event-ID`."""
        return self.frames[-1][4 : self.frames[-1].index(b"\n")].decode() if self.frames else None

    @property
    def ended(self) -> bool:
        """Whether the last frame is a terminal event."""
        return bool(self.frames) and any(mark in self.frames[-1] for mark in TERMINAL)

    @property
    def paused(self) -> bool:
        """Whether the run waited when the last frame came."""
        return bool(self.frames) and PAUSED in self.frames[-1]

    @property
    def data(self) -> bytes:
        """All that is kept."""
        return b"".join(self.frames)

    @property
    def events(self) -> list[AnyEvent]:
        """All that is kept, read."""
        return events_in(self.data)

    async def reaches(self, count: int) -> None:
        """Wait until so many frames are there, or the end."""
        while len(self.frames) < count and not self.ended:
            self.changed.clear()
            await self.changed.wait()


class Wire:
    """A connection to one server. An async context manager."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    @property
    def authorization(self) -> str:
        """What each request says of who asks."""
        return self._headers["Authorization"]

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers=self._headers, connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session
        await self._session.close()

    async def ask(
        self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request and its whole answer. Raises one of LOST."""
        async with self._open(method, path, body, headers or {}) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str) -> Any:
        """A GET that must succeed, as JSON."""
        answer = await self.ask("GET", path)
        assert answer.status == 200, answer
        return answer.json

    async def make(self, path: str, body: object = None) -> Any:
        """A POST that must succeed, as JSON."""
        answer = await self.ask("POST", path, body)
        assert answer.status in (200, 201, 202), answer
        return answer.json

    async def replay(self, run: str) -> bytes:
        """A run that has ended, from its start."""
        answer = await self.ask("GET", f"/api/v1/runs/{run}/events")
        assert answer.status == 200, answer
        return answer.body

    async def stream_once(
        self,
        story: Story,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        until: int | None = None,
    ) -> Answer | None:
        """Read one connection's stream into a story: to its end, to a cut, or `until` it has so many frames.

        Answers the response where it is no stream. A frame that was cut in the middle counts as never sent.
        """
        headers = {"Accept": "text/event-stream", **(headers or {})}
        if story.cursor:
            headers["Last-Event-ID"] = story.cursor
        async with self._open(method, path, body, headers) as response:
            if response.status != 200 or response.content_type != "text/event-stream":
                return Answer(response.status, response.headers, await response.read())
            story.run = response.headers["porch-run"]
            story.connections += 1
            pending = b""
            while chunk := await response.content.readany():
                whole, end, pending = (pending + chunk).rpartition(b"\n\n")
                for frame in split_frames(whole + end):
                    story.take(frame)
                    if until is not None and len(story.frames) >= until:
                        return None
        return None

    async def follow(self, story: Story) -> None:
        """Read a run to its end, coming back with `Last-Event-ID` as often as it takes."""
        while not story.ended:
            try:
                answer = await self.stream_once(story, "GET", f"/api/v1/runs/{story.run}/events")
                if answer is not None and answer.status == 204:
                    assert story.paused, f"{story.run} has no more for who holds {len(story.frames)} events"
                elif answer is not None:
                    assert check_problem(answer) in ("database_unavailable", "unavailable"), answer
            except LOST:
                pass
            if not story.ended:
                await asyncio.sleep(0.1)

    def _open(self, method: str, path: str, body: object, headers: dict[str, str]) -> Any:
        assert self._session
        data = None if body is None else msgspec.json.encode(body)
        if data is not None:
            headers = {**headers, "Content-Type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SILENCE_SECONDS)
        return self._session.request(method, self.url + path, data=data, headers=headers, timeout=timeout)
