"""Chunked bodies by sight: while the parser stands between two chunks, whole ones need no parser."""

import re

_END = b"\r\n"
# Sizes as servers write them, up to what one event takes.
_SIZES = {line: size for size in range(1, 4096) for line in (b"%x" % size, b"%X" % size)}
_LONGEST = 3 + len(_END)
_SIZE = re.compile(rb"[1-9A-Fa-f][0-9A-Fa-f]{0,6}")
_MOST_HEAD = 8 * 1024


class Chunks:
    """Where the parser of one chunked answer stands, told by the bytes that it was given.

    `between` two chunks it knows of nothing but the next one to come, and misses none that it is not given. Of what is
    odd in any way nothing is known: from there on all of the answer is the parser's.
    """

    __slots__ = ("_left", "between")

    def __init__(self, data: bytes) -> None:
        """`data` is what was read first, with the whole head in it."""
        self.between = False
        self._left: int | None = None  # of a chunk and the line's end behind it
        end = data.find(_END * 2, 0, _MOST_HEAD)
        if data.startswith(b"HTTP/1.1 ") and end > 0 and b"\n\n" not in data[:end]:
            self._left = 0
            self.follow(data[end + 4 :])

    def follow(self, data: bytes) -> None:
        """The parser was given this, too."""
        at, self._left, self.between = self._left, None, False
        while at is not None:
            if at > len(data):
                self._left = at - len(data)
                return
            if at and not data.endswith(_END, 0, at):
                return
            if at == len(data):
                self._left, self.between = 0, True
                return
            end = data.find(_END, at, at + 9)
            if end < 0 or not _SIZE.fullmatch(data, at, end):
                return
            at = end + 2 + int(data[at:end], 16) + 2


def unframe(data: bytes) -> bytes | None:
    """The body in bytes that are whole chunks from the first to the last; None for all others."""
    end = data.find(_END, 0, _LONGEST)
    size = _SIZES.get(data[:end]) if end > 0 else None
    if size is None:
        return None
    stop = end + 2 + size
    if stop + 2 == len(data):
        return data[end + 2 : stop] if data.endswith(_END) else None
    return _unframe_several(data)


def _unframe_several(data: bytes) -> bytes | None:
    bodies: list[bytes] = []
    at = 0
    while at < len(data):
        end = data.find(_END, at, at + _LONGEST)
        size = _SIZES.get(data[at:end]) if end > 0 else None
        if size is None:
            return None
        stop = end + 2 + size
        at = stop + 2
        if data[stop:at] != _END:
            return None
        bodies.append(data[end + 2 : stop])
    return b"".join(bodies)
