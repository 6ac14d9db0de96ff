"""What a client's protocol is here: a pure function from a run's events to that protocol's bytes."""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, Protocol

import msgspec

from porch.contract.events import AnyEvent, StreamChunk, decode_event

SSE: Final = "text/event-stream; charset=utf-8"


class Resync(NamedTuple):
    """The reader forgets what it saw after `keep_through`; `reason` is "takeover" or "overflow"."""

    reason: str
    keep_through: int


class Projection(Protocol):
    """One stream of one run in a client's protocol. It keeps what it has shown, and does no I/O.

    Events come in the order of their `seq`, from the run's first one on: whoever comes back gets all again.
    """

    media_type: str
    headers: Mapping[str, str]

    def feed(self, event: AnyEvent) -> bytes:
        """What this event is in the protocol; may be empty."""
        ...

    def forget(self, keep_through: int) -> bytes:
        """Another producer goes on behind this seq: take back what was shown after it."""
        ...

    def keep_alive(self) -> bytes:
        """What shows that the stream lives while nothing happens; empty where the protocol has no such thing."""
        ...

    def cut(self) -> bytes:
        """The stream ends here. Says so where the run's end, or a pause, has not been told yet; else empty."""
        ...


class _Resync(msgspec.Struct):
    reason: str
    keep_through: int


_decode_resync = msgspec.json.Decoder(_Resync).decode
_RESYNC = b"event: stream.resync\n"
_LF = ord("\n")  # as a number it is found sooner
# Told beforehand which event it is, the decoder reads once and not twice: the type comes behind the envelope.
_decode_chunk = msgspec.json.Decoder(StreamChunk).decode


def read_frames(frames: bytes) -> Iterator[AnyEvent | Resync | None]:
    """What whole frames say: events, resyncs, and None for a keep-alive. Events of unknown types are left out."""
    for frame in frames.split(b"\n\n"):
        at = frame.find(b"\ndata: ")
        if at < 0:
            if frame:
                yield None
        elif frame.startswith(_RESYNC):
            resync = _decode_resync(frame[at + 7 :])
            yield Resync(resync.reason, resync.keep_through)
        elif (event := decode_event(frame[at + 7 :])) is not None:
            yield event


def project(projection: Projection, frames: bytes) -> bytes:
    """Whole frames, as a reader of a run gets them, in the projection's protocol."""
    at = frames.find(b"\ndata: ") + 7
    if frames.find(_LF, at) == len(frames) - 2 and frames[:4] == b"id: ":
        # One event, as a slow model's tokens come: a third of the price of the general way.
        decode = _decode_chunk if frames[at - 19 : at - 7] == b"stream.chunk" else decode_event
        event = decode(frames[at:-2])
        return projection.feed(event) if event is not None else b""
    found: list[bytes] = []
    for item in read_frames(frames):
        if item is None:
            found.append(projection.keep_alive())
        elif not isinstance(item, Resync):
            found.append(projection.feed(item))
        elif item.reason == "takeover":
            found.append(projection.forget(item.keep_through))
        else:
            found.append(projection.cut())
    return b"".join(found)
