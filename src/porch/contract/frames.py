"""Stream frames: a stamped event as the very bytes that are journaled and sent, and the cursor into them.

A frame is `id: <epoch>-<seq>`, `event: <type>`, `data: <json>` and a blank line. Since `seq` is dense, the
n-th frame of a row is found by splitting, without decoding.
"""

import time
from collections.abc import Iterable
from typing import NamedTuple, Self

import msgspec

from porch.contract.errors import InvalidInput
from porch.contract.events import Event, StreamChunk, encode_event

KEEP_ALIVE = b": keep-alive\n\n"
MAX_SEQ = 2**31 - 1

_encode = msgspec.json.Encoder().encode


class Cursor(NamedTuple):
    """A place in a run's stream: everything up to and including `seq`, as written in `epoch`."""

    epoch: int
    seq: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `<epoch>-<seq>`. Raises InvalidInput."""
        epoch, dash, seq = text.strip().partition("-")
        digits = epoch + seq
        if dash and epoch and seq and len(digits) <= 20 and digits.isascii() and digits.isdecimal():
            cursor = cls(int(epoch), int(seq))
            if max(cursor) < MAX_SEQ:
                return cursor
        raise InvalidInput(f"The cursor {text[:40]!r} is not of the form <epoch>-<seq>, such as 1-57.")

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"


START = Cursor(0, 0)


def timestamp(now_ns: int) -> bytes:
    """RFC 3339 UTC with milliseconds, from Unix time in nanoseconds."""
    seconds, rest = divmod(now_ns // 1_000_000, 1000)
    return _second(seconds) + _MILLISECONDS[rest]


_MILLISECONDS = [b".%03dZ" % rest for rest in range(1000)]
_last: tuple[int, bytes] = (-1, b"")
_stamp, _stamp_begin, _stamp_end = b"", 0, 0


def _second(seconds: int) -> bytes:
    global _last  # noqa: PLW0603  # one entry of cache: a stream stays within a second for many events
    if _last[0] != seconds:
        _last = (seconds, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode())
    return _last[1]


def _stamp_anew(now_ns: int) -> bytes:
    """A frame's time as it stands in the JSON, kept for as long as it holds: a millisecond."""
    global _stamp, _stamp_begin, _stamp_end  # noqa: PLW0603  # one entry of cache: under load many events share it
    _stamp_begin = now_ns // 1_000_000 * 1_000_000
    _stamp_end = _stamp_begin + 1_000_000
    _stamp = b',"ts":"' + timestamp(now_ns) + b'",'
    return _stamp


class Framer:
    """Makes the frames of one run in one epoch, ready for the journal and the socket alike.

    `run` is the run's id in ASCII.
    """

    __slots__ = ("_before", "_chunk_head", "_heads", "_id", "_part", "_rest", "_step")

    def __init__(self, run: bytes, epoch: int) -> None:
        self._id = b"id: %d-" % epoch
        self._rest = b'\ndata: {"v":1,"run":"%b","epoch":%d,"seq":' % (run, epoch)
        self._heads: dict[type[Event], bytes] = {}
        self._chunk_head = b""
        self._step: str | None = None  # of the part whose chunks come in a row
        self._part: str | None = None
        self._before = b""  # what stands before such a chunk's words

    def frame(self, event: Event, seq: int, now_ns: int) -> bytes:
        """One stamped event as bytes; `now_ns` is Unix time in nanoseconds."""
        stamp = _stamp if _stamp_begin <= now_ns < _stamp_end else _stamp_anew(now_ns)
        at = _encode(seq)  # half the price of formatting it
        # Joined, not formatted: that costs less, and it is paid for every token.
        if type(event) is StreamChunk:
            if event.part == self._part and event.step == self._step and event.ext is None:
                words = _encode(event.delta)
                return b"".join((self._id, at, self._chunk_head, at, stamp, self._before, words, b"}\n\n"))
            self._note(event)
        head = self._heads.get(type(event)) or self._head(type(event))
        return b"".join((self._id, at, head, at, stamp, encode_event(event)[1:], b"\n\n"))

    def frames(self, events: Iterable[Event], seq: int, now_ns: int) -> bytes:
        """The frames of events in a row, one behind the other; `seq` is that of the first."""
        return b"".join([self.frame(event, at, now_ns) for at, event in enumerate(events, seq)])

    def _head(self, cls: type[Event]) -> bytes:
        """What stands between a frame's id and its seq, the same for every event of a type in a run."""
        head = self._heads[cls] = b"\nevent: " + str(cls.__struct_config__.tag).encode() + self._rest
        return head

    def _note(self, chunk: StreamChunk) -> None:
        """Make what the next chunks of this part have in common: all but their words, which come last."""
        self._chunk_head = self._head(StreamChunk)
        self._step, self._part = chunk.step, chunk.part
        empty = StreamChunk(step=chunk.step, part=chunk.part, delta="")
        self._before = encode_event(empty)[1 : -len(b'""}')]


def encode_frame(event: Event, run: bytes, epoch: int, seq: int, now_ns: int) -> bytes:
    """One stamped event as bytes, where a run's frames are not made in a row; see `Framer`."""
    return Framer(run, epoch).frame(event, seq, now_ns)


def split_frames(frames: bytes) -> list[bytes]:
    """The single frames of a run of them, each with its closing blank line."""
    return [part + b"\n\n" for part in frames.split(b"\n\n")[:-1]]


def frame_data(frame: bytes) -> bytes:
    """The JSON of one frame."""
    return frame[frame.index(b"\ndata: ") + 7 : -2]


def resync_frame(reason: str, keep_through: int) -> bytes:
    """The transport frame without `seq` that tells a reader to forget everything after `keep_through`.

    `reason` is "takeover" or "overflow".
    """
    return b'event: stream.resync\ndata: {"type":"stream.resync","reason":"%b","keep_through":%d}\n\n' % (
        reason.encode(),
        keep_through,
    )
