"""What somebody said, as it stands in a Markdown file beside what others said: it ends where it ends.

Source: CommonMark 0.31.2, sections 4.2, 4.3 and 4.5.
"""

import re
from dataclasses import dataclass, field

# The file's title and its speakers take the first two.
SHIFT = 2
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_FENCE = re.compile(r"( {0,3})(`{3,}(?=[^`]*$)|~{3,})")
_HEADING = re.compile(r"( {0,3}(?:> {0,3})*)(#{1,6})(?=[ \t]|$)")
_UNDERLINE = re.compile(r" {0,3}(?:(=+)|-+)[ \t]*$")
_BREAK = re.compile(r" {0,3}(?:(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,})$")
_ITEM = re.compile(r" {0,3}(?:[-+*]|\d{1,9}[.)]) {1,4}(?=\S)")
_NO_PARAGRAPH = re.compile(r"\s*$| {4}|\t| {0,3}(?:[>#]|(?:[-+*]|\d{1,9}[.)])(?:\s|$))")


def tame(text: str) -> str:
    """Text that drives no terminal: controls but tab and newline stand as their codes."""
    return _CONTROLS.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n"))


def contain(text: str) -> str:
    """Markdown whose code blocks all end in it, and whose headings stand below those of the file around it."""
    return _Reading().read(text)


@dataclass(slots=True)
class _Reading:
    """Where in a text one is: in which block of code, in which item of a list (by its contents' column)."""

    lines: list[str] = field(default_factory=list[str])
    fence: str = ""
    indent: str = ""
    item: int = 0
    fence_item: int = 0
    paragraph: int = 0

    def read(self, text: str) -> str:
        for line in text.split("\n"):
            self.lines.append(self._line(line))
        if self.fence:
            self.lines.append(self.indent + self.fence)
        return "\n".join(self.lines)

    def _line(self, line: str) -> str:
        blank = not line.strip()
        inside = blank or len(line) - len(line.lstrip(" ")) >= self.item
        if not inside:
            self.item = 0
            if self.fence and self.fence_item:
                # With its list ends what the list holds.
                self.fence = ""
        shift = 0 if blank else self.item
        own = line[shift:]
        if self.fence:
            self._close(own)
            return line
        if found := _FENCE.match(own):
            self.fence, self.indent = found[2], line[:shift] + found[1]
            self.fence_item, self.paragraph = self.item, 0
            return line
        return line[:shift] + self._words(own)

    def _close(self, line: str) -> None:
        sign = re.escape(self.fence[0])
        if re.fullmatch(rf" {{0,3}}{sign}{{{len(self.fence)},}}[ \t]*", line):
            self.fence = ""

    def _words(self, line: str) -> str:
        if self.paragraph and (found := _UNDERLINE.match(line)):
            return self._underlined(line, 1 if found[1] else 2)
        if found := _HEADING.match(line):
            self.paragraph = 0
            return found[1] + "#" * min(6, len(found[2]) + SHIFT) + line[found.end() :]
        if _NO_PARAGRAPH.match(line) or _BREAK.match(line):
            # A line that is indented goes on with the paragraph that it stands under.
            if not (self.paragraph and line.startswith(("    ", "\t")) and line.strip()):
                self.paragraph = 0
        else:
            self.paragraph += 1
        if not _BREAK.match(line) and (found := _ITEM.match(line)):
            self.item += found.end()
        return line

    def _underlined(self, line: str, level: int) -> str:
        """A heading that is made by the line below it; of one over several lines only that line is undone."""
        single, self.paragraph = self.paragraph == 1, 0
        if not single:
            return re.sub(r"(?=[=-])", r"\\", line, count=1)
        above = self.lines.pop()
        margin = len(above) - len(above.lstrip(" "))
        return f"{above[:margin]}{'#' * (level + SHIFT)} {above[margin:]}"
