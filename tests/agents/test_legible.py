"""Text of strangers on a page."""

import pytest

from porch.agents.legible import in_short, legible

FLAG = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize(
    "unseen",
    list("\u202a\u202e\u2066\u2069\u200b\u200c\u200d\u200e\ufeff\x1b\x07\u00ad\u2028\U000e0041\U000e0100"),
)
def test_what_cannot_be_seen_is_shown_as_its_code(unseen: str) -> None:
    assert legible(f"a{unseen}b") == f"a⟨U+{ord(unseen):04X}⟩b"


@pytest.mark.parametrize(
    "text", ["می‌خواهم", "👩‍🚀", "नमस्ते", "a\tb\nc", "שלום", "é", "1\ufe0f\u20e3", "ភា\u200bសា", FLAG]
)
def test_every_language_stays_as_it_is(text: str) -> None:
    assert legible(text) == text


def test_a_long_text_becomes_one_short_line() -> None:
    assert in_short("one\n\n two " * 30_000, 12) == "one two one…"
    assert in_short("  short\n", 12) == "short"
    assert in_short("\u202e" * 100_000, 3) == "⟨U+202E⟩⟨U+202E⟩⟨U+202E⟩…"
