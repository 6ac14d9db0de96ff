"""A conversation's first title: the beginning of what was said first."""

import unicodedata
from collections.abc import Sequence

from porch.contract.messages import Part, TextPart

TITLE_CHARACTERS = 80
# Joiners within words of many scripts and within emoji; all other format characters only mislead in a title.
JOINERS = "\u200c\u200d"


def make_title(parts: Sequence[Part]) -> str:
    """At most 80 characters on one line, cut at a word where there is one; empty when nothing is legible."""
    text = " ".join(part.text[:400] for part in parts if isinstance(part, TextPart))[:400]
    legible = text
    if not (text.isascii() and text.isprintable()):
        legible = "".join(
            " " if _is_blank(character) else character for character in text if not _is_odd(character)
        )
    title = " ".join(legible.split())
    if len(title) <= TITLE_CHARACTERS:
        return title
    cut = title[: TITLE_CHARACTERS - 1]
    whole, _, rest = cut.rpartition(" ")
    return (whole if len(rest) < TITLE_CHARACTERS / 2 else cut).rstrip() + "…"


def _is_blank(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) == "Cc"


def _is_odd(character: str) -> bool:
    return unicodedata.category(character) == "Cf" and character not in JOINERS
