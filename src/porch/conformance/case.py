"""One server's case: who is asked, how long we wait, and what was found so far."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from porch.conformance.laws import judge_paused_run, judge_run
from porch.conformance.model import Report
from porch.conformance.recording import Recording
from porch.conformance.server import EVENT_STREAM, Answer, Server
from porch.contract.errors import InvalidInput
from porch.contract.events import (
    PartFinished,
    PartStarted,
    StepDiscarded,
    StreamChunk,
    ToolCallFinished,
    ToolResultFinished,
    UsageReported,
)

# What a whole run shows, if nothing in it speaks against it.
ALWAYS = ("dense", "epochs", "bounds", "framing", "envelope", "fields")
SHOWN_BY: dict[str, tuple[type, ...]] = {
    "closers": (PartFinished, ToolResultFinished),
    "values": (PartFinished, ToolCallFinished),
    "names": (PartStarted,),
    "deltas": (StreamChunk,),
    "usage": (UsageReported,),
    "reasons": (ToolResultFinished,),
    "retries": (StepDiscarded,),
}


@dataclass(frozen=True)
class Pace:
    """How long things may take, in seconds; the contract's own figures, and patience around them."""

    answer: float = 60.0  # a run of some words, on a slow machine
    keep_alive: tuple[float, float] = (10.0, 15.0)
    slack: float = 1.0  # between a server's clock and a network's
    goes_on: float = 5.0  # after a kill
    ends: float = 5.0  # after a cancel
    word: str = "20ms"
    flood: int = 40_000  # words, for a reader that does not read
    back: float = 60.0  # until a killed server without replicas is up again


@dataclass
class Case:
    """What every check is given."""

    server: Server
    others: list[Server]
    workspace: str
    agent: str
    scripted: bool
    pace: Pace = field(default_factory=Pace)
    report: Report = field(default_factory=Report)
    kill: Callable[[], None] | None = None
    stranger: Server | None = None
    made: list[str] = field(default_factory=list[str])

    @property
    def agents(self) -> str:
        """The path of the workspace's agents."""
        return f"/api/v1/workspaces/{self.workspace}/agents"

    async def conversation(self, *, agent: str | None = None, server: Server | None = None) -> str:
        """A new conversation's path for runs. Raises InvalidInput where the server gives none."""
        path = f"{self.agents}/{agent or self.agent}/conversations"
        answer = await (server or self.server).ask("POST", path)
        if answer.status not in (200, 201) or "id" not in answer.told:
            raise InvalidInput(f"No conversation could be begun: {refusal(answer)}")
        return f"/api/v1/conversations/{answer.told['id']}/runs"

    async def tell(self, text: str, *, agent: str | None = None) -> Recording:
        """Say something and record the answer to its end; everything that every run must keep is judged."""
        recording = Recording()
        path = await self.conversation(agent=agent)
        async with self.limited("bounds", f"A run did not end within {self.pace.answer:.0f} s."):
            await self.server.record(recording, "POST", path, {"input": text})
        if recording.status != 200:
            self.report.breach(
                "start", f"A run asked for as a stream is answered with {recording.status}.", [recording.body]
            )
        self.judge(recording)
        return recording

    @asynccontextmanager
    async def telling(self, text: str, words: int) -> AsyncGenerator[Recording]:
        """A run that has said so many words and goes on, recorded until the block ends, and then to its end.

        Raises InvalidInput where the server gives no stream.
        """
        recording, path = Recording(), await self.conversation()
        reading = asyncio.create_task(self.server.record(recording, "POST", path, {"input": text}))
        try:
            async with asyncio.timeout(self.pace.answer):
                waiting = asyncio.create_task(recording.until(lambda now: spoken(now) >= words))
                await asyncio.wait([waiting, reading], return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if not recording.told:
                    said = recording.body[:200].decode("utf-8", "replace")
                    raise InvalidInput(
                        f"A run gave no event: it was answered with {recording.status}, {said!r}."
                    )
                yield recording
                await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    @asynccontextmanager
    async def limited(self, check: str, says: str, seconds: float | None = None) -> AsyncGenerator[None]:
        """What takes longer than `seconds` (an answer's) is a breach of that check."""
        try:
            async with asyncio.timeout(seconds or self.pace.answer):
                yield
        except TimeoutError:
            self.report.breach(check, says)

    def judge(self, recording: Recording, *, whole: bool = True, paused: bool = False) -> None:
        """Everything that every recording must keep; a `whole` one was read from start to end, or to a pause."""
        report = self.report
        for fault, raw in recording.faults:
            report.breach(fault.check, _sentence(fault.says), [raw])
        typed = recording.headers.get("content-type", "").partition(";")[0].strip()
        if recording.status == 200 and typed != EVENT_STREAM:
            report.breach("framing", f"The stream's content type is {typed!r}.")
        if not whole or recording.status != 200:
            return
        events = recording.events
        for fault in judge_paused_run(events) if paused and events else judge_run(events):
            report.breach(fault.check, _sentence(fault.says), recording.around(fault.seq))
        for key in ALWAYS:
            report.ok(key)
        for key, classes in SHOWN_BY.items():
            if any(isinstance(event, classes) for event in events):
                report.ok(key)

    def expect(self, key: str, holds: object, says: str, *evidence: bytes) -> bool:
        """The check is ok if that holds, else broken."""
        if holds:
            self.report.ok(key)
        else:
            self.report.breach(key, says, evidence)
        return bool(holds)

    async def state(self, run: str | None, server: Server | None = None) -> dict[str, Any]:
        """A run's record, an empty one where there is none."""
        answer = await (server or self.server).ask("GET", f"/api/v1/runs/{run}")
        return answer.told if answer.status == 200 else {}

    async def make_agent(self, suffix: str, **definition: Any) -> Answer:
        """A throw-away agent, which goes when the kit does."""
        name = f"conformance-{os.urandom(4).hex()}{suffix}"
        body = {"name": name, "instructions": "Answer.", **definition}
        answer = await self.server.ask("POST", self.agents, body)
        if answer.status in (200, 201):
            self.made.append(name)
        return answer


def spoken(recording: Recording) -> int:
    """How many words of the answer are there."""
    return sum(kind == "stream.chunk" for kind in recording.types)


def refusal(answer: Answer) -> str:
    """What a server said instead, as a sentence."""
    if "detail" in answer.told:
        return f"{answer.status}, {answer.told['detail']}"
    return f"{answer.status}, {answer.body[:200].decode('utf-8', 'replace')!r}."


def _sentence(says: str) -> str:
    return says[:1].upper() + says[1:] + "."
