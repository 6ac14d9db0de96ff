"""Stream frames: a stamped event as the very bytes that are journaled and sent, and the cursor into them.

A frame is `id: <epoch>-<seq>`, `event: <type>`, `data: <json>` and a blank line. Since `seq` is dense, the
n-th frame of a row is found by splitting, without decoding.
"""

import time
from typing import NamedTuple, Self

from porch.contract.errors import InvalidInput
from porch.contract.events import AnyEvent, Event, encode_event

KEEP_ALIVE = b": keep-alive\n\n"
MAX_SEQ = 2**31 - 1


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


def _second(seconds: int) -> bytes:
    global _last  # noqa: PLW0603  # one entry of cache: a stream stays within a second for many events
    if _last[0] != seconds:
        _last = (seconds, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode())
    return _last[1]


_HEADS = {
    cls: b'\nevent: %b\ndata: {"v":1,"run":"' % str(cls.__struct_config__.tag).encode()
    for cls in AnyEvent.__args__
}


def encode_frame(event: Event, run: bytes, epoch: int, seq: int, now_ns: int) -> bytes:
    """One stamped event as bytes, ready for the journal and the socket alike.

    `run` is the run's id in ASCII, `now_ns` Unix time in nanoseconds.
    """
    in_epoch, at_seq = b"%d" % epoch, b"%d" % seq
    # Joined, not formatted: half the price, and this is paid for every token.
    return b"".join(
        (
            b"id: ",
            in_epoch,
            b"-",
            at_seq,
            _HEADS[type(event)],
            run,
            b'","epoch":',
            in_epoch,
            b',"seq":',
            at_seq,
            b',"ts":"',
            timestamp(now_ns),
            b'",',
            encode_event(event)[1:],
            b"\n\n",
        )
    )


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
