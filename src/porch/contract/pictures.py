"""What a picture's own bytes say: which kind it is, and how large it is drawn."""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

PictureType = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
PICTURE_TYPES: tuple[PictureType, ...] = ("image/png", "image/jpeg", "image/gif", "image/webp")

# Cameras write a few dozen segments before the frame's; what has hundreds is made to keep a reader busy.
MAX_SEGMENTS = 512
MAX_BLOCKS = 16_384
_FILL = re.compile(rb"\xff+")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
_EXTENSION, _FRAME = 0x21, 0x2C
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's type by its bytes, and its sides in pixels."""

    media_type: PictureType
    width: int
    height: int


class Unreadable(ValueError):
    """Raised for bytes that are no picture of a known kind, or whose header is broken."""


def read_picture(data: bytes) -> Picture:
    """The picture's type and size, from its header alone. Raises Unreadable with a clause that says why.

    Sources: PNG (third edition), section 11.2.1; JPEG (ITU-T T.81), annex B; GIF89a, section 18; WebP (RFC 9649).
    """
    for media_type, begins, measure in _KINDS:
        if begins(data):
            width, height = measure(data)
            if width == 0 or height == 0:
                raise Unreadable("its header says that it has no width or no height")
            return Picture(media_type, width, height)
    raise Unreadable("its bytes are none of a PNG, JPEG, GIF or WebP picture")


def _png(data: bytes) -> tuple[int, int]:
    if len(data) < 33 or data[8:16] != b"\x00\x00\x00\rIHDR":
        raise Unreadable("it begins as a PNG, but has no IHDR chunk")
    if zlib.crc32(data[12:29]).to_bytes(4, "big") != data[29:33]:
        raise Unreadable("it begins as a PNG, but its IHDR chunk is damaged")
    if data[24] not in _DEPTHS.get(data[25], ()):
        raise Unreadable("it begins as a PNG, but with a colour type that PNG does not have")
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    for _ in range(MAX_SEGMENTS):
        filled = _FILL.match(data, at)
        if filled is None:
            break
        at = filled.end()
        marker, at = data[at : at + 1], at + 1
        if not marker or marker[0] in {0xD9, 0xDA}:
            break
        if marker[0] in _BARE:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if length < 2 or at + length > len(data):
            break
        if marker[0] in _FRAMES:
            if length < 8:
                break
            return int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 3 : at + 5], "big")
        at += length
    raise Unreadable("it begins as a JPEG, but no frame header follows")


def _gif(data: bytes) -> tuple[int, int]:
    """The sides of the screen, or of the first frame where that goes beyond it: browsers make room for it."""
    if len(data) < 13:
        raise Unreadable("it begins as a GIF, but is cut off")
    width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    inside = False
    for _ in range(MAX_BLOCKS):
        if at + 10 > len(data):
            break
        if inside:
            inside = data[at] > 0
            at += 1 + data[at]
        elif data[at] == _EXTENSION:
            inside = True
            at += 2
        elif data[at] == _FRAME and width and height:
            left, top, wide, high = struct.unpack_from("<4H", data, at + 1)
            return max(width, left + wide), max(height, top + high)
        else:
            break
    raise Unreadable("it begins as a GIF, but no frame follows")


def _webp(data: bytes) -> tuple[int, int]:
    kind, body = data[12:16], data[20:30]
    if len(body) == 10 and kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        sides = int.from_bytes(body[6:8], "little"), int.from_bytes(body[8:10], "little")
        return sides[0] & 0x3FFF, sides[1] & 0x3FFF
    if len(body) >= 5 and kind == b"VP8L" and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if len(body) == 10 and kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    raise Unreadable("it begins as a WebP, but its first chunk is damaged")


_KINDS: tuple[tuple[PictureType, Callable[[bytes], bool], Callable[[bytes], tuple[int, int]]], ...] = (
    ("image/png", lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"), _png),
    ("image/jpeg", lambda data: data.startswith(b"\xff\xd8\xff"), _jpeg),
    ("image/gif", lambda data: data.startswith((b"GIF87a", b"GIF89a")), _gif),
    ("image/webp", lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP", _webp),
)
