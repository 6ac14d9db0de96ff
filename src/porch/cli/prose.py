"""Words on a terminal as they arrive: wrapped between words without waiting for their end."""

import shutil
from typing import TextIO

from porch.cli.terminal import COLOURS, has_colour, is_terminal, neutral, plain

WIDEST, NARROWEST = 84, 20


class Prose:
    """Writes a stream of text with a margin. Where no terminal is watching, text goes out as it is.

    A word that outgrows its line is taken back and begins the next one.
    """

    def __init__(self, file: TextIO, *, margin: int = 2, width: int | None = None) -> None:
        self.file = file
        self.terminal = is_terminal(file)
        self._colour = has_colour(file)
        self._margin = margin if self.terminal else 0
        columns = width or shutil.get_terminal_size().columns
        self._width = max(min(columns - 1, WIDEST) - self._margin, NARROWEST)
        self._column = 0
        self._word = ""
        self._fresh = True
        self._style = ""
        self._waiting = False

    def text(self, text: str, style: str = "") -> None:
        """More of the running text."""
        self.rest()
        if not self.terminal:
            self._put(text)
            self._fresh = text.endswith("\n") if text else self._fresh
            return
        self._put(self._styled(style) + "".join(map(self._step, neutral(text).expandtabs(4))))

    def line(self, text: str = "", style: str = "") -> None:
        """A line of our own, on its own line, wrapped between its words; without text an empty one."""
        self.end()
        self.text(plain(text, self.file), style)
        self.end(always=True)

    def hanging(self, first: str, cells: int, text: str, style: str = "") -> None:
        """A line that begins with `first`, which takes so many cells, and goes on below its text."""
        self.end()
        self._put(" " * self._margin + first)
        if self.terminal:
            self._margin, self._width, self._fresh = self._margin + cells, self._width - cells, False
        self.text(plain(text, self.file), style)
        self.end(always=True)
        if self.terminal:
            self._margin, self._width = self._margin - cells, self._width + cells

    def raw(self, line: str) -> None:
        """A line of our own that is copied by people, so it is never broken."""
        self.end()
        self._put(" " * self._margin + line + "\n")

    def end(self, *, always: bool = False) -> None:
        """End the line that is open; with `always` also an empty one."""
        self.rest()
        if always or not self._fresh:
            self._put(self._styled("") + "\n")
        self._column, self._word, self._fresh = 0, "", True

    def wait(self, text: str) -> None:
        """Show on a terminal what is being waited for, until anything else is written."""
        if self.terminal and self._fresh:
            shown = plain(text, self.file)[: self._width]
            self._put("\r\x1b[K" + " " * self._margin + self._styled("dim") + shown + self._styled(""))
            self._waiting = True

    def rest(self) -> None:
        """Take back what `wait` shows."""
        if self._waiting:
            self._put("\r\x1b[K")
            self._waiting = False

    def _step(self, sign: str) -> str:
        if sign == "\n":
            self._column, self._word, self._fresh = 0, "", True
            return "\n"
        margin = " " * self._margin if self._fresh else ""
        self._fresh = False
        cells = _cells(sign)
        if sign == " ":
            self._word = ""
            # A space at the line's end is the line break.
            if self._column >= self._width:
                return margin
            self._column += 1
            return margin + sign
        if self._column + cells <= self._width:
            self._column += cells
            self._word += sign
            return margin + sign
        return margin + self._break(sign, cells)

    def _break(self, sign: str, cells: int) -> str:
        word, length = self._word, sum(map(_cells, self._word))
        if length >= self._column:
            word, length = "", 0
        self._word, self._column = word + sign, length + cells
        back = f"\x1b[{length}D\x1b[K" if length else ""
        return back + "\n" + " " * self._margin + word + sign

    def _styled(self, style: str) -> str:
        if not self._colour or style == self._style:
            return ""
        self._style = style
        return f"\x1b[0;{COLOURS[style]}m" if style else "\x1b[0m"

    def _put(self, text: str) -> None:
        if text:
            self.file.write(text)
            self.file.flush()


def _cells(sign: str) -> int:
    """Columns that one character takes."""
    if sign.isascii():
        return 1
    from rich.cells import get_character_cell_size

    return get_character_cell_size(sign)
