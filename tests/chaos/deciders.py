"""People who decide about calls that wait, through whichever server answers, and remember what they were told."""

import asyncio
import contextlib
import random
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from typing import Literal, get_args

from porch.contract.events import (
    AnyEvent,
    ApprovalRequested,
    ApprovalResolved,
    Decision,
    ToolError,
    ToolResultFinished,
)
from tests.chaos.wire import LOST, Wire, check_problem

Fate = Literal["approve", "deny", "expire", "quarrel"]
FATES: tuple[Fate, ...] = get_args(Fate)
# Whoever is neither quick nor slow meets the moment at which a call expires.
PATIENCE = (0.1, 0.5, 1.2)
PAUSE_SECONDS = 0.1
PASSING = ("unavailable", "database_unavailable")
EXPIRED = "system:expiry"


@dataclass
class Case:
    """A call that somebody was asked about: what was meant to become of it, what was answered, what became of it."""

    approval: str
    run: str
    name: str = ""
    fate: Fate | None = None
    tried: set[Decision] = field(default_factory=set[Decision])
    acknowledged: set[Decision] = field(default_factory=set[Decision])
    refused: set[Decision] = field(default_factory=set[Decision])
    told: ApprovalResolved | None = None
    result: ToolResultFinished | None = None

    @property
    def path(self) -> str:
        """Where it is decided."""
        return f"/api/v1/runs/{self.run}/approvals/{self.approval}"


class Deciders:
    """Finds what waits and lets somebody decide, two at once, or nobody; calls expire `expires_in` seconds after."""

    def __init__(self, wire: Wire, chance: random.Random, *, expires_in: float) -> None:
        self.cases: dict[str, Case] = {}
        self._wire = wire
        self._chance = chance
        self._expires_in = expires_in
        # The first ones meet every fate, whatever the seed.
        self._fates = cycle(FATES)
        self._deciding: set[asyncio.Task[None]] = set()
        self._deciding_now = asyncio.Event()

    async def moment(self, *, seconds: float) -> None:
        """Wait until somebody decides, for so long at most."""
        self._deciding_now.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._deciding_now.wait()

    @property
    def seen(self) -> bool:
        """Whether a call was approved, one denied, and one left until it expired."""
        met = {decision for case in self.cases.values() for decision in case.acknowledged}
        return len(met) == 2 and any(case.fate == "expire" for case in self.cases.values())

    async def go(self) -> None:
        """Look for what waits until cancelled."""
        try:
            while True:
                await self._look()
                for task in [task for task in self._deciding if task.done()]:
                    self._deciding.remove(task)
                    task.result()
                await asyncio.sleep(PAUSE_SECONDS)
        finally:
            for task in self._deciding:
                task.cancel()

    async def come_to_an_end(self) -> None:
        """Wait for who still tries to decide."""
        await asyncio.gather(*self._deciding)

    async def _look(self) -> None:
        try:
            answer = await self._wire.ask("GET", "/api/v1/approvals?limit=100")
        except LOST:
            return
        if answer.status != 200:
            assert check_problem(answer) in PASSING, answer
            return
        for item in answer.json["items"]:
            if item["id"] not in self.cases:
                case = Case(item["id"], item["run"], item["arguments"]["n"], next(self._fates))
                self.cases[case.approval] = case
                self._deciding.add(asyncio.create_task(self._settle(case)))

    async def _settle(self, case: Case) -> None:
        await asyncio.sleep(self._chance.uniform(0, self._chance.choice(PATIENCE)) * self._expires_in)
        match case.fate:
            case "approve" | "deny":
                await self._say(case, case.fate)
                if self._chance.random() < 0.3:
                    await self._say(case, case.fate)
            case "quarrel":
                await asyncio.gather(self._say(case, "approve"), self._say(case, "deny"))
            case _:
                return

    async def _say(self, case: Case, decision: Decision) -> None:
        """Decide, again and again until somebody says that it is so, or that it was decided otherwise."""
        while True:
            case.tried.add(decision)
            self._deciding_now.set()
            try:
                answer = await self._wire.ask("POST", case.path, {"decision": decision})
            except LOST:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if answer.status == 200:
                assert (answer.json["id"], answer.json["decision"]) == (case.approval, decision), answer
                case.acknowledged.add(decision)
                return
            code = check_problem(answer)
            if code == "decided_already":
                case.refused.add(decision)
                return
            assert code in PASSING, answer
            await asyncio.sleep(PAUSE_SECONDS)

    # -- afterwards

    def count(self, events: list[AnyEvent]) -> None:
        """Note what a run's journal says of the calls that waited."""
        resolved = {event.approval: event for event in events if isinstance(event, ApprovalResolved)}
        results = {event.call: event for event in events if isinstance(event, ToolResultFinished)}
        asked = [event for event in events if isinstance(event, ApprovalRequested)]
        assert len(resolved) == sum(isinstance(event, ApprovalResolved) for event in events), "decided twice"
        assert resolved.keys() == {event.approval for event in asked}
        for event in asked:
            case = self.cases.setdefault(event.approval, Case(event.approval, event.run))
            assert case.run == event.run
            assert case.name in ("", event.arguments["n"]), "what was shown is not what was asked"
            case.name, case.told, case.result = (
                event.arguments["n"],
                resolved[event.approval],
                results.get(event.call),
            )

    async def check(self, marks: Counter[str]) -> None:
        """What was acknowledged is so in the inbox, in the journal, and in what was done."""
        for case in self.cases.values():
            state = await self._wire.get(f"/api/v1/approvals/{case.approval}")
            assert case.told, f"no run asks for {case.approval}"
            decision, by = state["decision"], state["decided_by"]
            assert (case.told.decision, case.told.by) == (decision, by), case
            assert case.acknowledged <= {decision}, f"a decision was lost: {case}, and now {state}"
            assert decision not in case.refused, f"what was refused is so: {case}, and now {state}"
            assert decision in case.tried if by != EXPIRED else decision == "deny", f"nobody said so: {case}"
            self._check_deed(case, marks[f"write {case.name}"])

    @staticmethod
    def _check_deed(case: Case, times: int) -> None:
        assert case.told
        assert case.result, f"a call without a result: {case}"
        error = case.result.error
        code = error.code if isinstance(error, ToolError) else ""
        if case.told.decision == "deny":
            assert (code, times) == ("denied", 0), f"a denied call has {code!r} and ran {times} times: {case}"
        else:
            assert code in ("", "interrupted", "tool_failed"), case
            assert times == 1 if not code else times <= 1, f"an approved call ran {times} times: {case}"

    def __str__(self) -> str:
        ends = Counter(
            "expired" if case.told.by == EXPIRED else f"{case.told.decision} by somebody"
            for case in self.cases.values()
            if case.told
        )
        decided = ", ".join(f"{count} {end}" for end, count in ends.most_common())
        said = sum(len(case.acknowledged) for case in self.cases.values())
        late = sum(len(case.refused) for case in self.cases.values())
        return (
            f"{len(self.cases)} calls waited for somebody: {decided}; {said} decisions acknowledged, lost 0, "
            f"{late} refused since there was one; denied calls that ran 0"
        )
