"""Figures of a stretch of time, read from the sums that runs leave behind; never from the runs themselves.

A range has at most 120 slots, so what is read grows with the number of models and not with that of runs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from porch.storage.database import Database
from porch.telemetry.spread import add

SLOWEST = 10
DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch of time up to now, in slots of so many minutes, of which each `step` minutes one is marked."""

    name: str
    label: str
    span: timedelta
    minutes: int
    step: int

    @property
    def past(self) -> str:
        """What stands behind "the last"."""
        return self.label.removeprefix("1 ")

    def slots(self, now: datetime) -> range:
        """Its slots, the last one the one that is now."""
        last = int(now.timestamp()) // (60 * self.minutes)
        return range(last - int(self.span / timedelta(minutes=self.minutes)) + 1, last + 1)

    def marks(self, slots: range) -> list[int]:
        """The slots to mark below a chart: round times in equal steps; of days, the last midnight is one."""
        last = slots[-1] - slots[-1] % (min(self.step, DAY) // self.minutes)
        return [slot for slot in slots if (slot - last) % (self.step // self.minutes) == 0]

    def moment(self, slot: int) -> datetime:
        """When a slot begins."""
        return datetime.fromtimestamp(slot * 60 * self.minutes, UTC)


RANGES = {
    one.name: one
    for one in (
        Range("1h", "1 hour", timedelta(hours=1), 5, 15),
        Range("24h", "24 hours", timedelta(days=1), 60, 240),
        Range("7d", "7 days", timedelta(days=7), 360, 2 * DAY),
        Range("30d", "30 days", timedelta(days=30), 360, 7 * DAY),
    )
}


@dataclass(slots=True)
class Tally:
    """What was counted; the lists are spreads."""

    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    broken: int = 0
    starts: int = 0
    starts_failed: int = 0
    begun: int = 0
    continued: int = 0
    codes: dict[str, int] = field(default_factory=dict[str, int])
    first_text: list[int] = field(default_factory=list[int])
    first_chunk: list[int] = field(default_factory=list[int])
    per_chunk: list[int] = field(default_factory=list[int])
    duration: list[int] = field(default_factory=list[int])
    takeover: list[int] = field(default_factory=list[int])

    @property
    def runs(self) -> int:
        """How many runs ended, however they did."""
        return self.finished + self.failed + self.cancelled


_COUNTS = ("finished", "failed", "cancelled", "broken", "starts", "starts_failed", "begun", "continued")
_SPREADS = ("first_text", "first_chunk", "per_chunk", "duration", "takeover")


@dataclass(frozen=True, slots=True)
class Slot:
    """One model's figures in one slot; of the model "" what is of none."""

    slot: int
    model: str
    tally: Tally


@dataclass(frozen=True, slots=True)
class SlowRun:
    """A run whose first text took long. `conversation` is None where it is gone."""

    run: UUID
    conversation: UUID | None
    agent: str
    model: str
    started: datetime
    first_text_ms: int
    duration_ms: int
    outcome: str


async def read_slots(database: Database, workspace: UUID, minutes: int, slots: range) -> list[Slot]:
    """A workspace's figures of these slots. Raises DatabaseUnavailable."""
    async with database.tenant(workspace) as connection:
        rows = await connection.fetch(
            f"SELECT slot, model, codes, {', '.join(_COUNTS + _SPREADS)} FROM porch.figure_sums "  # noqa: S608 - our own names
            "WHERE workspace_id = $1 AND minutes = $2 AND slot BETWEEN $3 AND $4 ORDER BY slot, model",
            workspace,
            minutes,
            slots.start,
            slots.stop - 1,
        )
    return [Slot(row["slot"], row["model"], _tally(row)) for row in rows]


def _tally(row: Any) -> Tally:
    values = {name: row[name] for name in _COUNTS + _SPREADS}
    return Tally(**values, codes=msgspec.json.decode(row["codes"], type=dict[str, int]))


def sum_up(slots: Iterable[Slot]) -> Tally:
    """All of them as one."""
    total = Tally()
    for slot in slots:
        tally = slot.tally
        for name in _COUNTS:
            setattr(total, name, getattr(total, name) + getattr(tally, name))
        for name in _SPREADS:
            setattr(total, name, add(getattr(total, name), getattr(tally, name)))
        for code, count in tally.codes.items():
            total.codes[code] = total.codes.get(code, 0) + count
    return total


def by_model(slots: Sequence[Slot]) -> dict[str, list[Slot]]:
    """Each model's slots, the most used model first."""
    found: dict[str, list[Slot]] = {}
    for slot in slots:
        if slot.model:
            found.setdefault(slot.model, []).append(slot)
    return dict(sorted(found.items(), key=lambda item: (-sum(slot.tally.runs for slot in item[1]), item[0])))


# Hour by hour out of an index, so that it costs the same whatever the number of runs.
SLOWEST_RUNS = """
  SELECT f.*, c.id AS conversation_id
  FROM (
    SELECT s.* FROM generate_series($2::integer, $3::integer) AS h (hour)
    CROSS JOIN LATERAL (
      SELECT x.run_id, x.agent, x.answered, x.started_at, x.first_text_ms, x.duration_ms, x.outcome
      FROM porch.run_figures x
      WHERE x.workspace_id = $1 AND x.hour = h.hour AND x.first_text_ms IS NOT NULL AND x.started_at >= $4
      ORDER BY x.first_text_ms DESC NULLS LAST LIMIT $5) s
    ORDER BY s.first_text_ms DESC LIMIT $5) f
  LEFT JOIN porch.runs r ON r.workspace_id = $1 AND r.id = f.run_id
  LEFT JOIN porch.conversations c
    ON c.workspace_id = $1 AND c.id = r.conversation_id AND c.deleted_at IS NULL
  ORDER BY f.first_text_ms DESC
"""


async def read_slowest(
    database: Database, workspace: UUID, since: datetime, now: datetime, limit: int = SLOWEST
) -> list[SlowRun]:
    """The runs that let people wait longest for their first text: hour by hour out of an index.

    Raises DatabaseUnavailable.
    """
    async with database.tenant(workspace) as connection:
        rows = await connection.fetch(
            SLOWEST_RUNS,
            workspace,
            int(since.timestamp()) // 3600,
            int(now.timestamp()) // 3600,
            since,
            limit,
        )
    return [
        SlowRun(
            run=row["run_id"],
            conversation=row["conversation_id"],
            agent=row["agent"],
            model=row["answered"],
            started=row["started_at"],
            first_text_ms=row["first_text_ms"],
            duration_ms=row["duration_ms"],
            outcome=row["outcome"],
        )
        for row in rows
    ]


async def read_beginning(database: Database, workspace: UUID) -> tuple[datetime | None, datetime | None]:
    """When the workspace was made, and when it got its first answer. Raises DatabaseUnavailable."""
    async with database.tenant(workspace) as connection:
        row = await connection.fetchrow(
            "SELECT w.created_at, a.answered_at FROM porch.workspaces w "
            "LEFT JOIN porch.first_answers a ON a.workspace_id = w.id WHERE w.id = $1",
            workspace,
        )
    return (row["created_at"], row["answered_at"]) if row else (None, None)
