"""Ids sort by time and name their kind; what is no id of the kind is simply not there."""

import time
from itertools import pairwise
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from porch.contract.errors import NotFound
from porch.contract.ids import format_id, new_id, new_uuid, parse_id


def test_a_new_id_is_a_uuid_of_version_7_and_of_now() -> None:
    before = time.time_ns() // 1_000_000
    value = new_uuid()
    assert (value.version, value.variant) == (7, RFC_4122)
    assert before <= value.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_of_later_milliseconds_sort_later(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1_700_000_000_000_000_000, 1_700_000_001_000_000_000, 1_000_000))
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    assert all(one < other for one, other in pairwise(new_id("run") for _ in range(200)))


def test_ids_of_one_millisecond_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    assert len({new_uuid() for _ in range(1000)}) == 1000


@given(st.uuids(), st.sampled_from(["agt", "conv", "msg", "run", "shr", "ws"]))
def test_an_id_reads_back(value: UUID, prefix: str) -> None:
    assert parse_id(prefix, format_id(prefix, value)) == value


@given(st.text(max_size=50))
def test_any_other_text_is_not_found_and_shown_what_one_looks_like(text: str) -> None:
    with pytest.raises(NotFound, match="run_"):
        parse_id("run", text)


@pytest.mark.parametrize(
    "text",
    [
        "run_",
        "conv_" + "0" * 32,
        "run_" + "g" * 32,
        "run_" + "0" * 31,
        "run_{" + "0" * 30 + "}",
        "run_0_" + "0" * 30,
    ],
)
def test_almost_an_id_is_not_found(text: str) -> None:
    with pytest.raises(NotFound):
        parse_id("run", text)


@given(st.uuids())
def test_each_thing_has_one_id_alone(value: UUID) -> None:
    text = format_id("run", value)
    for other in (text.upper(), f"run_{text[4:].upper()}", f"run_{value}"):
        if other != text:
            with pytest.raises(NotFound):
                parse_id("run", other)
