"""The difference between two definitions, for people: by field, by line, and by word inside a changed line.

Lines and words are compared by Myers' greedy algorithm (An O(ND) Difference Algorithm, 1986) within a budget of
steps. What would cost more is shown as taken out and put in whole, which is as true and less fine.
"""

import json
import re
from collections.abc import Hashable, Iterator, Sequence
from itertools import takewhile
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

from porch.contract.definition import Definition

CONTEXT = 3
STEPS = 200_000
# What it costs in steps to look into a pair of lines at all.
PAIR_STEPS = 50
KEPT_WORDS = 0.35
LABELS = {
    "name": "Handle",
    "title": "Title",
    "description": "Description",
    "questions": "Example questions",
    "instructions": "Instructions",
    "model": "Model",
    "tools": "Tools",
    "plugins": "Plugins",
    "memory": "Memory",
    "concurrency": "Concurrency",
    "approval": "Approval",
    "settings": "Settings",
}
_WORD = re.compile(r"\w+|\s+|[^\w\s]")


class Piece(Struct, frozen=True):
    """A stretch of a line; `changed` when the other side does not have it."""

    text: str
    changed: bool = False


class Line(Struct, frozen=True):
    """One line of one side, of both ("same"), or `count` equal ones left out ("skipped")."""

    kind: Literal["same", "removed", "added", "skipped"]
    pieces: tuple[Piece, ...] = ()
    count: int = 1

    @property
    def text(self) -> str:
        """The whole line."""
        return "".join(piece.text for piece in self.pieces)


class Difference(Struct, frozen=True):
    """What changed in one field of a definition."""

    field: str
    label: str
    lines: tuple[Line, ...]


class Match(Struct, frozen=True):
    """`length` equal items, from `old` in the one sequence and from `new` in the other."""

    old: int
    new: int
    length: int


class Budget:
    """Steps that may still be spent on looking for what is equal."""

    def __init__(self, steps: int = STEPS) -> None:
        self.left = steps

    def spend(self, steps: int) -> bool:
        """Whether there were as many left."""
        self.left -= steps
        return self.left >= 0


def compare(old: Definition, new: Definition, context: int = CONTEXT) -> list[Difference]:
    """The fields that differ, in the definition's order; none for equal definitions."""
    before, after = _texts(old), _texts(new)
    budget = Budget()
    return [
        Difference(field, label, tuple(_folded(compare_texts(before[field], after[field], budget), context)))
        for field, label in LABELS.items()
        if before[field] != after[field]
    ]


def compare_texts(old: str, new: str, budget: Budget | None = None) -> list[Line]:
    """Every line of both texts: those of both once, the others where they went and came."""
    budget = budget or Budget()
    before, after = _lines(old), _lines(new)
    result: list[Line] = []
    at_old = at_new = 0
    for match in (*find_matches(before, after, budget), Match(len(before), len(after), 0)):
        result += _changed(before[at_old : match.old], after[at_new : match.new], budget)
        at_old, at_new = match.old + match.length, match.new + match.length
        result += [Line("same", (Piece(line),)) for line in before[match.old : at_old]]
    return result


def find_matches(old: Sequence[Hashable], new: Sequence[Hashable], budget: Budget) -> list[Match]:
    """What both sequences have in the same order, in order; less than there is when the budget ends."""
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    inner = _greedy(old[head : len(old) - tail], new[head : len(new) - tail], budget)
    matches = [Match(0, 0, head)] if head else []
    matches += [Match(match.old + head, match.new + head, match.length) for match in inner]
    if tail:
        matches.append(Match(len(old) - tail, len(new) - tail, tail))
    return matches


def _greedy(old: Sequence[Hashable], new: Sequence[Hashable], budget: Budget) -> list[Match]:
    """Myers' algorithm: the furthest point reached on each diagonal, one edit more at a time."""
    if not old or not new or set(old).isdisjoint(new):
        return []
    reached = {1: 0}
    trail: list[dict[int, int]] = []
    for edits in range(len(old) + len(new) + 1):
        trail.append(dict(reached))
        if not budget.spend(2 * edits + 1):
            return []
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (diagonal != edits and reached[diagonal - 1] < reached[diagonal + 1])
            start = x = reached[diagonal + 1] if down else reached[diagonal - 1] + 1
            y = x - diagonal
            while x < len(old) and y < len(new) and old[x] == new[y]:
                x, y = x + 1, y + 1
            reached[diagonal] = x
            if x >= len(old) and y >= len(new):
                return _walked_back(trail, len(old), len(new))
            if x > start and not budget.spend(x - start):
                return []
    raise AssertionError("two sequences always meet at their ends")


