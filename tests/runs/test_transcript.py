"""What a run's events come to: thoughts with their seals, and what all of it cost."""

from typing import Any

import pytest

from porch.contract.events import (
    AnyEvent,
    Cost,
    PartFinished,
    ReasoningSealed,
    StepDiscarded,
    StepFinished,
    StepStarted,
    UsageReported,
)
from porch.contract.messages import ReasoningPart, TextPart
from porch.providers.messages.turns import build_turns
from porch.providers.messages.wire import FORMAT
from porch.providers.request import ModelMessage
from porch.runs.transcript import Transcript

SEAL: dict[str, Any] = {"type": "thinking", "signature": "abc"}


def begin(step: str = "s1") -> StepStarted:
    return StepStarted(step=step, model="anthropic:m")


def thought(part: str, words: str) -> PartFinished:
    return PartFinished(step="s1", part=part, kind="reasoning", value=words)


def said(part: str, words: str) -> PartFinished:
    return PartFinished(step="s1", part=part, kind="text", value=words)


def seal(part: str | None, data: Any = SEAL) -> ReasoningSealed:
    return ReasoningSealed(step="s1", part=part, format=FORMAT, data=data)


def paid(step: str, amount: str | None, currency: str = "USD", day: str = "2026-01-01") -> list[AnyEvent]:
    cost = Cost(amount=amount, currency=currency, priced_at=day) if amount else None
    return [begin(step), UsageReported(step=step, input_tokens=10, output_tokens=1, cost=cost)]


@pytest.mark.parametrize("sealed_first", [True, False])
def test_a_seal_is_kept_with_the_words_that_it_is_over(sealed_first: bool) -> None:
    pair: list[AnyEvent] = [seal("s1p1"), thought("s1p1", "Hm.")]
    events = [begin(), *(pair if sealed_first else reversed(pair)), said("s1p2", "Yes.")]
    parts = Transcript(events).parts()
    assert parts == [ReasoningPart(text="Hm.", format=FORMAT, sealed=SEAL), TextPart(text="Yes.")]
    turns = build_turns([ModelMessage("assistant", parts)], thoughts=True)
    assert turns[0]["content"][0] == {"type": "thinking", "thinking": "Hm.", "signature": "abc"}


def test_seals_without_words_stand_for_themselves_in_their_order() -> None:
    hidden = {"type": "redacted_thinking", "data": "x"}
    events = [begin(), seal(None, hidden), seal("s1p1"), thought("s1p1", "Hm."), seal("s1p1", hidden)]
    assert Transcript(events).parts() == [
        ReasoningPart(text="", format=FORMAT, sealed=hidden),
        ReasoningPart(text="Hm.", format=FORMAT, sealed=SEAL),
        ReasoningPart(text="", format=FORMAT, sealed=hidden),
    ]


def test_a_seal_of_a_part_that_is_no_thought_leaves_its_words_alone() -> None:
    parts = Transcript([begin(), said("s1p1", "Yes."), seal("s1p1")]).parts()
    assert parts == [TextPart(text="Yes."), ReasoningPart(text="", format=FORMAT, sealed=SEAL)]


def test_a_runs_cost_is_the_exact_sum_of_its_steps_with_the_oldest_price() -> None:
    usage = Transcript([*paid("s1", "0.1"), *paid("s2", "0.2", day="2025-06-01")]).usage()
    assert usage is not None
    assert usage.cost == Cost(amount="0.3", currency="USD", priced_at="2025-06-01")


@pytest.mark.parametrize("second", [paid("s2", None), paid("s2", "1", "EUR"), paid("s2", "much")])
def test_a_cost_is_unknown_once_that_of_a_step_cannot_be_added(second: list[AnyEvent]) -> None:
    usage = Transcript([*paid("s1", "0.1"), *second]).usage()
    assert usage is not None
    assert (usage.input_tokens, usage.cost) == (20, None)


def test_what_a_discarded_step_used_was_paid_for() -> None:
    events = [*paid("s1", "0.1"), StepDiscarded(step="s1", reason="fallback"), *paid("s2", "0.2")]
    transcript = Transcript([*events, StepFinished(step="s2", model="m")])
    usage = transcript.usage()
    assert len(transcript.steps) == 1
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (20, 2)
    assert usage.cost is not None
    assert usage.cost.amount == "0.3"
