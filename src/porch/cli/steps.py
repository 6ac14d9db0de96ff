"""What is being started, told line by line: one moving line for what is at work, one fixed for what is done."""

import asyncio
import shutil
import time
from typing import Self, TextIO

from porch.cli.terminal import has_unicode, is_terminal, neutral, paint, plain

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
ASCII_FRAMES = "|/-\\"
TICK = 0.08


class Steps:
    """A small story on one output. An async context manager: while it is open the line moves."""

    def __init__(self, file: TextIO, *, label_width: int = 12) -> None:
        self._file = file
        self._terminal = is_terminal(file)
        self._frames = FRAMES if has_unicode(file) else ASCII_FRAMES
        self._width = label_width
        self._doing = ""
        self._shown = False
        self._ticker: asyncio.Task[None] | None = None

    def doing(self, sentence: str) -> None:
        """What is at work now."""
        self._doing = neutral(sentence)
        self._draw(0)

    def done(self, label: str, seconds: float | None = None, note: str = "") -> None:
        """One more thing is there."""
        self._line("✓", "green", label, seconds, note)

    def warn(self, label: str, note: str) -> None:
        """One thing is not as it should be, and we go on."""
        self._line("!", "yellow", label, None, note)

    def _line(self, sign: str, colour: str, label: str, seconds: float | None, note: str) -> None:
        self._clear()
        figure = "" if seconds is None else f"{seconds:.1f} s"
        text = f"{label:<{self._width}}{figure:>7}".rstrip()
        if note:
            note = plain(neutral(note), self._file)
            gap = " " * (self._width + 9 - len(text))
            fits = not self._terminal or 4 + len(text + gap + note) < shutil.get_terminal_size().columns
            text += (gap if fits else "\n    ") + paint(note, "dim", self._file)
        mark = paint(plain(sign, self._file), colour, self._file)
        self._write(f"  {mark} {text}\n")
        self._draw(0)

    def _draw(self, tick: int) -> None:
        if self._terminal and self._doing and self._ticker:
            frame = paint(self._frames[tick % len(self._frames)], "cyan", self._file)
            room = shutil.get_terminal_size().columns - 6
            self._write(f"\r\x1b[K  {frame} {paint(self._doing[:room], 'dim', self._file)}")
            self._shown = True

    def _clear(self) -> None:
        if self._shown:
            self._write("\r\x1b[K")
            self._shown = False

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()

    async def _tick(self) -> None:
        begin = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            self._draw(int((time.monotonic() - begin) / TICK))

    def close(self) -> None:
        """Nothing is at work any more."""
        if self._ticker:
            self._ticker.cancel()
            self._ticker = None
        self._clear()

    async def __aenter__(self) -> Self:
        self._ticker = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
