import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from porch.cli.prose import Prose
from tests.cli.test_terminal import Screen


@pytest.fixture(autouse=True)
def colourless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("LC_ALL", raising=False)


def screen_of(output: str) -> list[str]:
    """What a terminal shows after this output: it knows newline, return, cursor-left and erase-line."""
    lines, column = [""], 0
    for token in re.findall(r"\x1b\[\d*[A-Za-z]|.|\n", output, re.S):
        if token == "\n":
            lines.append("")
            column = 0
        elif token == "\r":
            column = 0
        elif token.endswith("D") and token[0] == "\x1b":
            column -= int(token[2:-1])
        elif token == "\x1b[K":
            lines[-1] = lines[-1][:column]
        else:
            assert token[0] != "\x1b", token
            lines[-1] = lines[-1][:column] + token
            column += 1
    return [line.rstrip() for line in lines]


def written(*deltas: str, width: int = 30, margin: int = 2) -> list[str]:
    screen = Screen()
    prose = Prose(screen, width=width, margin=margin)
    for delta in deltas:
        prose.text(delta)
    prose.end()
    return screen_of(screen.getvalue())


def test_words_are_wrapped_between_them_although_they_come_in_pieces() -> None:
    lines = written("The quick bro", "wn fox ju", "mps over the la", "zy dog")
    assert lines == ["  The quick brown fox jumps", "  over the lazy dog", ""]


def test_every_piece_is_shown_as_soon_as_it_comes() -> None:
    screen = Screen()
    prose = Prose(screen, width=30)
    prose.text("Stre")
    assert screen_of(screen.getvalue()) == ["  Stre"]
    prose.text("aming")
    assert screen_of(screen.getvalue()) == ["  Streaming"]


def test_a_word_longer_than_a_line_is_broken_and_loses_nothing() -> None:
    assert "".join(line.strip() for line in written("x" * 70)) == "x" * 70


@given(st.lists(st.text("ab \n", max_size=8), max_size=20), st.integers(23, 60))
def test_however_text_is_cut_it_wraps_alike_and_no_line_is_too_long(deltas: list[str], width: int) -> None:
    whole = written("".join(deltas), width=width)
    assert written(*deltas, width=width) == whole
    assert all(len(line) < width for line in whole)
    assert re.sub(r"\s", "", "".join(whole)) == re.sub(r"\s", "", "".join(deltas))


def test_wide_characters_take_two_columns() -> None:
    lines = written("世" * 20, width=25, margin=2)
    assert [len(line.strip()) for line in lines if line] == [11, 9]


def test_control_characters_of_a_model_are_shown_and_not_obeyed() -> None:
    assert written("\x1b[31mred") == ["  ␛[31mred", ""]


def test_where_nobody_watches_text_goes_out_unchanged() -> None:
    file = io.StringIO()
    prose = Prose(file, width=20)
    prose.text("a very long line that no terminal will ever have to wrap \x1b[0m")
    prose.end()
    assert file.getvalue() == "a very long line that no terminal will ever have to wrap \x1b[0m\n"


def test_what_is_waited_for_is_taken_back_when_text_comes() -> None:
    screen = Screen()
    prose = Prose(screen, width=30)
    prose.wait("…")
    assert screen_of(screen.getvalue()) == ["  …"]
    prose.text("Hi")
    assert screen_of(screen.getvalue()) == ["  Hi"]


def test_a_line_of_ours_never_continues_the_running_text() -> None:
    screen = Screen()
    prose = Prose(screen, width=30)
    prose.text("half a sen")
    prose.line("Stopped.")
    assert screen_of(screen.getvalue()) == ["  half a sen", "  Stopped.", ""]


def test_a_hanging_line_goes_on_below_its_text() -> None:
    screen = Screen()
    Prose(screen, width=30).hanging("✓ Disk  ", 8, "one two three four five")
    assert screen_of(screen.getvalue()) == ["  ✓ Disk  one two three four", "          five", ""]


def test_a_command_to_copy_is_never_broken() -> None:
    screen = Screen()
    Prose(screen, width=24).raw("porch chat --data-dir /a/long/folder")
    assert screen_of(screen.getvalue())[0] == "  porch chat --data-dir /a/long/folder"
