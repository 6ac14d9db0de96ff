"""Server-sent events from bytes, the same for every split of them.

Source: WHATWG HTML, 9.2.6. Beyond it: an event that end of file leaves without its blank line still counts,
a field named `error` is the data of an event of that name, and sizes are capped.
"""

import re
from collections.abc import Callable
from typing import NamedTuple, cast

from porch.contract.errors import PorchError


class StreamTooLarge(PorchError):
    """Raised when one server-sent event is larger than the reader's cap."""

    code = "frame_too_large"
    category = "protocol"
    status = 502


class ServerSentEvent(NamedTuple):
    """One event: its name ("message" where none was given), data and id."""

    event: str
    data: bytes
    id: str | None = None


BOM = b"\xef\xbb\xbf"
# As numbers: looked for in bytes, those cost a sixth of what b"\n" does.
_LF, _CR = b"\n\r"
# Comments mean nothing, and whoever sends them without end must not have each of them looked at.
_SILENT_BLOCKS = re.compile(rb"\n\n(?:(?::[^\n]*+\n)++\n++)++")
_SILENT_LINES = re.compile(rb"\n(?::[^\n]*+\n)++")


# Half the price of the class's own, and paid for every token of a fast model.
_new = cast("Callable[[type[ServerSentEvent], tuple[str, bytes, None]], ServerSentEvent]", tuple.__new__)  # pyright: ignore[reportUnknownMemberType]  # generic in typeshed


class SseDecoder:
    """Splits a byte stream into events. `max_bytes` caps one event with its comments.

    An event over the cap raises StreamTooLarge once every event before it has been handed out.
    """

    def __init__(self, *, max_bytes: int = 8 * 1024 * 1024) -> None:
        self._pending: list[bytes] = []  # joined when a blank line comes: a dripped event costs no copies
        self._size = 0
        self._max = max_bytes
        self._skip_lf = False
        self._start = True
        self._plain = False  # past the start, and no CR has come: nothing but LF needs a look
        self._too_large = False

    @property
    def held(self) -> int:
        """How many bytes of an event are here whose end is still to come."""
        return self._size

    @property
    def between(self) -> bool:
        """Whether the next byte begins an event, in a stream whose lines have all ended with LF alone so far."""
        return self._plain and not self._pending

    def single(self, chunk: bytes, named: bytes = b"") -> bytes | None:
        """The data of a chunk that is exactly one whole event without a name, or with one that ends like `named`.

        That is what a model's tokens look like. Everything else is None, and left to `feed`.
        """
        if _CR in chunk or self._pending or not self._plain or len(chunk) > self._max:
            return None
        data = chunk[6:-2]
        if _LF in data and named:
            name, _, chunk = chunk.partition(b"\n")
            if name[:7] != b"event: " or not name.endswith(named):
                return None
            data = chunk[6:-2]
        return data if chunk[:6] == b"data: " and chunk[-2:] == b"\n\n" and _LF not in data else None

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that these bytes complete. Raises StreamTooLarge."""
        if self._plain and chunk.endswith(b"\n\n") and not self._pending and _CR not in chunk:
            return self._given(self._parse(chunk[:-2]))
        if self._too_large:
            raise self._refusal()
        if self._start:
            chunk = self._without_bom(chunk)
        if self._skip_lf and chunk:
            self._skip_lf = False
            chunk = chunk.removeprefix(b"\n")
        if _CR in chunk:
            self._skip_lf = chunk.endswith(b"\r")
            self._plain = False
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._pending:
            straddles = chunk[:1] == b"\n" and self._pending[-1][-1:] == b"\n"
            if not straddles and b"\n\n" not in chunk:
                return self._keep(chunk)
            chunk = b"".join([*self._pending, chunk])
            self._pending.clear()
            self._size = 0
        end = chunk.rfind(b"\n\n")
        if end < 0:
            return self._keep(chunk)
        events = self._parse(chunk[:end])
        if not self._too_large:
            self._hold(chunk[end + 2 :])
        return self._given(events)

    def finish(self) -> list[ServerSentEvent]:
        """What end of file leaves: the last event where only its blank line is missing."""
        if self._too_large:
            raise self._refusal()
        rest = b"".join(self._pending)
        self._pending.clear()
        return self._given(self._parse(rest)) if rest else []

    def _without_bom(self, chunk: bytes) -> bytes:
        chunk = b"".join([*self._pending, chunk])
        self._pending.clear()
        if len(chunk) < 3 and BOM.startswith(chunk):
            self._pending.append(chunk)
            return b""
        self._start = False
        self._plain = True
        return chunk.removeprefix(BOM)

    def _keep(self, rest: bytes) -> list[ServerSentEvent]:
        self._hold(rest)
        return self._given([])

    def _hold(self, rest: bytes) -> None:
        if not rest or self._start:
            return
        self._pending.append(rest)
        self._size += len(rest)
        # Two for the line feeds around an event, which _parse does not count.
        if self._size > self._max + 2:
            self._too_large = True
            self._plain = False

    def _given(self, events: list[ServerSentEvent]) -> list[ServerSentEvent]:
        if self._too_large and not events:
            raise self._refusal()
        return events

    def _refusal(self) -> StreamTooLarge:
        self._pending.clear()
        return StreamTooLarge(
            f"One event of the stream is over {self._max:,} bytes; the sender must send less."
        )

    def _parse(self, text: bytes, *, skim: bool = True) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        most = self._max
        if text[:1] == b":" and skim and len(text) <= most:
            return self._parse(_skim(text), skim=False)
        for block in text.split(b"\n\n"):
            if len(block) > most and len(block.strip(b"\n")) > most:
                self._too_large = True
                self._plain = False
                break
            if block[:6] == b"data: " and _LF not in block:
                events.append(_new(ServerSentEvent, ("message", block[6:], None)))
                continue
            head, _, rest = block.partition(b"\n")
            if rest[:6] == b"data: " and head[:7] == b"event: " and len(head) > 7 and _LF not in rest:
                events.append(_new(ServerSentEvent, (head[7:].decode("utf-8", "replace"), rest[6:], None)))
            elif block:
                if block[:1] == b":" and skim and len(text) <= most:
                    return self._parse(_skim(text), skim=False)
                self._parse_block(block, events)
        return events

    def _parse_block(self, block: bytes, events: list[ServerSentEvent]) -> None:
        name, event_id = "message", None
        data: list[bytes] = []
        if b"\n:" in block:
            block = _SILENT_LINES.sub(b"\n", block + b"\n")
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value.decode("utf-8", "replace") or "message"
            elif field == b"error":
                # In it llama.cpp told its errors until the end of 2025, before a "data: [DONE]".
                name = "error"
                data.append(value)
            elif field == b"id" and b"\0" not in value:
                event_id = value.decode("utf-8", "replace")
        if data:
            events.append(ServerSentEvent(name, b"\n".join(data), event_id))


def _skim(text: bytes) -> bytes:
    """Whole blocks without those that hold comments alone."""
    return _SILENT_BLOCKS.sub(b"\n\n", b"\n\n" + text + b"\n\n")
