"""An onslaught on a fleet: everything is killed, stopped, frozen or left, until enough was said."""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from porch.client import AsyncPorch
from porch.contract.events import (
    AnyEvent,
    RunFailed,
    RunResumed,
    ToolCallFinished,
    ToolError,
    ToolResultFinished,
)
from tests.chaos.books import check_talks
from tests.chaos.deciders import Deciders
from tests.chaos.fleet import Anywhere, Fleet, fleet, until
from tests.chaos.server import Server
from tests.chaos.talk import Sent
from tests.chaos.wanderers import Wanderer
from tests.valkey import ValkeyServer, valkey_server

Blow = Literal["kill", "term", "freeze", "postgres", "valkey", "tool"]
BLOWS: tuple[Blow, ...] = ("kill", "term", "freeze", "postgres", "valkey", "tool")
WEIGHTS = (4, 3, 2, 2, 2, 4)
TALKS = 8
SHARING = 3
END_SECONDS = 30.0
MOMENT_SECONDS = 0.2
# What a server says that cannot start since PostgreSQL went away before, or while, it did.
AWAY = ("does not answer", "cannot be reached just now", "was lost in the middle")


@dataclass
class Account:
    """What an onslaught came to."""

    seed: int
    blows: Counter[Blow] = field(default_factory=Counter[Blow])
    ends: Counter[str] = field(default_factory=Counter[str])
    runs: int = 0
    sent_again: int = 0
    takeovers: int = 0
    resyncs: int = 0
    connections: int = 0
    results: int = 0
    interrupted: int = 0
    tools_failed: int = 0
    calls: list[tuple[str, str, bool, int]] = field(default_factory=list[tuple[str, str, bool, int]])
    seconds: float = 0.0
    to_the_end: float = 0.0
    waited: str = ""

    def count(self, sent: Sent, events: list[AnyEvent]) -> None:
        """Note a message whose run was found in order."""
        end = events[-1]
        self.runs += 1
        self.sent_again += sent.tries > 1
        self.ends[end.error.code if isinstance(end, RunFailed) else str(end.__struct_config__.tag)] += 1
        takeovers = sum(isinstance(event, RunResumed) and event.reason == "takeover" for event in events)
        self.takeovers += takeovers
        for story in sent.stories:
            self.resyncs += len(story.resyncs)
            self.connections += story.connections
        called = {event.call: event for event in events if isinstance(event, ToolCallFinished)}
        for event in events:
            if isinstance(event, ToolResultFinished):
                self.results += 1
                code = event.error.code if isinstance(event.error, ToolError) else ""
                self.interrupted += code == "interrupted"
                self.tools_failed += code == "tool_failed"
                call = called[event.call]
                name = str((call.arguments or {}).get("n"))
                self.calls.append(
                    ("read" if call.name == "look_around" else "write", name, not code, takeovers)
                )

    def check_marks(self, marks: list[str]) -> None:
        """No tool with a result ran twice, and none whose effect stays ran again at all."""
        left = Counter(marks)
        for kind, name, succeeded, takeovers in self.calls:
            times = left[f"{kind} {name}"]
            assert times >= succeeded, f"{kind} {name} has a result and no mark"
            most = 1 if kind == "write" else 1 + takeovers
            assert times <= most, f"{kind} {name} ran {times} times in a run with {takeovers} takeovers"

    def __str__(self) -> str:
        blows = ", ".join(f"{count} {blow}" for blow, count in self.blows.most_common())
        ends = ", ".join(f"{count} {end}" for end, count in self.ends.most_common())
        return (
            f"onslaught: seed {self.seed}, {sum(self.blows.values())} blows in {self.seconds:.0f} s ({blows})\n"
            f"  {self.runs} runs: {ends}; the last {self.to_the_end:.1f} s after the last blow\n"
            "  lost messages 0, doubled events 0, runs without an end 0, tools run again after a result 0\n"
            f"  {self.takeovers} takeovers, {self.resyncs} resyncs, {self.connections} connections of readers, "
            f"{self.sent_again} messages sent more than once\n"
            f"  {self.results} results of tools, {self.interrupted} interrupted, {self.tools_failed} whose process "
            f"died\n  {self.waited}"
        )


