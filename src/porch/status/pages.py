"""`/status/latency`: how long answers take and how many come to an end, drawn by the server from our own tables."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request
from starlette.responses import Response

from porch.contract.ids import format_id
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.pages import page_router, render
from porch.http.state import database
from porch.status.chart import HEIGHT, WIDTH, across, draw
from porch.status.objectives import (
    FIRST_TEXT_MS,
    WINDOW_DAYS,
    Budget,
    budgets,
    percent,
)
from porch.status.setups import read_setups
from porch.status.tally import (
    RANGES,
    Range,
    Slot,
    Tally,
    by_model,
    read_beginning,
    read_slots,
    read_slowest,
    sum_up,
)
from porch.storage.database import Database
from porch.telemetry.spread import BUCKETS, bucket, percentile

router = page_router("status")

Administers = Annotated[Principal, requires("admin:workspaces")]
View = dict[str, Any]

SHARES = (0.5, 0.95, 0.99)
MOST_MODELS = 12
MOST_CODES = 12
TONES = {"kept": "good", "at risk": "warn", "spent": "danger", "nothing yet": ""}


@dataclass(frozen=True, slots=True)
class Found:
    """What the page is drawn from."""

    shown: Range
    slots: range
    rows: list[Slot]
    window: list[Slot]


@router.get("/status/latency")
async def get_latency(
    request: Request,
    principal: Administers,
    chosen: Annotated[str, Query(alias="range", max_length=8)] = "24h",
) -> Response:
    """Objectives and what is left of their budgets, times by model, the slowest runs, and whether people are served."""
    shown = RANGES.get(chosen, RANGES["24h"])
    store, now = database(request), datetime.now(UTC)
    # The server's starts and its figures for Prometheus are the whole installation's.
    at_home = principal.workspace == request.app.state.home
    found = await _read(store, principal.workspace, shown, now)
    slowest = await read_slowest(store, principal.workspace, now - shown.span, now)
    beginning = await read_beginning(store, principal.workspace)
    # Hundreds of spreads are added up and looked through: beside the streams of others, not between their words.
    view = await asyncio.to_thread(_view, found)
    return render(
        request,
        "status/latency.html",
        nav="status",
        ranges=list(RANGES.values()),
        chosen=shown,
        days=WINDOW_DAYS,
        slowest=[
            {
                "agent": run.agent,
                "model": run.model,
                "started": run.started,
                "first_text": duration(run.first_text_ms),
                "duration": duration(run.duration_ms),
                "outcome": run.outcome,
                "href": f"/chat/{format_id('conv', run.conversation)}" if run.conversation else "",
            }
            for run in slowest
        ],
        outcomes=_outcomes(request, beginning, at_home=at_home) if request.app.state.outcomes else None,
        at_home=at_home,
        width=WIDTH,
        height=HEIGHT,
        **view,
    )


async def _read(store: Database, workspace: UUID, shown: Range, now: datetime) -> Found:
    slots, month = shown.slots(now), RANGES["30d"]
    rows = await read_slots(store, workspace, shown.minutes, slots)
    window = rows if shown is month else await read_slots(store, workspace, month.minutes, month.slots(now))
    return Found(shown, slots, rows, window)


def _view(found: Found) -> View:
    total, window, models = sum_up(found.rows), sum_up(found.window), by_model(found.rows)
    burning = {budget.objective.id: budget.burnt for budget in budgets(total)}
    codes = sorted(total.codes.items(), key=lambda item: (-item[1], item[0]))
    return {
        "empty": not window.runs and not window.starts,
        "quiet": not total.runs,
        "budgets": [_budget(budget, burning[budget.objective.id]) for budget in budgets(window)],
        "models": [
            _model(name, slots, found, number)
            for number, (name, slots) in enumerate(list(models.items())[:MOST_MODELS])
        ],
        "more_models": max(0, len(models) - MOST_MODELS),
        "codes": codes[:MOST_CODES],
        "total": total,
        "went_on": _share(total.continued, total.begun),
        "ended": _share(total.finished, total.finished + total.failed),
    }


def _budget(budget: Budget, burning: float | None) -> View:
    """An objective as a row: `burning` is its pace in the range that is shown, 1 for as fast as it may."""
    objective, burnt = budget.objective, budget.burnt
    return {
        "title": objective.title,
        "promise": objective.promise,
        "target": percent(objective.target),
        "kept": "–" if budget.kept is None else percent(budget.kept),
        "bad": budget.bad,
        "total": budget.total,
        "burnt": "–" if burnt is None else f"{burnt * 100:,.0f} %",
        "filled": 0 if burnt is None else min(100, round(burnt * 100)),
        "pace": "–" if burning is None else f"{burning:,.1f} ×",
        "state": (budget.state, TONES[budget.state]),
    }


def _model(name: str, slots: list[Slot], found: Found, number: int) -> View:
    total = sum_up(slots)
    at = {slot.slot: slot.tally for slot in slots}
    lines = [
        [percentile(at[slot].first_text, share) if slot in at else None for slot in found.slots]
        for share in SHARES
    ]
    chart = draw(lines, FIRST_TEXT_MS)
    return {
        "id": f"model-{number}",
        "name": name,
        "runs": total.runs,
        "failed": total.failed,
        "first_text": [duration(percentile(total.first_text, share)) for share in SHARES],
        "first_chunk": [duration(percentile(total.first_chunk, share)) for share in SHARES],
        "per_chunk": [duration(percentile(total.per_chunk, share)) for share in SHARES],
        "whole": [duration(percentile(total.duration, share)) for share in SHARES],
        "paths": list(zip(("p50", "p95", "p99"), chart.paths, chart.dots, strict=True)),
        "scale": [duration(value) for value in chart.scale],
        "limit": chart.limit,
        "limit_label": duration(FIRST_TEXT_MS),
        "ticks": _ticks(found),
        "rows": [_row(found.shown, slot, at[slot]) for slot in found.slots if slot in at and at[slot].runs],
        "drawn": any(value is not None for value in lines[0]),
    }


def sample(now: datetime) -> View:
    """A model's chart with figures that nobody measured, to show what one looks like."""
    shown, slots = RANGES["1h"], RANGES["1h"].slots(now)
    times = (300, 340, 310, 0, 420, 900, 650, 500, 380, 350, 330, 320)
    rows = [
        Slot(slot, "local:smollm2", _invented(base)) for slot, base in zip(slots, times, strict=True) if base
    ]
    return _model("local:smollm2", rows, Found(shown, slots, rows, rows), 0)


