"""Timing in many short interleaved rounds, so that load beside it falls on all alike and is left out of the best."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, NamedTuple

FLOOR = "msgspec alone"


class Cost(NamedTuple):
    """Microseconds of CPU time an event: in the best round, and in the one in the middle."""

    best: float
    median: float


def measure(
    works: Mapping[str, tuple[Callable[[Any], object], Any]], events: int, rounds: int
) -> dict[str, Cost]:
    """The cost of each, which is given as a function and what it works on; each round goes through `events`."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, (work, given) in works.items():
            started = time.process_time()
            work(given)
            spent[name].append((time.process_time() - started) / events * 1e6)
    return {name: Cost(min(times), median(times)) for name, times in spent.items()}


def report(costs: Mapping[str, Cost]) -> None:
    """A line for each, with the ratio of its best round to the floor's."""
    print(f"{'microseconds an event':36}{'best':>8}{'median':>8}{'best as times ' + FLOOR:>29}")
    for name, cost in costs.items():
        print(f"{name:36}{cost.best:8.2f}{cost.median:8.2f}{cost.best / costs[FLOOR].best:29.2f}")