class Onslaught:
    """Blows by a schedule that the seed decides, while people talk."""

    def __init__(
        self,
        fleet: Fleet,
        valkey: ValkeyServer,
        talks: list[Wanderer],
        deciders: Deciders,
        seed: int,
        runs: int,
    ) -> None:
        self.account = Account(seed)
        self._fleet = fleet
        self._valkey = valkey
        self._talks = talks
        self._deciders = deciders
        self._runs = runs
        self._chance = random.Random(seed)
        self._lease = fleet.servers[0].settings.lease_seconds
        self._mending: set[asyncio.Task[None]] = set()

    async def rage(self) -> None:
        """Strike until enough was said, then let everybody come to an end."""
        began = time.monotonic()
        talking = [asyncio.create_task(talk.go()) for talk in self._talks]
        deciding = asyncio.create_task(self._deciders.go())
        try:
            while not self._enough():
                await asyncio.sleep(self._chance.uniform(0.1, self._lease))
                for task in [*talking, deciding, *self._mending]:
                    if task.done():
                        task.result()
                await self._strike()
            for talk in self._talks:
                talk.enough = True
            last = time.monotonic()
            await asyncio.gather(*self._mending)
            async with asyncio.timeout(END_SECONDS):
                await asyncio.gather(*talking)
                await self._deciders.come_to_an_end()
            self.account.to_the_end = time.monotonic() - last
            self.account.seconds = last - began
        finally:
            for task in (everybody := [*talking, deciding, *self._mending]):
                task.cancel()
            await asyncio.gather(*everybody, return_exceptions=True)

    def _enough(self) -> bool:
        said = sum(sent.acknowledged for talk in self._talks for sent in talk.sent)
        return said >= self._runs and len(self.account.blows) == len(BLOWS) and self._deciders.seen

    async def _strike(self) -> None:
        missing: list[Blow] = [blow for blow in BLOWS if not self.account.blows[blow]]
        blow: Blow = self._chance.choice(missing) if missing else self._chance.choices(BLOWS, WEIGHTS)[0]
        if blow == "tool":
            await self._strike_tool()
        elif blow == "postgres":
            if (pid := self._fleet.postmaster()) is not None:
                self.account.blows[blow] += 1
                os.kill(pid, signal.SIGKILL)
                await until(
                    lambda: self._fleet.postmaster() not in (None, pid),
                    seconds=20,
                    what="PostgreSQL stays away",
                )
        elif blow == "valkey":
            self.account.blows[blow] += 1
            await self._valkey.kill()
            await asyncio.sleep(self._chance.uniform(0, self._lease))
            await self._valkey.start()
        elif not self._mending:  # one server is always there: what is killed are replicas, not the service
            self.account.blows[blow] += 1
            task = asyncio.create_task(self._strike_server(blow))
            self._mending.add(task)
            task.add_done_callback(self._mending.discard)

    async def _strike_server(self, blow: Blow) -> None:
        server = self._chance.choice(self._fleet.servers)
        if self._chance.random() < 0.5:
            # While a decision is written, or its run is taken up again.
            await self._deciders.moment(seconds=self._lease / 2)
            await asyncio.sleep(self._chance.uniform(0, MOMENT_SECONDS))
        if blow == "freeze":
            # Longer than its lease: others have taken its runs when it wakes, and it must not say a word of them.
            server.signal(signal.SIGSTOP)
            await asyncio.sleep(self._lease * self._chance.uniform(0.5, 2.5))
            server.signal(signal.SIGCONT)
            return
        server.signal(signal.SIGKILL if blow == "kill" else signal.SIGTERM)
        await server.gone()
        await asyncio.sleep(self._chance.uniform(0, self._lease))
        await self._bring_back(server)

    @staticmethod
    async def _bring_back(server: Server) -> None:
        """As a supervisor does, which starts it once more where PostgreSQL was just away."""
        deadline = time.monotonic() + END_SECONDS
        while True:
            try:
                await server.start()
            except AssertionError as error:
                if not any(words in str(error) for words in AWAY) or time.monotonic() > deadline:
                    raise
                await server.gone()
            else:
                return

    async def _strike_tool(self) -> None:
        deadline = time.monotonic() + 5
        while not (victims := self._fleet.marking()):
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(0.02)
        self.account.blows["tool"] += 1
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._chance.choice(victims), signal.SIGKILL)


async def onslaught(seed: int, runs: int, *, replicas: int, lease_seconds: float) -> Account:
    """Start a fleet, strike it until `runs` messages were acknowledged, and check everything."""
    async with (
        valkey_server() as valkey,
        fleet(replicas, lease_seconds=lease_seconds, live_url=valkey.url) as found,
    ):
        first = found.servers[0]
        token, workspace = first.credentials.token, first.credentials.workspace
        urls = [server.url for server in found.servers]
        async with Anywhere(urls, token, random.Random(seed)) as wire, AsyncPorch(first.url, token) as porch:
            await porch.me()  # a client that has met its server waits for it longer
            conversations = await _converse(wire, f"/api/v1/workspaces/{workspace}/agents")
            talks = [
                Wanderer(wire, porch, random.Random(f"{seed} {number}"), [conversation], bundled=False)
                for number, conversation in enumerate(conversations)
            ]
            deciders = Deciders(wire, random.Random(f"{seed} who decides"), expires_in=found.expires_in)
            raging = Onslaught(found, valkey, talks, deciders, seed, runs)
            await raging.rage()

            def count(sent: Sent, events: list[AnyEvent]) -> None:
                raging.account.count(sent, events)
                deciders.count(events)

            await check_talks(wire, talks, count)
            await until(lambda: not found.marking(), seconds=5, what="a tool's process is left")
            await deciders.check(Counter(found.left_marks))
            raging.account.waited = str(deciders)
        for server in found.servers:
            server.check_log()
        raging.account.check_marks(found.left_marks)
        await found.stop()
        return raging.account


async def _converse(wire: Anywhere, agents: str) -> list[str]:
    """A conversation for each who talks; the last ones share one, in which messages wait for each other."""
    agent = {
        "instructions": "Act.",
        "model": "scripted:test",
        "tools": ["leave_mark", "look_around", "carve_mark"],
    }
    await wire.make(agents, {**agent, "name": "actor"})
    await wire.make(agents, {**agent, "name": "patient", "concurrency": "queue"})
    own = [(await wire.make(f"{agents}/actor/conversations"))["id"] for _ in range(TALKS - SHARING)]
    return own + [(await wire.make(f"{agents}/patient/conversations"))["id"]] * SHARING
