"""OpenRouter's `reasoning_details`: pieces as they stream, put together as they must go back.

Their text is the reasoning's own, which is shown by another field; signatures and encrypted blocks stand only
here. Source: https://openrouter.ai/docs/use-cases/reasoning-tokens
"""

from typing import Any, cast

from porch.providers.assembly import CALL_COST, Assembly

_WORDS = ("text", "summary")  # which come piece by piece


def detail_words(pieces: Any) -> str:
    """The words of one chunk's details."""
    found: list[str] = []
    for piece in cast("list[Any]", pieces) if isinstance(pieces, list) else ():
        if isinstance(piece, dict):
            fields = cast("dict[str, Any]", piece)
            found += [text for name in _WORDS if isinstance(text := fields.get(name), str)]
    return "".join(found)


class Details:
    """The details of one answer."""

    __slots__ = ("_assembly", "_blocks", "_seen", "_texts")

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._blocks: list[dict[str, Any]] = []
        self._texts: list[dict[str, list[str]]] = []
        self._seen: dict[tuple[str, str], int] = {}

    def add(self, pieces: Any) -> None:
        """Keep the pieces of one chunk."""
        for piece in cast("list[Any]", pieces) if isinstance(pieces, list) else ():
            if isinstance(piece, dict):
                self._keep(cast("dict[str, Any]", piece))

    def blocks(self) -> list[dict[str, Any]]:
        """The details whole, in the order in which they began."""
        return [
            block | {name: "".join(pieces) for name, pieces in texts.items()}
            for block, texts in zip(self._blocks, self._texts, strict=True)
        ]

    def _keep(self, fields: dict[str, Any]) -> None:
        self._assembly.spend(sum(len(value) for value in fields.values() if isinstance(value, str)))
        key = (str(fields.get("type"))[:40], str(fields.get("index"))[:20])
        at = self._seen.get(key)
        if at is None or "data" in fields or "data" in self._blocks[at] or not self._same(at, fields):
            self._assembly.spend(CALL_COST)
            at = self._seen[key] = len(self._blocks)
            self._blocks.append({})
            self._texts.append({})
        for name, value in fields.items():
            if name in _WORDS and isinstance(value, str):
                self._texts[at].setdefault(name, []).append(value)
            elif value is not None or name not in self._blocks[at]:
                self._blocks[at][name] = value

    def _same(self, at: int, fields: dict[str, Any]) -> bool:
        """Whether a piece may belong to a block, whose id may stand in one of its pieces only."""
        given, known = fields.get("id"), self._blocks[at].get("id")
        return given is None or known is None or given == known
