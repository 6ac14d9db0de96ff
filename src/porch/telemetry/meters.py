"""Counters, gauges and histograms in plain Python: recording costs a look-up and an addition."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Labels = tuple[str, ...]
# Names of models and tools are people's own words: no number of them may fill the memory.
MOST_SERIES = 500
OTHER = "other"


@dataclass(slots=True)
class Counts:
    """One series of a histogram: how many fell into each bucket, and the sum of them all."""

    buckets: list[int]
    sum: float = 0.0

    @property
    def count(self) -> int:
        """How many were recorded."""
        return sum(self.buckets)


@dataclass(slots=True)
class Counter:
    """What only grows."""

    name: str
    text: str
    labels: Labels = ()
    series: dict[Labels, int] = field(default_factory=dict[Labels, int])
    unit: str = "1"

    def add(self, labels: Labels = (), number: int = 1) -> None:
        """Count these."""
        if labels not in self.series and len(self.series) >= MOST_SERIES:
            labels = (OTHER,) * len(labels)
        self.series[labels] = self.series.get(labels, 0) + number


@dataclass(slots=True)
class Reading:
    """A number that is looked up when somebody asks; a `counter` only grows."""

    name: str
    text: str
    read: Callable[[], float]
    kind: Literal["gauge", "counter"] = "gauge"
    unit: str = "1"


@dataclass(slots=True)
class Histogram:
    """How values are spread over fixed buckets, each of which ends with its boundary."""

    name: str
    text: str
    bounds: tuple[float, ...]
    labels: Labels = ()
    unit: str = "s"
    series: dict[Labels, Counts] = field(default_factory=dict[Labels, Counts])

    def record(self, value: float, labels: Labels = (), times: int = 1) -> None:
        """Add a value, which stands for `times` of them."""
        counts = self.series.get(labels)
        if counts is None:
            counts = self._begin(labels)
        counts.buckets[bisect_left(self.bounds, value)] += times
        counts.sum += value * times

    def _begin(self, labels: Labels) -> Counts:
        if len(self.series) >= MOST_SERIES:
            labels = (OTHER,) * len(labels)
        return self.series.setdefault(labels, Counts([0] * (len(self.bounds) + 1)))


Instrument = Counter | Reading | Histogram
