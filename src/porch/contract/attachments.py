"""Pictures and files that come with a message: what is taken, and whether the bytes are what they are said to be."""

import base64
import binascii
import re
import unicodedata
from collections.abc import Sequence

from porch.contract.camera_notes import strip_notes
from porch.contract.errors import InvalidInput
from porch.contract.messages import FilePart, ImagePart, Part
from porch.contract.pictures import PICTURE_TYPES, Unreadable, read_picture

MIB = 1024 * 1024
MAX_IMAGE_BYTES = 5 * MIB
MAX_FILE_BYTES = 10 * MIB
MAX_ATTACHED_BYTES = 20 * MIB
MAX_PARTS = 20
MAX_SIDE = 8000
MAX_PIXELS = 50_000_000
MAX_NAME_CHARACTERS = 120
# From this orientation of Exif's on, a picture lies on its side.
LYING = 5

ALLOWED = (
    f"Pictures may be PNG, JPEG, GIF or WebP of up to {MAX_IMAGE_BYTES // MIB} MiB; files may be PDF, text (text/…) "
    f"or JSON of up to {MAX_FILE_BYTES // MIB} MiB"
)
_PDF = b"%PDF-"
_TYPE = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+-]{0,60}")


def image_part(media_type: str, data: str, *, pointer: str = "", name: str | None = None) -> ImagePart:
    """A picture from base64, measured as it is seen, without what a camera wrote into it of places and persons.

    `pointer` is where it stands in what was sent, a JSON pointer. Raises InvalidInput unless its bytes are of the type
    it is said to be, whole, and within the limits.
    """
    named = _name(name, f"{pointer}/name")
    what = f"The picture {named!r}" if named else "The picture"
    if media_type not in PICTURE_TYPES:
        raise _refused(f"{_named(media_type)} is no type of a picture. {ALLOWED}.", f"{pointer}/media_type")
    place = f"{pointer}/data"
    raw = _decoded(data, what, MAX_IMAGE_BYTES, place)
    try:
        found = read_picture(raw)
        if found.media_type != media_type:
            raise _refused(
                f"{what} is said to be {media_type}, but its bytes are {found.media_type}. Send it as what it is.",
                f"{pointer}/media_type",
            )
        if max(found.width, found.height) > MAX_SIDE or found.width * found.height > MAX_PIXELS:
            raise _refused(
                f"{what} is {found.width:,} by {found.height:,} pixels. At most {MAX_SIDE:,} a side and "
                f"{MAX_PIXELS // 1_000_000} million in all are taken; scale it down.",
                place,
            )
        bare, turn = strip_notes(raw, found.media_type)
    except Unreadable as error:
        raise _refused(
            f"{what} cannot be read: {error}. Save it anew as PNG, JPEG, GIF or WebP, then send it.", place
        ) from None
    width, height = (found.width, found.height) if turn < LYING else (found.height, found.width)
    return ImagePart(
        media_type=found.media_type,
        data=data if bare == raw else base64.b64encode(bare).decode(),
        name=named,
        width=width,
        height=height,
        size=len(bare),
    )


def file_part(media_type: str, data: str, *, pointer: str = "", name: str | None = None) -> FilePart:
    """A document from base64: a PDF, or text. Raises InvalidInput as `image_part` does."""
    essence = media_type.partition(";")[0].strip().lower()
    if not (essence in ("application/pdf", "application/json", *PICTURE_TYPES) or _is_text(essence)):
        raise _refused(
            f"Files of the type {_named(media_type)} are not taken. {ALLOWED}.", f"{pointer}/media_type"
        )
    named = _name(name, f"{pointer}/name")
    what = f"The file {named!r}" if named else "The file"
    place = f"{pointer}/data"
    raw = _decoded(data, what, MAX_FILE_BYTES, place)
    if essence in PICTURE_TYPES:
        raise _no_document(raw, what, essence, pointer)
    if essence == "application/pdf":
        if not raw.startswith(_PDF):
            raise _refused(f"{what} is said to be a PDF, but does not begin as one (%PDF-).", place)
    else:
        _check_text(raw, what, place)
    return FilePart(media_type=essence, data=data, name=named, size=len(raw))


def check_attached(parts: Sequence[Part], pointer: str = "") -> None:
    """Raise InvalidInput for more parts or more bytes than one message may hold."""
    check_count(len(parts), pointer)
    held = attached_bytes(parts)
    if held > MAX_ATTACHED_BYTES:
        raise _refused(
            f"The message's pictures and files are {held / MIB:.1f} MiB together; the limit is "
            f"{MAX_ATTACHED_BYTES // MIB}. Send them in several messages.",
            pointer,
        )


def check_count(parts: int, pointer: str = "") -> None:
    """Raise InvalidInput for more parts than one message may hold."""
    if parts > MAX_PARTS:
        raise _refused(
            f"The message has {parts:,} parts; the limit is {MAX_PARTS}. Send them in several messages.",
            pointer,
        )


def attached_bytes(parts: Sequence[Part]) -> int:
    """How large the pictures and files among these parts are together."""
    return sum(part.size or 0 for part in parts if isinstance(part, ImagePart | FilePart))


def _decoded(data: str, what: str, most: int, pointer: str) -> bytes:
    if len(data) > (most + 2) // 3 * 4:
        raise _too_large(what, len(data) // 4 * 3, most, pointer)
    try:
        raw = binascii.a2b_base64(data.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise _refused(
            f"{what} is not in base64 (RFC 4648, section 4, padded, on one line).", pointer
        ) from None
    if not raw:
        raise _refused(f"{what} is empty.", pointer)
    if len(raw) > most:
        raise _too_large(what, len(raw), most, pointer)
    return raw


def _too_large(what: str, size: int, most: int, pointer: str) -> InvalidInput:
    return _refused(
        f"{what} is {size:,} bytes large; the limit is {most // MIB} MiB. Make it smaller.", pointer
    )


def _no_document(raw: bytes, what: str, media_type: str, pointer: str) -> InvalidInput:
    """Why a file is refused that is said to be a picture: it is one, or it is not."""
    try:
        found = read_picture(raw).media_type
    except Unreadable as error:
        return _refused(
            f"{what} is said to be {media_type}, but {error}. Save it anew as PNG, JPEG, GIF or WebP, or send it as "
            "what it is.",
            f"{pointer}/data",
        )
    return _refused(
        f"{what} is a picture ({found}). A picture is a part of the type 'image'; send it as that.",
        f"{pointer}/media_type",
    )


def _check_text(raw: bytes, what: str, pointer: str) -> None:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise _refused(
            f"{what} is said to be text, but is not UTF-8: byte {error.start} is {raw[error.start]:#04x}. "
            "Save it as UTF-8.",
            pointer,
        ) from None
    if "\x00" in text:
        raise _refused(f"{what} is said to be text, but holds a NUL byte.", pointer)


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") and bool(_TYPE.fullmatch(media_type))


def _name(name: str | None, pointer: str) -> str | None:
    """The file's own name without folders and without what cannot be seen; None when nothing is left."""
    if name is None:
        return None
    last = re.split(r"[/\\]", name[-1000:])[-1]
    seen = "".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in last)
    text = " ".join(seen.split())
    if len(text) > MAX_NAME_CHARACTERS:
        raise _refused(f"The file's name is over {MAX_NAME_CHARACTERS} characters long; shorten it.", pointer)
    return text if text.strip(". ") else None


def _named(media_type: str) -> str:
    return repr(media_type[:80])


def _refused(sentence: str, pointer: str) -> InvalidInput:
    return InvalidInput(sentence, errors=[{"pointer": pointer, "detail": sentence}])
