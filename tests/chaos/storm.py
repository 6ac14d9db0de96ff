"""A storm: several conversations, and kills at random moments. Afterwards everything must add up."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Literal

from porch.client import AsyncPorch
from porch.contract.events import AnyEvent, RunFailed, RunResumed
from tests.chaos.books import check_talks
from tests.chaos.server import Server, installed
from tests.chaos.talk import Sent, Talk
from tests.chaos.wire import Story, Wire

Kind = Literal["server", "postgres", "model"]
KINDS: tuple[Kind, ...] = ("server", "postgres", "model")
END_SECONDS = 20.0
MOMENT_SECONDS = 20.0
TALKS = 4
# How long at most until the next kill, in leases: most come before the last one is healed, some long after.
PAUSES = (0.1, 0.4, 2.5)


@dataclass
class Report:
    """What a storm came to."""

    seed: int
    kills: list[tuple[float, Kind]] = field(default_factory=list[tuple[float, Kind]])
    in_mid_answer: int = 0
    during_recovery: int = 0
    messages: int = 0
    sent_again: int = 0
    ends: Counter[str] = field(default_factory=Counter[str])
    takeovers: int = 0
    resyncs: int = 0
    reconnections: int = 0
    recoveries: dict[Kind, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    longest_silence: float = 0.0
    slowest_start: float = 0.0
    seconds: float = 0.0
    to_the_end: float = 0.0

    def strike(self, kind: Kind, *, in_mid_answer: bool, during_recovery: bool) -> None:
        """Note a kill that comes now."""
        self.kills.append((time.monotonic(), kind))
        self.in_mid_answer += in_mid_answer
        self.during_recovery += during_recovery

    def count(self, sent: Sent, events: list[AnyEvent]) -> None:
        """Note a message whose run was found in order."""
        end = events[-1]
        self.messages += 1
        self.sent_again += sent.tries > 1
        self.ends[end.error.code if isinstance(end, RunFailed) else str(end.__struct_config__.tag)] += 1
        self.takeovers += sum(isinstance(event, RunResumed) for event in events)
        for story in sent.stories:
            self.hear(story)

    def hear(self, story: Story) -> None:
        """Note for how long a reader was left without news, by kills that no other kill followed at once."""
        self.resyncs += len(story.resyncs)
        self.reconnections += max(story.connections - 1, 0)
        for before, after in pairwise([] if story.went_away else story.times):
            self.longest_silence = max(self.longest_silence, after - before)
            between: list[tuple[float, Kind]] = [
                (at, kind) for at, kind in self.kills if before <= at < after
            ]
            if len(between) == 1:
                [(at, kind)] = between
                self.recoveries[kind].append(after - at)

    def __str__(self) -> str:
        kinds = Counter(kind for _, kind in self.kills)
        waits = (
            f"{kind} {median(waits):.1f} s (at most {max(waits):.1f} s)"
            for kind, waits in self.recoveries.items()
            if waits
        )
        return (
            f"chaos: seed {self.seed}, {len(self.kills)} kills in {self.seconds:.0f} s "
            f"({', '.join(f'{kinds[kind]} {kind}' for kind in KINDS)}); {self.in_mid_answer} in mid-answer, "
            f"{self.during_recovery} during a recovery\n"
            f"  {self.messages} messages acknowledged, 0 lost, {self.sent_again} sent more than once\n"
            f"  ends: {', '.join(f'{count} {end}' for end, count in self.ends.most_common())}; the last "
            f"{self.to_the_end:.1f} s after the last kill\n"
            f"  {self.takeovers} takeovers, {self.resyncs} resyncs, {self.reconnections} reconnections; "
            f"slowest server start {self.slowest_start:.1f} s\n"
            f"  a reader's wait after one kill: {', '.join(waits)}; after several {self.longest_silence:.1f} s"
        )


class Storm:
    """Kills by a schedule that the seed decides, while people talk."""

    def __init__(self, server: Server, talks: list[Talk], seed: int, kills: int) -> None:
        self.report = Report(seed)
        self._lease = server.settings.lease_seconds
        self._server = server
        self._talks = talks
        self._chance = random.Random(seed)
        # Each kind at least once, and of the model fewer than the rest: it has a conversation to itself.
        more = self._chance.choices(KINDS, (4, 4, 2), k=max(kills - len(KINDS), 0))
        self._plan: list[Kind] = [*KINDS, *more]
        self._chance.shuffle(self._plan)

    async def rage(self) -> None:
        """Kill all that is on the plan, then let everybody come to an end."""
        began = time.monotonic()
        talking = [asyncio.create_task(talk.go()) for talk in self._talks]
        try:
            while self._plan:
                await self._strike(self._plan.pop(), talking)
            for talk in self._talks:
                talk.enough = True
            last = time.monotonic()
            async with asyncio.timeout(END_SECONDS + 10):
                await asyncio.gather(*talking)
            self.report.to_the_end = time.monotonic() - last
            assert self.report.to_the_end < END_SECONDS
        finally:
            for task in talking:
                task.cancel()
        self.report.seconds = last - began
        self.report.slowest_start = max(self._server.ready_seconds)

    async def _strike(self, kind: Kind, talking: list["asyncio.Task[None]"]) -> None:
        """One kill: mostly in mid-answer, sometimes right after another, when everything is half up."""
        at_once = self._chance.random() < 0.15
        if not at_once:
            await self._moment(kind == "model", talking)
            await asyncio.sleep(self._chance.uniform(0, self._chance.choice(PAUSES) * self._lease))
        victim = self._server.pid if kind == "server" else self._server.child(kind)
        deadline = time.monotonic() + MOMENT_SECONDS
        while victim is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
            victim = self._server.child(kind)
        assert victim is not None, f"there is no {kind} to kill: {self._server.words()}"
        answering = any(talk.answering for talk in self._talks)
        self.report.strike(kind, in_mid_answer=answering, during_recovery=at_once)
        os.kill(victim, signal.SIGKILL)
        if kind == "server":
            await self._bring_back()
        elif kind == "postgres":
            await self._postgres_back(victim)

    async def _bring_back(self) -> None:
        await self._server.gone()
        self._server.launch()
        if self._plan and self._plan[-1] == "server" and self._chance.random() < 0.3:
            await asyncio.sleep(self._chance.uniform(0, 1.5))
            self._plan.pop()
            self.report.strike("server", in_mid_answer=False, during_recovery=True)
            await self._server.kill()
            self._server.launch()
        await self._server.ready()

    async def _postgres_back(self, victim: int) -> None:
        """Mostly wait until the server has brought it back, and sometimes go on at once."""
        patient, deadline = self._chance.random() < 0.7, time.monotonic() + END_SECONDS
        while patient and self._server.child("postgres") in (None, victim):
            assert time.monotonic() < deadline, self._server.words()
            await asyncio.sleep(0.02)

    async def _moment(self, bundled: bool, talking: list["asyncio.Task[None]"]) -> None:
        """Wait until answers are half told; of the bundled model, if it is to be killed."""
        deadline = time.monotonic() + MOMENT_SECONDS
        while True:
            for task in talking:
                if task.done():
                    task.result()
            half = sum(talk.answering for talk in self._talks)
            if half >= 2 if not bundled else any(talk.answering and talk.bundled for talk in self._talks):
                return
            assert time.monotonic() < deadline, f"nobody is answered any more:\n{self._server.words()}"
            await asyncio.sleep(0.02)


async def storm(seed: int, kills: int, *, lease_seconds: float) -> Report:
    """Install a server, let a storm rage over it, check everything, and see that nothing of it is left."""
    async with installed(lease_seconds=lease_seconds) as server:
        server.anew = True  # how long people wait after a kill has a start in it
        credentials = server.credentials
        async with (
            Wire(server.url, credentials.token) as wire,
            AsyncPorch(server.url, credentials.token) as porch,
        ):
            await porch.me()  # a client that has met its server waits for it longer
            talks = await _gather(wire, porch, credentials.workspace, seed)
            raging = Storm(server, talks, seed, kills)
            await raging.rage()
            await check_talks(wire, talks, raging.report.count)
            server.check_log()
        postmasters = [found for found in server.belongings() if found.kind == "postgres"]
        assert [found.parent for found in postmasters] == [server.pid], postmasters
        await server.stop()
        assert not (left := await server.abandoned()), left
        return raging.report


async def _gather(wire: Wire, porch: AsyncPorch, workspace: str, seed: int) -> list[Talk]:
    agents = f"/api/v1/workspaces/{workspace}/agents"
    actor = {"name": "actor", "instructions": "Act.", "model": "scripted:test", "tools": ["clock"]}
    settings = {"max_output_tokens": 100}
    bundled = {"name": "bundled", "instructions": "Tell stories.", "settings": settings}
    await wire.make(agents, actor)
    await wire.make(agents, {**bundled, "model": "local:smollm2"})
    talks: list[Talk] = []
    for number in range(TALKS + 1):
        name = "bundled" if number == TALKS else "actor"
        # The bundled model reads a long conversation for a long time.
        count = 12 if name == "bundled" else 1
        conversations = [(await wire.make(f"{agents}/{name}/conversations"))["id"] for _ in range(count)]
        chance = random.Random(f"{seed} {number}")
        talks.append(Talk(wire, porch, chance, conversations, name == "bundled"))
    return talks
