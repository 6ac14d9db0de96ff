import io

import pytest

from porch.cli.terminal import has_colour, has_unicode, is_terminal, neutral, paint, plain


class Screen(io.StringIO):
    """An output that says it is a terminal."""

    encoding = "utf-8"  # pyright: ignore[reportAssignmentType]  # StringIO has none

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "LC_ALL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", "␛[2J␛]0;title␇"),
        ("a\x9b31mb", "a\ufffd31mb"),
        ("abc\rxyz\r\n", "abcxyz\n"),
        ("\x00\x08\x7f", "␀␈␡"),
        ("user\u202eexe.txt\u2066x\u2069", "user\ufffdexe.txt\ufffdx\ufffd"),
        ("zero\u200bwidth\ufeff", "zero\ufffdwidth\ufffd"),
        ("hidden\U000e0041", "hidden\ufffd"),
        ("half \ud83d", "half \ufffd"),
    ],
)
def test_text_from_elsewhere_cannot_steer_the_terminal(text: str, shown: str) -> None:
    assert neutral(text) == shown


@pytest.mark.parametrize("text", ["Grüße\n\tund 世界", "שלום עולם", "مرحبا", "👩‍👩‍👧 é"])
def test_ordinary_text_of_every_script_stays_as_it_is(text: str) -> None:
    assert neutral(text) == text


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_colour(Screen())
    assert not has_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_colour(Screen())
    assert paint("x", "red", Screen()) == "x"


def test_a_dumb_terminal_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert not is_terminal(Screen())


def test_signs_fall_back_where_the_encoding_or_the_locale_is_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plain("✓ a · b …", io.TextIOWrapper(io.BytesIO(), "ascii")) == "+ a - b ..."
    assert plain("✓", io.TextIOWrapper(io.BytesIO(), "utf-8")) == "✓"
    monkeypatch.setenv("LC_ALL", "C")
    assert not has_unicode(io.TextIOWrapper(io.BytesIO(), "utf-8"))


def test_a_closed_output_is_no_terminal() -> None:
    closed = io.StringIO()
    closed.close()
    assert not is_terminal(closed)
