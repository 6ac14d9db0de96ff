"""How long an answer took to begin and how fast it came, told from a few stretches of its run's journal.

What a model said before another one took over is void, and so are its times: both figures are of what stands.
While a run waited, for a person or for quota, or lay still after a crash, nobody was answering: a first word
is timed from where the run last went on before it.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import msgspec

from porch.contract.events import Usage
from porch.contract.frames import frame_data, split_frames

GOINGS = ("run.started", "run.resumed")
SHORTEST_MS = 100  # below that a pace says more about the clock than about the model


class Told(msgspec.Struct):
    """The few fields of any event that a record needs."""

    type: str
    seq: int
    ts: datetime
    step: str | None = None
    code: str | None = None
    text: str | None = None
    model: str | None = None
    reason: str | None = None
    kind: str | None = None
    part: str | None = None
    value: Any = None
    output_tokens: int | None = None


_decode = msgspec.json.Decoder(Told).decode


def events_in(frames: bytes | None) -> Iterator[Told]:
    """The whole frames of a stretch that may begin and end within one."""
    for frame in split_frames(frames or b""):
        # Another version of Porch may have written it: a record does without.
        if not frame.startswith(b"id: "):
            continue
        try:
            yield _decode(frame_data(frame))
        except (ValueError, msgspec.DecodeError):
            continue


class Story:
    """A run's journal, as far as it was read: its beginning, its end, and how each later step began."""

    def __init__(self, head: Sequence[Told], tail: Sequence[Told]) -> None:
        self._head = head
        self._tail = tail
        self._later: list[list[Told]] = []
        self._goings = [event for event in chain(head, tail) if event.type in GOINGS]
        self._discarded = {event.step for event in chain(head, tail) if event.type == "step.discarded"}

    @property
    def goes_on(self) -> bool:
        """Whether there is a step after the first one."""
        first = _step_of(self._head)
        return any(event.step not in (None, first) for event in chain(self._head, self._tail))

    def add(self, before: Sequence[Told], stretch: Sequence[Told]) -> None:
        """A later step: what stands right before its start, and its first rows."""
        self._discarded |= {event.step for event in before if event.type == "step.discarded"}
        self._goings += [event for event in chain(before, stretch) if event.type in GOINGS]
        self._later.append(list(stretch))

    def first_token_ms(self) -> int | None:
        """From where the run last went on to the first word of what stands; None where that was not read."""
        if not self._head or self._head[0].type != "run.started" or not self._whole:
            return None
        for stretch in (self._head, *self._later):
            if _step_of(stretch) not in self._discarded:
                word = _first_word(stretch)
                return max(0, _ms(self._going(word), word.ts)) if word else None
        return None

    def tokens_per_second(self, usage: Usage | None) -> float | None:
        """The pace of the last step, from its first sign to its end; `usage` is the whole run's."""
        end = next((event for event in reversed(self._tail) if event.type == "step.finished"), None)
        stretch = self._later[-1] if self._later else self._head
        if end is None or not self._whole or _step_of(stretch) != end.step:
            return None
        counts = [event for event in self._tail if event.type == "usage" and event.step == end.step]
        tokens = counts[-1].output_tokens if counts else None
        if tokens is None and usage and not self._later:
            tokens = usage.output_tokens
        signs = (event for event in stretch if event.type in ("part.started", "tool_call.started"))
        began = next((event.ts for event in signs if event.step == end.step), None)
        took = _ms(began, end.ts) if began else 0
        return round(tokens * 1000 / took, 1) if tokens and took >= SHORTEST_MS else None

    def _going(self, word: Told) -> datetime:
        """When the run began, or last went on, before this."""
        return max((going.seq, going.ts) for going in self._goings if going.seq < word.seq)[1]

    @property
    def _whole(self) -> bool:
        """Whether the last step that was told of is among those whose beginning was read."""
        known = {_step_of(stretch) for stretch in (self._head, *self._later)}
        last = next((event.step for event in reversed(self._tail) if event.step is not None), None)
        return last is None or last in known


def _step_of(stretch: Sequence[Told]) -> str | None:
    return next((event.step for event in stretch if event.type == "step.started"), None)


def _first_word(stretch: Sequence[Told]) -> Told | None:
    silent = {event.part for event in stretch if event.type == "part.started" and event.kind == "reasoning"}
    for event in stretch:
        words = event.type == "stream.chunk" or (event.type == "part.finished" and event.value)
        if words and event.part not in silent:
            return event
    return None


def _ms(begin: datetime, end: datetime) -> int:
    return round((end - begin).total_seconds() * 1000)
