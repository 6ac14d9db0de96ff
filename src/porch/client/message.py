"""What one says to an agent: words, and pictures and documents beside them."""

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from porch.contract.errors import InvalidInput
from porch.contract.messages import FilePart, ImagePart, Part

Piece = str | Part | Mapping[str, Any]
Input = Piece | Sequence[Piece]
ImageType = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
UNKNOWN = "application/octet-stream"


def attach(
    source: str | PathLike[str] | bytes, *, name: str | None = None, media_type: str | None = None
) -> ImagePart | FilePart:
    """A file to send with a message, from a path or its bytes: a picture where its bytes are one, else a document.

    The type of a document goes by `media_type`, else by its name, else by whether it is text. Raises InvalidInput.
    """
    if isinstance(source, bytes):
        content = source
    else:
        path = Path(fspath(source))
        name = name or path.name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InvalidInput(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    if not content:
        raise InvalidInput(f"{name or 'What is attached'!r} is empty.")
    data = base64.b64encode(content).decode("ascii")
    if picture := _read_image_type(content):
        return ImagePart(media_type=picture, data=data, name=name)
    guessed = mimetypes.guess_type(name)[0] if name else None
    return FilePart(media_type=media_type or guessed or _guess(content), data=data, name=name)


def encode_input(message: Input) -> str | list[Any]:
    """A message as a request's JSON has it. Raises InvalidInput."""
    if isinstance(message, str):
        return message
    pieces: list[Any] = [message] if isinstance(message, Part | Mapping) else list(message)
    if not pieces:
        raise InvalidInput("The message is empty.")
    return [_encode_piece(piece) for piece in pieces]


def _encode_piece(piece: Any) -> Any:
    if isinstance(piece, str):
        return {"type": "text", "text": piece}
    if isinstance(piece, Part):
        return msgspec.to_builtins(piece)
    if isinstance(piece, Mapping):
        return dict(cast("Mapping[str, Any]", piece))
    raise InvalidInput(
        f"A message is made of text, parts and dicts, not of {type(piece).__name__}. Files go in by attach(path)."
    )


def _guess(content: bytes) -> str:
    try:
        return "text/plain" if "\0" not in content.decode("utf-8") else UNKNOWN
    except UnicodeDecodeError:
        return UNKNOWN


def _read_image_type(content: bytes) -> ImageType | None:
    """By the first bytes: a file's name may say anything."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return None
