"""What the chunks of one stream have in common around the words of each.

A server writes its chunks out of one mould: the same id, model and nulls in the same order; only the words differ, and
with some a padding at the end. What is in a known mould is known but for its words: a JSON string in the place of
another changes nothing else that was read there.
"""

import re
from collections.abc import Callable

import msgspec

from porch.contract.events import PartKind
from porch.providers.chat_completions.wire import said_alone

Said = str | None
Match = Callable[[bytes], Said]
MAX_BYTES = 4096
MAX_MOULDS = 8  # in a row that were not worth their making
WORTH = 8  # chunks that a mould must fit for that
_WORDS: dict[PartKind, re.Pattern[bytes]] = {
    "text": re.compile(rb'"content": ?("(?:[^"\\]|\\.)*")'),
    "reasoning": re.compile(rb'"reasoning(?:_content)?": ?("(?:[^"\\]|\\.)*")'),
}
# The chunk's last member is a text of letters and digits; none of such a kind means anything here.
_PADDED = re.compile(rb'(.*")[A-Za-z0-9]+("\}\s*)')
_decode = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


class Mould:
    """Tells the words in bytes that came out of it; None for all others.

    `read` takes a read that is one whole event, `event` an event without its blank line; the words are of a part of
    this `kind`.
    """

    __slots__ = ("_before", "_behind", "_end", "_event", "kind", "read")

    def __init__(self, kind: PartKind, before: bytes, behind: bytes, end: bytes | None = None) -> None:
        """The bytes before the words and those behind; a padding may stand between these and `end`."""
        self.kind: PartKind = kind
        before, behind = b"data: " + before + b'"', b'"' + behind
        self.read: Match
        self._before, self._behind, self._end = before, behind, end
        self._event: Match | None = None
        if end is None:
            self.read = _exact(before, behind + b"\n\n")
        else:
            self.read = _padded(before, behind, end + b"\n\n")

    @property
    def event(self) -> Match:
        """Made when several events come at once: of most streams they come one by one."""
        if self._event is None:
            before, behind, end = self._before, self._behind, self._end
            self._event = _exact(before, behind) if end is None else _padded(before, behind, end)
        return self._event


class Moulds:
    """The moulds of a stream as they come and go, until a part is known for one without any."""

    __slots__ = ("_chances", "_most", "fits", "mould", "wanted")

    def __init__(self, chances: int = MAX_MOULDS) -> None:
        self.mould: Mould | None = None
        self.fits = 0  # how often it did
        self.wanted = chances > 0  # a mould, since there is none or it did not fit
        self._chances = self._most = chances

    def learn(self, data: bytes, kind: PartKind) -> None:
        """Take this chunk for what those to come are like."""
        self._chances = self._most if self.fits >= WORTH else self._chances - 1
        self.fits = 0
        self.mould = find_mould(data, kind) if self._chances > 0 else None
        self.wanted = self.mould is None and self._chances > 0

    def forget(self) -> None:
        """Another part begins."""
        self.mould = None
        self._chances = self._most
        self.wanted = self._most > 0

    def several(self, data: bytes) -> tuple[list[str], bytes]:
        """The words of the events at a read's beginning that came out of the mould, and what is left of the read."""
        words: list[str] = []
        lines = data.split(b"\n")
        if self.mould is None or len(lines) % 2 == 0 or lines[-1] or any(lines[1::2]):
            self.wanted = True
            return words, data
        events, tell = lines[:-1:2], self.mould.event  # each of one line
        for event in events:
            if not (said := tell(event)):
                self.wanted = True
                break
            words.append(said)
        self.fits += len(words)
        return words, b"\n\n".join([*events[len(words) :], b""]) if words else data


def find_mould(data: bytes, kind: PartKind) -> Mould | None:
    """The mould of a chunk that says words of this kind and nothing else; None where that is not beyond doubt."""
    words = _WORDS.get(kind)
    found = words.search(data) if words and len(data) <= MAX_BYTES and b"\n" not in data else None
    if found is None:
        return None
    before, behind = data[: found.start(1)], data[found.end(1) :]
    text = said_alone(data, kind)
    # Only where other words are read as such is this the place of the words.
    other = f"{text}x"
    if not text or said_alone(before + _encode(other) + behind, kind) != other:
        return None
    padded = _PADDED.fullmatch(behind)
    return Mould(kind, before, padded[1], padded[2]) if padded else Mould(kind, before, behind)


# Closures and slices, not methods: every token pays for this.
def _exact(before: bytes, behind: bytes) -> Match:
    start, stop = len(before), -len(behind)
    first, last = start - 1, stop + 1

    def words(data: bytes) -> Said:
        if data[:start] != before or data[stop:] != behind:
            return None
        try:
            return _decode(data[first:last])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None

    return words


def _padded(before: bytes, behind: bytes, end: bytes) -> Match:
    start, stop = len(before), -len(end)
    first = start - 1

    def words(data: bytes) -> Said:
        if data[:start] != before or data[stop:] != end:
            return None
        parts = data[first:stop].split(behind)
        if len(parts) != 2 or not parts[1].isalnum():
            return None
        try:
            return _decode(parts[0] + b'"')
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None

    return words
