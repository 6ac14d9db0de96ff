"""Objectives, their budgets, and the document that promises them."""

import re
from pathlib import Path

import pytest

from porch.status.objectives import FIRST_TEXT_MS, OBJECTIVES, TAKEOVER_MS, budgets, table
from porch.status.tally import Tally
from porch.telemetry.spread import BOUNDS, BUCKETS, bucket

DOCUMENT = Path(__file__).parents[2] / "docs" / "slo.md"


def spread(*milliseconds: float) -> list[int]:
    counts = [0] * BUCKETS
    for value in milliseconds:
        counts[bucket(value)] += 1
    return counts


def test_the_documented_objectives_are_those_of_the_code() -> None:
    found = re.search(
        r"<!-- objectives:.*?-->\n\n(.*?)\n\n<!-- end -->", DOCUMENT.read_text(encoding="utf-8"), re.S
    )
    assert found
    assert found[1] == table()


def test_limits_are_boundaries_so_that_what_kept_to_them_is_exact() -> None:
    assert {FIRST_TEXT_MS, TAKEOVER_MS} <= set(BOUNDS)


def test_nothing_counted_burns_nothing() -> None:
    for budget in budgets(Tally()):
        assert (budget.kept, budget.burnt, budget.state) == (None, None, "nothing yet")


@pytest.mark.parametrize(
    ("failed", "state"), [(0, "kept"), (7, "kept"), (8, "at risk"), (10, "at risk"), (11, "spent")]
)
def test_a_budget_is_burnt_by_what_fails(failed: int, state: str) -> None:
    tally = Tally(finished=1000 - failed, failed=failed, cancelled=5000)
    budget = next(one for one in budgets(tally) if one.objective.id == "answers-end")
    assert (budget.total, budget.bad, budget.state) == (1000, failed, state)
    assert budget.burnt == pytest.approx(failed / 10)


def test_each_objective_counts_what_it_promises() -> None:
    tally = Tally(
        finished=8,
        failed=1,
        cancelled=1,
        broken=2,
        starts=20,
        starts_failed=3,
        first_text=spread(10, 3999, 4000, 4001, 60_000),
        takeover=spread(900, 5000, 5100),
    )
    counted = {one.objective.id: (one.good, one.total) for one in budgets(tally)}
    assert counted == {
        "first-text": (3, 5),
        "answers-end": (8, 9),
        "unbroken": (8, 10),
        "takeover": (2, 3),
        "starts": (17, 20),
    }
    assert {one.id for one in OBJECTIVES} == set(counted)
