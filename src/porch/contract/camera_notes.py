"""What a camera writes into a picture beside the picture: where and when it was taken, by which device, by whom.

Who shows a picture means to show what is on it, and may share the conversation with strangers later.
"""

import re
import zlib
from typing import Literal

from porch.contract.pictures import PictureType, Unreadable

# An animation has a piece for each of its frames; what has more of them is made to keep a reader busy.
MAX_PIECES = 16_384
ORIENTATION = 0x0112
CUT = "it is cut off before its end"
_FILL = re.compile(rb"\xff+")
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_END, _SCAN, _COMMENT = 0xD9, 0xDA, 0xFE
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
# What of the applications' segments says how to draw it: densities, colour profile, Adobe's colour transform.
_DRAWN = {0xE0: b"JFIF\x00", 0xE2: b"ICC_PROFILE\x00", 0xEE: b"Adobe"}
_PNG_KEPT = frozenset(
    b"tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs sPLT acTL fcTL fdAT".split()
)
_WEBP_KEPT = frozenset([b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"])
_HAS_EXIF, _HAS_XMP = 0x08, 0x04


def strip_notes(data: bytes, media_type: PictureType) -> tuple[bytes, int]:
    """The picture as it is seen, and how it is turned for that: Exif's orientation, 1 (as it is) to 8, which it keeps.

    Pixels are copied as they are. What follows a picture's end goes, too. A GIF stays whole: cameras write none.
    Raises Unreadable for a picture that is cut off. Sources: JPEG (ITU-T T.81), annex B; PNG (third edition),
    section 11; WebP (RFC 9649), section 2.7; Exif 2.32, section 4.6.
    """
    match media_type:
        case "image/jpeg":
            return _bare_jpeg(data)
        case "image/png":
            return _bare_png(data)
        case "image/webp":
            return _bare_webp(data)
        case "image/gif":
            return data, 1


def _bare_jpeg(data: bytes) -> tuple[bytes, int]:
    kept, at, turn = [b"\xff\xd8"], 2, 1
    for _ in range(MAX_PIECES):
        filled = _FILL.match(data, at)
        if filled is None or filled.end() == len(data):
            raise Unreadable(CUT)
        at = filled.end()
        marker, begin = data[at], at - 1
        if marker == _END:
            exif = b"Exif\x00\x00" + _note_of(turn)
            told = [b"\xff\xe1", _big(len(exif) + 2, 2), exif] if turn > 1 else []
            return b"".join([kept[0], *told, *kept[1:], b"\xff\xd9"]), turn
        at += 1
        if marker in _BARE:
            continue
        end = at + int.from_bytes(data[at : at + 2], "big")
        if end < at + 2 or end > len(data):
            raise Unreadable(CUT)
        if marker == 0xE1 and data.startswith(b"Exif\x00", at + 2):
            turn = _orientation(data[at + 8 : end])
        is_drawn = _is_drawn(marker, data[at + 2 : end])
        if marker == _SCAN:
            scanned = _SCAN_END.search(data, end)
            if scanned is None:
                raise Unreadable(CUT)
            end = scanned.start()
        if is_drawn:
            kept.append(data[begin:end])
        at = end
    raise Unreadable("it has more pieces than a picture needs")


def _is_drawn(marker: int, body: bytes) -> bool:
    if 0xE0 <= marker <= 0xEF:
        return marker in _DRAWN and body.startswith(_DRAWN[marker])
    return marker != _COMMENT


def _bare_png(data: bytes) -> tuple[bytes, int]:
    kept, at, turn = [data[:33]], 33, 1
    for _ in range(MAX_PIECES):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            raise Unreadable(CUT)
        if kind == b"eXIf":
            turn = _orientation(data[at + 8 : end - 4])
        elif kind[:1].isupper() or kind in _PNG_KEPT:
            kept.append(data[at:end])
        if kind == b"IEND":
            note = b"eXIf" + _note_of(turn)
            told = [_big(len(note) - 4, 4), note, _big(zlib.crc32(note), 4)] if turn > 1 else []
            return b"".join([kept[0], *told, *kept[1:]]), turn
        at = end
    raise Unreadable("it has more pieces than a picture needs")


def _bare_webp(data: bytes) -> tuple[bytes, int]:
    whole, kept, at, turn = 8 + int.from_bytes(data[4:8], "little"), [b"WEBP"], 12, 1
    if whole > len(data):
        raise Unreadable(CUT)
    for _ in range(MAX_PIECES):
        if at + 8 > whole:
            break
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size
        if end > whole:
            raise Unreadable(CUT)
        if kind == b"EXIF":
            turn = _orientation(data[at + 8 : end].removeprefix(b"Exif\x00\x00"))
        elif kind in _WEBP_KEPT:
            kept.append(data[at:end] + b"\x00" * (size & 1))
        at = end + (size & 1)
    else:
        raise Unreadable("it has more pieces than a picture needs")
    if len(kept) == 1 or len(kept[1]) == 8:
        raise Unreadable(CUT)
    if kept[1].startswith(b"VP8X"):
        flags = kept[1][8] & ~(_HAS_EXIF | _HAS_XMP) | (_HAS_EXIF if turn > 1 else 0)
        kept[1] = kept[1][:8] + bytes([flags]) + kept[1][9:]
    if turn > 1:
        note = _note_of(turn)
        kept.append(b"EXIF" + len(note).to_bytes(4, "little") + note)
    body = b"".join(kept)
    return b"RIFF" + len(body).to_bytes(4, "little") + body, turn


def _orientation(tiff: bytes) -> int:
    """The orientation among the notes of the picture, 1 where they do not tell."""
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"
    first = int.from_bytes(tiff[4:8], order)
    for entry in range(int.from_bytes(tiff[first : first + 2], order)):
        at = first + 2 + 12 * entry
        if len(tiff) < at + 12:
            break
        if int.from_bytes(tiff[at : at + 2], order) == ORIENTATION:
            told = int.from_bytes(tiff[at + 8 : at + 10], order)
            return told if 1 <= told <= 8 else 1
    return 1


def _note_of(turn: int) -> bytes:
    """Notes that hold an orientation and nothing else (TIFF 6.0, section 2)."""
    return (
        b"MM\x00\x2a\x00\x00\x00\x08\x00\x01"
        + b"\x01\x12\x00\x03\x00\x00\x00\x01"
        + _big(turn, 2)
        + b"\x00" * 6
    )


def _big(number: int, size: int) -> bytes:
    return number.to_bytes(size, "big")
