from itertools import count
from types import SimpleNamespace

import pytest

from porch.client import Timings
from porch.contract.events import (
    AnyEvent,
    PartStarted,
    StepDiscarded,
    StepFinished,
    StepStarted,
    StreamChunk,
    ToolCallStarted,
    UsageReported,
)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock is a second later."""
    seconds = count(1)
    monkeypatch.setattr("porch.client.items.time", SimpleNamespace(perf_counter=lambda: float(next(seconds))))


def step(name: str, tokens: int) -> list[AnyEvent]:
    """A step that says one word, as its model sees it."""
    return [
        StepStarted(step=name, model="m"),
        PartStarted(step=name, part=f"{name}p", kind="text"),
        StreamChunk(step=name, part=f"{name}p", delta="Word."),
        UsageReported(step=name, input_tokens=1, output_tokens=tokens),
        StepFinished(step=name, model="m"),
    ]


def noted(*events: AnyEvent) -> Timings:
    timings = Timings(sent=0.0)
    for event in events:
        timings.note(event)
    return timings


def test_the_first_words_are_the_first_steps_and_the_pace_the_last_ones() -> None:
    call = ToolCallStarted(step="s1", call="c1", name="clock")
    timings = noted(*step("s1", 900), call, *step("s2", 6))
    assert timings.to_first_text == 2.0
    assert timings.tokens_per_second == 3.0


def test_times_of_what_was_discarded_are_forgotten() -> None:
    discarded = [*step("s1", 900)[:-1], StepDiscarded(step="s1", reason="fallback")]
    timings = noted(*discarded)
    assert (timings.first_text, timings.tokens_per_second) == (None, None)
    timings = noted(*discarded, *step("s2", 6))
    # The clock of the first two went on: seconds 3 and 4 were the discarded step's.
    assert timings.to_first_text == timings.first_text == 6.0
    assert timings.tokens_per_second == 3.0


def test_an_answer_without_a_count_of_its_tokens_has_no_pace() -> None:
    events = [event for event in step("s1", 1) if not isinstance(event, UsageReported)]
    assert noted(*events).tokens_per_second is None