def _invented(base: int) -> Tally:
    counts = [0] * BUCKETS
    for share, factor in ((60, 1.0), (34, 1.6), (6, 3.0)):
        counts[bucket(base * factor)] += share
    return Tally(finished=100, first_text=counts)


def _row(shown: Range, slot: int, tally: Tally) -> View:
    return {
        "at": shown.moment(slot),
        "runs": tally.runs,
        "failed": tally.failed,
        "times": [duration(percentile(tally.first_text, share)) for share in SHARES],
    }


def _ticks(found: Found) -> list[tuple[datetime, float]]:
    """The marks below a chart: each with the moment at which its slot begins, and how far to the right that stands."""
    first, count = found.slots[0], len(found.slots)
    return [
        (found.shown.moment(slot), across(slot - first, count)) for slot in found.shown.marks(found.slots)
    ]


def _outcomes(request: Request, beginning: tuple[datetime | None, datetime | None], *, at_home: bool) -> View:
    made, answered = beginning
    folder: Path | None = request.app.state.data_dir
    setups = read_setups(folder) if folder and at_home else None
    first = setups.first.seconds if setups and setups.first else None
    return {
        "to_answer": span(answered - made) if made and answered and answered >= made else "",
        "answered": answered,
        "setup": "" if first is None else duration(first * 1000),
        "starts": setups.worked if setups else 0,
        "failures": sorted(setups.failures.items()) if setups else [],
    }


def _share(part: int, whole: int) -> str:
    return f"{part / whole * 100:.0f} %" if whole else "–"


def duration(milliseconds: float | None) -> str:
    """A time as people read it, with two or three digits."""
    if milliseconds is None:
        return "–"
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms" if milliseconds else "0"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds / 60:.3g} min"


def span(length: timedelta) -> str:
    """A longer time in its largest unit, "4 minutes"."""
    seconds = length.total_seconds()
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}s"
    return f"{seconds:.0f} seconds"