def _walked_back(trail: list[dict[int, int]], x: int, y: int) -> list[Match]:
    matches: list[Match] = []
    for edits in range(len(trail) - 1, -1, -1):
        reached, diagonal = trail[edits], x - y
        down = diagonal == -edits or (diagonal != edits and reached[diagonal - 1] < reached[diagonal + 1])
        from_x = reached[diagonal + 1] if down else reached[diagonal - 1]
        from_y = from_x - (diagonal + 1 if down else diagonal - 1)
        after_x = from_x if down else from_x + 1
        if x > after_x:
            matches.append(Match(after_x, after_x - diagonal, x - after_x))
        x, y = from_x, from_y
    return matches[::-1]


def _changed(old: list[str], new: list[str], budget: Budget) -> Iterator[Line]:
    """The lines that went, then those that came; the first of each are taken for one another, and so on."""
    together = zip(old, new, strict=False)
    pairs = [_by_word(a, b, budget) for a, b in takewhile(lambda _: budget.spend(PAIR_STEPS), together)]
    yield from (Line("removed", pieces) for pieces, _ in pairs)
    yield from (Line("removed", (Piece(line, True),)) for line in old[len(pairs) :])
    yield from (Line("added", pieces) for _, pieces in pairs)
    yield from (Line("added", (Piece(line, True),)) for line in new[len(pairs) :])


def _by_word(old: str, new: str, budget: Budget) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Both lines with what changed in them; wholly changed when little was kept."""
    before, after = _WORD.findall(old), _WORD.findall(new)
    matches = find_matches(before, after, budget)
    kept = sum(
        len(word.strip()) for match in matches for word in before[match.old : match.old + match.length]
    )
    if kept < KEPT_WORDS * max(len(old), len(new)):
        return (Piece(old, True),), (Piece(new, True),)
    spans_old = [(match.old, match.length) for match in matches]
    spans_new = [(match.new, match.length) for match in matches]
    return _pieces(before, spans_old), _pieces(after, spans_new)


def _pieces(words: list[str], kept: list[tuple[int, int]]) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    at = 0
    for start, length in (*kept, (len(words), 0)):
        if start > at:
            pieces.append(Piece("".join(words[at:start]), True))
        if length:
            pieces.append(Piece("".join(words[start : start + length])))
        at = start + length
    return tuple(pieces)


def _folded(lines: list[Line], context: int) -> Iterator[Line]:
    """The lines, with long runs of equal ones cut to `context` lines beside a change."""
    near = [False] * len(lines)
    for index, line in enumerate(lines):
        if line.kind != "same":
            for beside in range(max(0, index - context), min(len(lines), index + context + 1)):
                near[beside] = True
    left_out = 0
    for line, shown in zip(lines, near, strict=True):
        if shown and left_out:
            yield Line("skipped", count=left_out)
            left_out = 0
        if shown:
            yield line
        else:
            left_out += 1
    if left_out:
        yield Line("skipped", count=left_out)


def _lines(text: str) -> list[str]:
    return text.split("\n") if text else []


def _texts(definition: Definition) -> dict[str, str]:
    """Every field as text: lists one entry a line, settings one setting a line."""
    values: dict[str, Any] = msgspec.to_builtins(definition)
    return {field: _text(values.get(field)) for field in LABELS}


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list):
        return "\n".join(_text(entry) for entry in cast("list[Any]", value))
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        if not any(isinstance(entry, dict) for entry in items.values()):
            return "\n".join(
                f"{key}: {json.dumps(entry, ensure_ascii=False)}" for key, entry in items.items()
            )
    return json.dumps(value, ensure_ascii=False, indent=2)
