"""Times as counts by bucket, fine enough to tell percentiles from: ten buckets to each power of ten."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

# Milliseconds, from 0.1 to 1,000,000 (17 minutes); a Renard series, so that 250, 500, 1000, 2000 … are boundaries.
_STEPS: Final = (1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8)
BOUNDS: Final = (*(float(f"{step}e{power}") for power in range(-1, 6) for step in _STEPS), 1e6)
BUCKETS: Final = len(BOUNDS) + 1


def bucket(milliseconds: float) -> int:
    """The bucket that a time falls into."""
    return bisect_left(BOUNDS, milliseconds)


def add(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """Two spreads as one; each may be empty."""
    if not one or not other:
        return list(one or other)
    return [first + second for first, second in zip(one, other, strict=True)]


def percentile(counts: Sequence[int], share: float) -> float | None:
    """The time in milliseconds below which this share of all lies, to within a bucket; None of nothing."""
    total = sum(counts)
    if not total:
        return None
    wanted = share * total
    for index, reached in enumerate(accumulate(counts)):
        if reached >= wanted and counts[index]:
            if index == 0:
                return BOUNDS[0]
            if index == len(BOUNDS):
                return BOUNDS[-1]
            low, high = BOUNDS[index - 1], BOUNDS[index]
            part = (wanted - (reached - counts[index])) / counts[index]
            return low * (high / low) ** max(0.0, part)
    return BOUNDS[-1]


def within(counts: Sequence[int], milliseconds: float) -> int:
    """How many took at most this long; exact where it is a boundary."""
    return sum(counts[: bisect_left(BOUNDS, milliseconds) + 1])
