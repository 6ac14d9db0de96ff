"""What Porch adds to a token and to a run: `uv run python -m benchmarks.stream [--rounds N] [--kit FOLDER]`.

A mock provider, a baseline without a platform in it, and whole Porch servers (authentication, row-level security,
committed messages, journal) run side by side and are asked in turn; figures are ratios within one run. The server
under test has a core of its own where there are two; PostgreSQL, provider and readers have the other. CPU time is
the server process' own, from /proc (Linux). `--shapes` runs some of it, `--json` keeps the figures.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from benchmarks.losses import seconds_to_replay, seconds_to_take_over
from benchmarks.servers import Servers, running
from benchmarks.shapes import SHAPES, Shape, measure

Results = dict[str, list[dict[str, float]]]
FEW, MANY = (Shape("mock-ttft100-tok24-itl500", count, count, 4.0) for count in (100, 600))
EXTRAS = ("memory", "two", "replay", "takeover")
REPLAYED = 10_000


class Row(NamedTuple):
    """A line of the table: a figure of Porch's, by itself or as a ratio to the baseline's, and its goal."""

    text: str
    shape: str
    figure: str
    goal: float
    at_most: bool = True
    ratio: bool = False


ROWS = (
    Row("slow: streams that came to an end", "slow", "complete", 500, at_most=False),
    Row("slow: lag p99 (ms)", "slow", "lag_p99_ms", 10),
    Row("slow: server CPU per token (us)", "slow", "cpu_us_per_token", 2.5, ratio=True),
    Row("slow: time to first token p99 (ms)", "slow", "first_p99_ms", 0),
    Row("wide: streams that came to an end", "wide", "complete", 1000, at_most=False),
    Row("wide: lag p99 (ms)", "wide", "lag_p99_ms", 30),
    Row("flood: tokens per second", "flood", "tokens_per_second", 0.5, at_most=False, ratio=True),
    Row("flood: server CPU per token (us)", "flood", "cpu_us_per_token", 0, ratio=True),
    Row("request: runs per second", "request", "runs_per_second", 0.08, at_most=False, ratio=True),
    Row("request: server CPU per run (us)", "request", "cpu_us_per_run", 0, ratio=True),
    Row("first: time to first token added, p50 (ms)", "first", "added_ms", 2.5),
    Row("memory: KiB for each open stream", "memory", "kib", 40),
    Row("two: load that two processes carry, to one's", "two", "carried", 1.8, at_most=False),
    Row("replay: of 10,000 events (ms)", "replay", "ms", 50),
    Row("takeover: of a killed server's stream (s)", "takeover", "seconds", 5),
)


async def run(rounds: int, shapes: list[str], kit: Path | None) -> tuple[Results, Results]:
    """The rounds' figures by shape: the baseline's, and Porch's."""
    base: Results = {}
    ours: Results = {}
    with tempfile.TemporaryDirectory(prefix="porch-bench-") as folder:
        Path(folder).chmod(0o755)
        async with running(Path(folder), kit) as servers:
            for server in (servers.baseline, servers.porch, servers.second):
                await measure([server], Shape("mock-tok50-itl10", 40, 20), kit)
            if "memory" in shapes:
                ours["memory"] = [{"kib": await _memory(servers)}]
            for number in range(1, rounds + 1):
                for name in (name for name in SHAPES if name in shapes):
                    tell(f"round {number} {name}")
                    base.setdefault(name, []).append(await measure([servers.baseline], SHAPES[name], kit))
                    ours.setdefault(name, []).append(await measure([servers.porch], SHAPES[name], kit))
                if "two" in shapes:
                    tell(f"round {number} two")
                    ours.setdefault("two", []).append({"carried": await _two(servers)})
            if "replay" in shapes:
                tell("replay")
                ours["replay"] = [{"ms": await seconds_to_replay(servers.porch, REPLAYED) * 1000}]
            if "takeover" in shapes:
                tell("takeover")
                ours["takeover"] = [{"seconds": await seconds_to_take_over(servers.porch, servers.second)}]
    for floor, found in zip(base.get("first", ()), ours.get("first", ()), strict=True):
        found["added_ms"] = found["first_ms"] - floor["first_ms"]
    return base, ours


async def _memory(servers: Servers) -> float:
    """KiB for each of the streams that are open in one measurement and not in another."""
    tell("memory")
    few = await measure([servers.porch], FEW, servers.kit)
    many = await measure([servers.porch], MANY, servers.kit)
    return (many["open_kib"] - few["open_kib"]) / (MANY.streams - FEW.streams)


async def _two(servers: Servers) -> float:
    """How many times one process' load two would carry on a core each: by the CPU a token costs in either case.

    Each of the two has what the one has when it is alone: what a token costs depends on how many there are.
    """
    slow = SHAPES["slow"]
    half = slow._replace(streams=slow.streams // 2, at_once=slow.at_once // 2)
    alone = await measure([servers.porch], half, servers.kit)
    shared = await measure([servers.porch, servers.second], slow, servers.kit)
    return 2 * alone["cpu_us_per_token"] / shared["cpu_us_per_token"]


def report(base: Results, ours: Results, rounds: int) -> None:
    """Medians over the rounds, Porch's ratio to the baseline, and the goal."""
    print(f"Medians of {rounds} round(s), {time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores\n")
    print("| | baseline | Porch | ratio | goal | |\n|---|--:|--:|--:|--:|---|")
    for row in ROWS:
        if row.shape not in ours:
            continue
        found = median(each[row.figure] for each in ours[row.shape])
        floor = median(each.get(row.figure, 0) for each in base.get(row.shape, [{}]))
        ratio = found / floor if floor else 0.0
        reached = ratio if row.ratio else found
        good = reached <= row.goal if row.at_most else reached >= row.goal
        goal = f"{'≤' if row.at_most else '≥'} {row.goal:g}{'x' if row.ratio else ''}" if row.goal else ""
        cells = [f"{floor:,.1f}" if floor else "", f"{found:,.1f}", f"{ratio:.2f}" if ratio else "", goal]
        print(f"| {row.text} | {' | '.join(cells)} | {'' if not row.goal else 'yes' if good else '**no**'} |")


def tell(text: str) -> None:
    """Progress, beside the table."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    everything = [*SHAPES, *EXTRAS]
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shapes", default=",".join(everything), help=f"of {', '.join(everything)}")
    parser.add_argument(
        "--kit", type=Path, help="a folder with `mock`, `load` and targets/typed_raw.py; see shapes.py"
    )
    parser.add_argument("--json", type=Path, help="a file for every figure of every round")
    options = parser.parse_args()
    kit = options.kit.resolve() if options.kit else None
    base, ours = asyncio.run(run(options.rounds, options.shapes.split(","), kit))
    report(base, ours, options.rounds)
    if options.json:
        options.json.write_bytes(msgspec.json.encode({"baseline": base, "porch": ours}))


if __name__ == "__main__":
    main()
