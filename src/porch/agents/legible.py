"""Text that people wrote, made fit to be read as it is: nothing in it may hide or move what stands beside it."""

import re

# Controls, zero-width marks, bidi overrides and isolates, tags. ZWNJ and ZWJ stay: scripts and emoji need them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_BREAKS = re.compile(r"\s+")


def legible(text: str) -> str:
    """Text in which every character that cannot be seen stands as its code, such as ⟨202E⟩."""
    return _UNSEEN.sub(lambda found: f"⟨{ord(found[0]):04X}⟩", text)


def in_short(text: str, longest: int = 120) -> str:
    """The same on one line, cut after `longest` characters."""
    line = _BREAKS.sub(" ", text[: longest * 4]).strip()
    if len(line) > longest or len(text) > longest * 4:
        line = line[:longest].rstrip() + "…"
    return legible(line)
