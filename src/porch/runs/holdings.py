"""What holds a process's memory, in words: the runs, readers and contexts that hold most."""

import heapq
from collections.abc import Callable, Iterable
from typing import TypeVar

from porch.contract.messages import (
    FilePart,
    ImagePart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolResultPart,
)
from porch.runs.live import LiveRun
from porch.runs.service import Runs
from porch.runs.turn import Turn

T = TypeVar("T")
MOST = 3
# What a part costs beside its words; tool calls and results are guessed at, since nobody counts them.
PART_BYTES = 200
RESULT_BYTES = 4096


def describe_holdings(runs: Runs) -> str:
    """The largest of each kind, and their sums, as one line for the log."""
    carried, readers = runs.carrier.runs, list(runs.readers)
    waiting = sum(live.waiting_bytes for live in carried)
    queued = sum(reader.queued for reader in readers)
    context = sum(map(context_bytes, carried))
    return "; ".join(
        (
            f"{len(carried):,} runs with {_size(context)} of context{_named(carried, context_bytes)}",
            f"{_size(waiting)} not committed yet{_named(carried, lambda live: live.waiting_bytes)}",
            f"{len(readers):,} readers with {_size(queued)} waiting for them"
            + _most((reader.queued, reader.name) for reader in readers),
            f"{_size(runs.pressure.bodies)} of requests being read",
        )
    )


def context_bytes(live: LiveRun) -> int:
    """About what a run holds of its conversation and of its own answer."""
    turn: Turn | None = live.turn
    if turn is None:
        return 0
    said = (part for message in turn.history for part in message.parts)
    return sum(map(_part_bytes, said)) + sum(map(_part_bytes, turn.transcript.parts()))


def _part_bytes(part: Part) -> int:
    match part:
        case TextPart(text=text) | RefusalPart(text=text) | ReasoningPart(text=text):
            return len(text) + PART_BYTES
        case ImagePart(data=data) | FilePart(data=data):
            return len(data) + PART_BYTES
        case ToolResultPart():
            return RESULT_BYTES
        case _:
            return PART_BYTES


def _named(carried: list[LiveRun], size: Callable[[LiveRun], int]) -> str:
    return _most((size(live), live.name) for live in carried)


def _most(sizes: Iterable[tuple[int, str]]) -> str:
    found = [f"{name} {_size(size)}" for size, name in heapq.nlargest(MOST, sizes) if size]
    return f" (most: {', '.join(found)})" if found else ""


def _size(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB" if size >= 1 << 20 else f"{-(-size // 1024):,} KiB"
