"""What this terminal can show, and text from elsewhere made harmless for it."""

import io
import os
import re
import sys
from functools import cache
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

COLOURS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
# What moves the cursor, rewrites the screen, turns the reading direction, or hides in plain text:
# C0 without tab and newline, DEL, C1, bidi controls, line separators, tags, interlinear marks.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u061c\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_PLAIN = str.maketrans(
    {"✓": "+", "✗": "x", "·": "-", "→": ">", "…": "...", "–": "-", "—": "-", "’": "'", "“": '"', "”": '"'}
)


def neutral(text: str) -> str:
    """Text that cannot steer a terminal: control characters are shown as pictures, others as U+FFFD."""
    return _UNSAFE.sub(_picture, text)


def _picture(match: "re.Match[str]") -> str:
    code = ord(match[0])
    if code == 0x0D:
        return ""
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"


def is_terminal(file: TextIO) -> bool:
    """Whether a person watches this output on a terminal that can move its cursor."""
    try:
        return file.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    except ValueError:
        return False


def has_colour(file: TextIO) -> bool:
    """Whether colour is wanted there (https://no-color.org)."""
    return is_terminal(file) and not os.environ.get("NO_COLOR")


def has_unicode(file: TextIO) -> bool:
    """Whether signs beyond ASCII can be shown there."""
    if os.environ.get("LC_ALL") in ("C", "POSIX"):
        return False
    try:
        "✓·…".encode(file.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def plain(text: str, file: TextIO) -> str:
    """Our own words with the signs that `file` can show."""
    return text if has_unicode(file) else text.translate(_PLAIN)


def paint(text: str, colour: str, file: TextIO) -> str:
    """Text in one of COLOURS, where `file` shows colours."""
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if has_colour(file) else text


def speak_safely() -> None:
    """Makes characters that the output's encoding lacks into `?` instead of errors."""
    for file in (sys.stdout, sys.stderr):
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(errors="replace")


@cache
def console(*, stderr: bool = False) -> "Console":
    """rich's console for one of the outputs, for tables and what moves."""
    from rich.console import Console

    file = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        highlight=False,
        markup=False,
        emoji=False,
        no_color=not has_colour(file),
        force_terminal=is_terminal(file),
        # Where nobody watches, a line is as long as it is.
        width=None if is_terminal(file) else 10_000,
    )
