"""Server-sent events from bytes, the same for every split of them.

Source: WHATWG HTML, 9.2.6. Beyond it: an event that end of file leaves without its blank line still counts,
and sizes are capped.
"""

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

    def single(self, chunk: bytes) -> bytes | None:
        """The data of a chunk that is exactly one whole event with nothing but data, else None.

        That is what a model's tokens look like; `feed` takes everything, for more.
        """
        if (
            self._plain
            and not self._pending
            and chunk.find(b"\n") == len(chunk) - 2 < self._max
            and chunk.startswith(b"data: ")
            and chunk.endswith(b"\n")
            and b"\r" not in chunk
        ):
            return chunk[6:-2]
        return None

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that these bytes complete. Raises StreamTooLarge."""
        if self._plain and chunk.endswith(b"\n\n") and not self._pending and b"\r" not in chunk:
            return self._given(self._parse(chunk[:-2]))
        if self._too_large:
            raise self._refusal()
        if self._start:
            chunk = self._without_bom(chunk)
        if self._skip_lf and chunk:
            self._skip_lf = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
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

    def _parse(self, text: bytes) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        for block in text.split(b"\n\n"):
            if len(block) > self._max and len(block.strip(b"\n")) > self._max:
                self._too_large = True
                self._plain = False
                break
            if block[:6] == b"data: " and b"\n" not in block:
                events.append(_new(ServerSentEvent, ("message", block[6:], None)))
            elif block:
                self._parse_block(block, events)
        return events

    def _parse_block(self, block: bytes, events: list[ServerSentEvent]) -> None:
        name, event_id = "message", None
        data: list[bytes] = []
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value.decode("utf-8", "replace") or "message"
            elif field == b"id" and b"\0" not in value:
                event_id = value.decode("utf-8", "replace")
        if data:
            events.append(ServerSentEvent(name, b"\n".join(data), event_id))
