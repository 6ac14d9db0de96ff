"""Compressed bodies, unpacked piece by piece: a bomb is never whole in memory, and half a body is no body.

Gzip (RFC 1952) and deflate (RFC 1951, with or without the zlib frame of RFC 1950): no other coding is asked for.
"""

import zlib
from typing import Final, Protocol

CODINGS: Final = "gzip, deflate"
PIECE_BYTES: Final = 256 * 1024
_GZIP: Final = frozenset({"gzip", "x-gzip"})


class NotUnpackable(ValueError):  # leaves this room as an EgressError
    pass


class _Engine(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, /, max_length: int) -> bytes: ...


class Unpacker:
    """Unpacks one body as it comes. What follows its end is ignored, as browsers do."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._waiting = b""
        self._engine: _Engine | None = None

    def feed(self, data: bytes) -> None:
        """More of the body, once `take` has nothing more. Raises NotUnpackable for a coding that is not known."""
        if self._engine is None:
            self._engine = zlib.decompressobj(_window(self._coding, data[0]))
        self._waiting = data

    def take(self) -> bytes:
        """The next piece, of `PIECE_BYTES` at most; b"" when more must be fed first. Raises NotUnpackable."""
        if self._engine is None or self._engine.eof:
            return b""
        try:
            piece = self._engine.decompress(self._waiting, PIECE_BYTES)
        except zlib.error:
            raise NotUnpackable from None
        self._waiting = self._engine.unconsumed_tail
        return piece

    @property
    def whole(self) -> bool:
        """Whether the body may end here."""
        return self._engine is None or self._engine.eof


def find_unpacker(coding: str) -> Unpacker | None:
    """What unpacks a body of this Content-Encoding; None for one that is as it is."""
    coding = coding.strip().lower()
    return None if coding in ("", "identity") else Unpacker(coding)


def _window(coding: str, first: int) -> int:
    """The `wbits` of a coding; many servers leave out deflate's frame, which shows in its first byte."""
    if coding in _GZIP:
        return 16 + zlib.MAX_WBITS
    if coding == "deflate":
        return zlib.MAX_WBITS if first & 0x0F == 8 else -zlib.MAX_WBITS
    raise NotUnpackable
