"""Text that people wrote, made fit to be read as it is: nothing in it may hide or move what stands beside it."""

import re

# Controls, zero-width marks, bidi overrides and isolates, tags, joiners and selectors. Those that scripts and emoji
# need stay where these need them: joiners within them, breaks where no spaces are written, a flag's tags.
_UNSEEN = re.compile(
    "\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f"
    "|(?<![\u0300-\u200a\u2010-\u2027\u2030-\u205f\u2070-\ufefe\uff00-\U000dffff])[\u200c\u200d]"
    "|(?<![\u0e00-\u109f\u1780-\u17ff\u1950-\u1aad])\u200b"
    "|(?<![\x23-\ufdff\ufe10-\U000e00ff\U000e01f0-\U0010ffff])[\ufe00-\ufe0f]"
    "|(?<![\u1800-\u18af])[\u180b-\u180f]"
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
    "|(?<![\u3400-\ufdff\ufe10-\U000dffff])[\U000e0100-\U000e01ef]"
)
_BREAKS = re.compile(r"\s+")


def legible(text: str) -> str:
    """Text in which every character that cannot be seen stands as its code, such as ⟨U+202E⟩."""
    return _UNSEEN.sub(_code, text)


def in_short(text: str, longest: int = 120) -> str:
    """The same on one line, cut after `longest` characters."""
    line = _BREAKS.sub(" ", text[: longest * 4]).strip()
    if len(line) > longest or len(text) > longest * 4:
        line = line[:longest].rstrip() + "…"
    return legible(line)


def _code(found: re.Match[str]) -> str:
    # Longer is a flag, which is as it should be.
    return found[0] if len(found[0]) > 1 else f"⟨U+{ord(found[0]):04X}⟩"
