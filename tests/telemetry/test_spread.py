"""Percentiles out of buckets, against those of the values themselves."""

import random
from itertools import pairwise
from statistics import quantiles

import pytest

from porch.telemetry.spread import BOUNDS, BUCKETS, add, bucket, percentile, within


def spread(values: list[float]) -> list[int]:
    counts = [0] * BUCKETS
    for value in values:
        counts[bucket(value)] += 1
    return counts


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_percentiles_are_within_a_bucket_of_the_true_ones(share: float) -> None:
    chance = random.Random(7)
    values = [chance.lognormvariate(6, 1.2) for _ in range(5000)]
    true = quantiles(values, n=100)[round(share * 100) - 1]
    found = percentile(spread(values), share)
    assert found is not None
    assert abs(found / true - 1) < 0.1


def test_nothing_has_no_percentile_and_the_ends_are_the_boundaries() -> None:
    assert percentile([], 0.5) is None
    assert percentile([0] * BUCKETS, 0.5) is None
    assert percentile(spread([0.0]), 0.5) == BOUNDS[0]
    assert percentile(spread([1e9]), 0.5) == BOUNDS[-1]


@pytest.mark.parametrize("limit", [250.0, 500.0, 1000.0, 2000.0, 5000.0])
def test_how_many_kept_to_a_boundary_is_exact(limit: float) -> None:
    values = [limit - 1, limit, limit + 1, limit * 3]
    assert within(spread(values), limit) == 2


def test_spreads_add_up_and_may_be_empty() -> None:
    one = spread([1, 2])
    assert add([], one) == one == add(one, [])
    assert sum(add(one, one)) == 4


def test_boundaries_ascend_by_a_quarter_or_so() -> None:
    ratios = [high / low for low, high in pairwise(BOUNDS)]
    assert 1.2 < min(ratios) <= max(ratios) < 1.3
