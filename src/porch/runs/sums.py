"""Figures of many runs added up by time and model, as `porch.figure_sums` keeps them."""

from dataclasses import dataclass, field
from uuid import UUID

from msgspec import Struct
from msgspec import field as given

from porch.runs.stopwatch import CallTimes, RunTimes, made_at
from porch.telemetry.spread import BUCKETS, bucket

GRAINS = (5, 60, 360)
NO_MODEL = ""
A_DAY = 86400.0


class Sum(Struct, kw_only=True):
    """One workspace's figures of one model in one slot of so many minutes."""

    workspace: UUID
    minutes: int
    slot: int
    model: str
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    broken: int = 0
    starts: int = 0
    starts_failed: int = 0
    begun: int = 0
    continued: int = 0
    codes: dict[str, int] = given(default_factory=dict[str, int])
    first_text: list[int] = given(default_factory=list[int])
    first_chunk: list[int] = given(default_factory=list[int])
    per_chunk: list[int] = given(default_factory=list[int])
    duration: list[int] = given(default_factory=list[int])
    takeover: list[int] = given(default_factory=list[int])


@dataclass(slots=True)
class Sums:
    """What has been added up."""

    found: dict[tuple[UUID, int, int, str], Sum] = field(
        default_factory=dict[tuple[UUID, int, int, str], Sum]
    )

    def add_run(self, run: RunTimes) -> None:
        """A run with its model calls; of one that pauses, or is left, what is known until then."""
        for total in self._at(run.workspace, run.began, run.model):
            total.first_text = _put(total.first_text, run.first_text)
            total.takeover = _put(total.takeover, run.gap)
            if not run.over:
                continue
            if run.outcome == "finished":
                total.finished += 1
            elif run.outcome == "failed":
                total.failed += 1
                code = run.code or "unknown"
                total.codes[code] = total.codes.get(code, 0) + 1
            else:
                total.cancelled += 1
            total.broken += run.broke
            total.duration = _put(total.duration, run.duration)
        for call in run.calls:
            self._add_call(call)

    def _add_call(self, call: CallTimes) -> None:
        for total in self._at(call.workspace, call.began, call.asked):
            total.first_chunk = _put(total.first_chunk, call.first_chunk)
            total.per_chunk = _put(total.per_chunk, call.per_chunk)

    def add_starts(self, workspace: UUID, at: float, times: int, *, failed: bool) -> None:
        """Messages that were taken, or were not by a fault of this side."""
        for total in self._at(workspace, at, NO_MODEL):
            total.starts += times
            total.starts_failed += times * failed

    def add_conversation(self, run: RunTimes) -> None:
        """A conversation that begins, or goes on within a day; counted where it began."""
        if run.conversation is None or run.message not in (1, 2):
            return
        began = made_at(run.conversation)
        if run.message == 2 and run.began - began > A_DAY:
            return
        for total in self._at(run.workspace, began, NO_MODEL):
            total.begun += run.message == 1
            total.continued += run.message == 2

    def _at(self, workspace: UUID, moment: float, model: str) -> list[Sum]:
        totals: list[Sum] = []
        for minutes in GRAINS:
            key = (workspace, minutes, int(moment // (60 * minutes)), model)
            total = self.found.get(key)
            if total is None:
                total = self.found[key] = Sum(workspace=workspace, minutes=minutes, slot=key[2], model=model)
            totals.append(total)
        return totals


def _put(counts: list[int], seconds: float | None) -> list[int]:
    if seconds is not None:
        counts = counts or [0] * BUCKETS
        counts[bucket(seconds * 1000)] += 1
    return counts
