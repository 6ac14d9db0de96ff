"""Thoughts that a model writes between `<think>` and `</think>` at the head of its text."""

from porch.contract.events import PartKind

OPEN, CLOSE = "<think>", "</think>"
MAX_SPACE = 256
Pieces = list[tuple[PartKind, str]]


class ThinkTags:
    """Splits text as it comes into reasoning and words, the same for every split of it.

    Only a tag that stands first counts: further on, a model may well be talking about the tag.
    """

    def __init__(self) -> None:
        self._held = ""  # what may become a tag, or the space around one
        self._stage = "before"

    @property
    def settled(self) -> bool:
        """Whether all that comes is words, as it stands."""
        return self._stage == "words"

    def split(self, text: str) -> Pieces:
        """What can be told apart by now."""
        if self._stage == "words":
            return [("text", text)]
        self._held += text
        found: Pieces = []
        if self._stage == "before":
            rest = self._held.lstrip()
            if len(self._held) - len(rest) > MAX_SPACE:
                return self.rest()
            if rest.startswith(OPEN):
                self._stage, self._held = "thought", rest[len(OPEN) :]
            elif not OPEN.startswith(rest):
                return self.rest()
        if self._stage == "thought":
            found = self._thought()
        if self._stage == "after":
            self._held = self._held.lstrip()
            if self._held:
                found += self.rest()
        return found

    def rest(self) -> Pieces:
        """What is held, once nothing more comes or it turned out to be no tag."""
        held, self._held = self._held, ""
        kind: PartKind = "reasoning" if self._stage == "thought" else "text"
        self._stage = "words"
        return [(kind, held)] if held else []

    def _thought(self) -> Pieces:
        thought, tag, after = self._held.partition(CLOSE)
        if tag:
            self._stage, self._held = "after", after
        else:
            keep = next((size for size in range(len(CLOSE) - 1, 0, -1) if thought.endswith(CLOSE[:size])), 0)
            cut = len(thought) - keep
            thought, self._held = thought[:cut], thought[cut:]
        return [("reasoning", thought)] if thought else []
