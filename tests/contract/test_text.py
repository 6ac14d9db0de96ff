"""Text on its way in and out: whole code points, and no NUL."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from porch.contract.errors import InvalidInput
from porch.contract.text import check_text, clean_json, clean_text, join_surrogates
from tests.contract.strategies import json_values

any_text = st.text(st.characters(), max_size=20)  # lone surrogates and NUL included


@given(any_text)
def test_cleaned_text_can_be_stored_and_sent(text: str) -> None:
    clean = clean_text(text)
    clean.encode()
    assert "\x00" not in clean
    assert clean_text(clean) == clean


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_whole_text_stays_as_it_is(text: str) -> None:
    assert clean_text(text) == text
    assert check_text(text, "It", 10_000) == text


@given(st.text(st.characters(min_codepoint=0x10000), min_size=1))
def test_a_pair_of_surrogates_becomes_the_character_it_stands_for(text: str) -> None:
    halves = "".join(map(chr, memoryview(text.encode("utf-16-le")).cast("H")))
    assert join_surrogates(halves) == text


def test_half_a_pair_becomes_the_replacement_character() -> None:
    assert clean_text("a\ud83d b\ude00\x00") == "a\ufffd b\ufffd\ufffd"


@given(any_text)
def test_text_from_outside_is_whole_or_refused(text: str) -> None:
    broken = "\x00" in text or any(0xD800 <= ord(character) < 0xE000 for character in text)
    if broken:
        with pytest.raises(InvalidInput):
            check_text(text, "The message", 10_000)
    else:
        assert check_text(text, "The message", 10_000) == text


def test_the_limit_is_in_bytes() -> None:
    assert check_text("ä" * 5, "It", 10) == "ä" * 5
    with pytest.raises(InvalidInput, match="11 bytes"):
        check_text("ä" * 5 + "a", "It", 10)


@given(json_values)
def test_cleaning_json_keeps_its_shape(value: Any) -> None:
    assert clean_json(clean_json(value)) == clean_json(value)
    assert clean_json(["\ud800", {"\x00": 1}]) == ["\ufffd", {"\ufffd": 1}]
