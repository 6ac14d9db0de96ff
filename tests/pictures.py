"""Small pictures of every kind, made by hand from their specifications."""

import base64
import struct
import zlib

PNG_SIGN = b"\x89PNG\r\n\x1a\n"
JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"


def png(
    width: int = 4, height: int = 3, colour: bytes = b"\x99\x33\x00", before: bytes = b"", size: int = 0
) -> bytes:
    """A whole PNG in one colour, which browsers draw, with other chunks before its pixels, filled up to a size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\x00" + colour * width) * height)
    begins = PNG_SIGN + chunk(b"IHDR", header) + before
    whole = begins + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    if len(whole) < size:
        # After the end of what is compressed, readers ignore the rest.
        return begins + chunk(b"IDAT", rows + b"\x00" * (size - len(whole))) + chunk(b"IEND", b"")
    return whole


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG of any size."""
    return PNG_SIGN + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def jpeg(width: int = 4, height: int = 3, before: bytes = JFIF) -> bytes:
    """A JPEG without its tables, with other segments before its frame header."""
    frame = segment(0xC0, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00")
    scan = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + b"pixels\xff\x00more\xff\xd0and more"
    return b"\xff\xd8" + before + frame + scan + b"\xff\xd9"


def gif(width: int = 4, height: int = 3) -> bytes:
    """A GIF of one pixel on a screen of that size."""
    image = b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\x00\x00\x00\xff\xff\xff" + image


def webp(kind: bytes = b"VP8X", width: int = 4, height: int = 3, after: bytes = b"", flags: int = 0) -> bytes:
    """The beginning of a WebP, in one of its three kinds, with other chunks after it."""
    if kind == b"VP8 ":
        body = b"\x10\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height)
    elif kind == b"VP8L":
        body = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + b"\x00" * 5
    else:
        body = (
            bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        )
    held = b"WEBP" + riff(kind, body) + after
    return b"RIFF" + struct.pack("<I", len(held)) + held


def coded(data: bytes) -> str:
    """As a message carries it."""
    return base64.b64encode(data).decode()


def tiff(orientation: int = 1, order: str = ">") -> bytes:
    """A camera's notes as Exif has them: which way is up, and where it was."""
    head = b"MM" if order == ">" else b"II"
    make = struct.pack(f"{order}HHI4s", 0x010F, 2, 4, b"ACME")
    turn = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    place = struct.pack(f"{order}HHI4s", 0x8825, 4, 1, b"52.5")
    return head + struct.pack(f"{order}HIH", 42, 8, 3) + make + turn + place + b"\x00" * 4


def segment(marker: int, body: bytes) -> bytes:
    """A piece of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def chunk(kind: bytes, body: bytes) -> bytes:
    """A piece of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def riff(kind: bytes, body: bytes) -> bytes:
    """A piece of a WebP."""
    return kind + struct.pack("<I", len(body)) + body + b"\x00" * (len(body) % 2)
