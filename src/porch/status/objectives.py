"""What an installation promises its people, as data: objectives, and the errors that each leaves room for.

docs/slo.md holds the same table; a test compares them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from porch.status.tally import Tally
from porch.telemetry.spread import within

WINDOW_DAYS = 30
FIRST_TEXT_MS = 4000.0
TAKEOVER_MS = 5000.0


@dataclass(frozen=True, slots=True)
class Objective:
    """At least `target` of what is counted is good, over WINDOW_DAYS. `count` answers how many were, of how many."""

    id: str
    title: str
    promise: str
    target: float
    count: Callable[[Tally], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left of an objective's room for errors."""

    objective: Objective
    good: int
    total: int

    @property
    def bad(self) -> int:
        """How many were not good."""
        return self.total - self.good

    @property
    def kept(self) -> float | None:
        """The share that was good; None where nothing was counted."""
        return self.good / self.total if self.total else None

    @property
    def allowed(self) -> float:
        """How many may be bad among so many."""
        return (1 - self.objective.target) * self.total

    @property
    def burnt(self) -> float | None:
        """How much of the room is used up, 1 for all of it; None where nothing was counted."""
        return self.bad / self.allowed if self.total else None

    @property
    def state(self) -> Literal["nothing yet", "kept", "at risk", "spent"]:
        """In a word; at risk from three quarters on."""
        if self.burnt is None:
            return "nothing yet"
        # A hundredth of slack: 0.05 has no exact form.
        return "spent" if self.burnt > 1.0001 else "at risk" if self.burnt >= 0.75 else "kept"


def _first_text(tally: Tally) -> tuple[int, int]:
    return within(tally.first_text, FIRST_TEXT_MS), sum(tally.first_text)


def _ended(tally: Tally) -> tuple[int, int]:
    return tally.finished, tally.finished + tally.failed


def _unbroken(tally: Tally) -> tuple[int, int]:
    runs = tally.finished + tally.failed + tally.cancelled
    return runs - tally.broken, runs


def _takeover(tally: Tally) -> tuple[int, int]:
    return within(tally.takeover, TAKEOVER_MS), sum(tally.takeover)


def _starts(tally: Tally) -> tuple[int, int]:
    return tally.starts - tally.starts_failed, tally.starts


OBJECTIVES = (
    Objective(
        "first-text",
        "Time to first text",
        "People see the first word of an answer within 4 s of sending their message.",
        0.95,
        _first_text,
    ),
    Objective(
        "answers-end", "Answers that end", "Answers come to their end instead of failing.", 0.99, _ended
    ),
    Objective(
        "unbroken", "Unbroken streams", "No model call fails after it has begun to answer.", 0.995, _unbroken
    ),
    Objective(
        "takeover",
        "Takeovers",
        "After a crash, a run goes on within 5 s of the last sign of it.",
        0.95,
        _takeover,
    ),
    Objective("starts", "Messages taken", "A message that may be sent is taken.", 0.999, _starts),
)


def budgets(tally: Tally) -> list[Budget]:
    """Every objective's budget."""
    return [Budget(objective, *objective.count(tally)) for objective in OBJECTIVES]


def table() -> str:
    """The objectives as the table of docs/slo.md."""
    rows = [
        f"| {one.title} | {one.promise} | {percent(one.target)} | {percent(1 - one.target)} |"
        for one in OBJECTIVES
    ]
    return "\n".join(["| objective | what is promised | target | error budget |", "|---|---|--:|--:|", *rows])


def percent(share: float) -> str:
    """0.995 as "99.5 %"."""
    return f"{share * 100:.4g} %"
