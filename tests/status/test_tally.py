"""Ranges of time: their slots, and which of them a chart names."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from porch.status.pages import sample
from porch.status.tally import RANGES

NOW = datetime(2026, 11, 23, 13, 57, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("1h", ["13:00", "13:15", "13:30", "13:45"]),
        ("24h", ["16:00", "20:00", "00:00", "04:00", "08:00", "12:00"]),
        ("7d", ["17", "19", "21", "23"]),
        ("30d", ["26", "02", "09", "16", "23"]),
    ],
)
def test_marks_are_round_times(name: str, said: list[str]) -> None:
    shown = RANGES[name]
    marked = [shown.moment(slot) for slot in shown.marks(shown.slots(NOW))]
    assert [moment.strftime("%H:%M" if name in ("1h", "24h") else "%d") for moment in marked] == said
    if shown.minutes > 60:
        assert {moment.hour for moment in marked} == {0}


@pytest.mark.parametrize("name", RANGES)
def test_marks_have_equal_steps_whenever_one_looks(name: str) -> None:
    shown = RANGES[name]
    for minutes in range(0, 48 * 60, 5):
        slots = shown.slots(NOW + timedelta(minutes=minutes))
        marks = shown.marks(slots)
        assert 3 <= len(marks) <= 7
        assert {later - earlier for earlier, later in itertools.pairwise(marks)} == {
            shown.step // shown.minutes
        }


def test_each_mark_stands_under_its_slot() -> None:
    view = sample(NOW)
    points = [point.split()[0].lstrip("ML") for point in view["paths"][0][1].replace(" L", "|L").split("|")]
    (_, at) = next(tick for tick in view["ticks"] if tick[0].strftime("%H:%M") == "13:30")
    assert f"{at:.1f}" == "327.3"
    assert f"{at:.1f}" in points
