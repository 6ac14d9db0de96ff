"""What every dialect reports through: sealed blocks, raw events, citations and costs."""

from typing import Any

import pytest

from porch.contract.errors import ModelError
from porch.contract.events import Cost, Raw, ReasoningSealed, SourceCited
from porch.providers.assembly import MAX_RAW_TEXT, Assembly


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_a_sealed_block_belongs_to_the_open_part_or_to_the_one_named() -> None:
    assembly = Assembly("s1")
    assembly.seal("a", "f", "x")
    assembly.delta("a", "reasoning", "Hm.")
    assembly.seal("a", "f", {"k": "x"}, part="s1p9")
    assembly.end("a")
    assembly.seal("a", "f", "x", part="s1p1")
    seals = [event for event in assembly.take() if isinstance(event, ReasoningSealed)]
    assert [seal.part for seal in seals] == [None, "s1p1", "s1p1"]


def test_what_a_provider_sends_is_stored_clean_short_and_not_too_deep() -> None:
    assembly = Assembly("s1")
    assembly.raw("p", {"a": "x" * (MAX_RAW_TEXT + 1), "b": ["\ud83d\x00"]})
    assembly.raw("p", nested(100))
    assembly.seal(None, "f", nested(100))
    assembly.cite("s1p1", url="https://a.example", title="\ud83d")
    raw, cited = assembly.take()
    assert isinstance(raw, Raw)
    assert raw.data == {"a": "x" * MAX_RAW_TEXT + "… (4,097 characters)", "b": ["\ufffd\ufffd"]}
    assert isinstance(cited, SourceCited)
    assert (cited.part, cited.title) == ("s1p1", "\ufffd")


def test_a_seal_is_never_shortened() -> None:
    assembly = Assembly("s1")
    assembly.seal(None, "f", {"data": "x" * 100_000})
    (seal,) = assembly.take()
    assert isinstance(seal, ReasoningSealed)
    assert len(seal.data["data"]) == 100_000


@pytest.mark.parametrize("what", ["seal", "cite"])
def test_seals_and_citations_count_against_the_cap(what: str) -> None:
    assembly = Assembly("s1", max_characters=10_000)
    acts = {
        "seal": lambda: assembly.seal(None, "f", {"a": "x" * 200}),
        "cite": lambda: assembly.cite(None, title="x" * 200),
    }
    acts[what]()
    assembly.spend(9_700)
    with pytest.raises(ModelError, match="limit for one step"):
        acts[what]()


def test_raw_events_without_end_are_left_out_and_fail_nothing() -> None:
    assembly = Assembly("s1", max_characters=10_000)
    for _ in range(1_000):
        assembly.raw("p", {"a": "x" * 200})
    assembly.delta("a", "text", "y" * 10_000)
    assert 10 < sum(isinstance(event, Raw) for event in assembly.take()) < 50


def test_a_part_tells_its_id_and_what_came_of_it_while_it_is_open() -> None:
    assembly = Assembly("s1")
    assembly.delta("a", "text", "He")
    assembly.delta("a", "text", "y")
    assert (assembly.part("a"), assembly.so_far("a")) == ("s1p1", "Hey")
    assembly.end("a")
    assert (assembly.part("a"), assembly.so_far("a")) == (None, "")


def test_what_the_provider_charged_stands_in_the_usage() -> None:
    assembly = Assembly("s1")
    cost = Cost(amount="0.1", currency="USD", priced_at="2026-01-01")
    assembly.usage(1, 2, cost=cost)
    assert [getattr(event, "cost", None) for event in assembly.take()] == [cost]
