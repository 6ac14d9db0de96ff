"""Pictures and files of messages: their bytes are kept apart from what was said, and fetched where they are needed."""

import base64
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote
from uuid import UUID

import msgspec

from porch.contract.errors import NotFound
from porch.contract.ids import format_id, new_uuid, parse_id
from porch.contract.messages import FilePart, ImagePart, Message, Part
from porch.storage.connection import Connection

Attached = ImagePart | FilePart

# Whatever a file holds, nothing in it runs, and no other site shows it as its own.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class StoredFile:
    """The bytes that a part of this message names."""

    id: UUID
    message: UUID
    content: bytes


def stow(message: UUID, parts: Sequence[Part]) -> tuple[list[Part], list[StoredFile]]:
    """A message's parts as they are kept, and apart from them the bytes of its files."""
    kept: list[Part] = []
    files: list[StoredFile] = []
    for part in parts:
        if isinstance(part, Attached) and part.data:
            file = StoredFile(new_uuid(), message, base64.b64decode(part.data))
            files.append(file)
            part = msgspec.structs.replace(  # noqa: PLW2901 - the same part, kept apart from its bytes
                part, data="", file=format_id("file", file.id), size=len(file.content)
            )
        kept.append(part)
    return kept, files


async def insert_files(connection: Connection, workspace: UUID, files: Sequence[StoredFile]) -> None:
    """Keeps files beside their messages, in the transaction that writes these."""
    await connection.execute(
        "INSERT INTO porch.files (workspace_id, id, message_id, content)"
        " SELECT $1, f.id, f.message, f.content"
        " FROM unnest($2::uuid[], $3::uuid[], $4::bytea[]) AS f (id, message, content)",
        workspace,
        [file.id for file in files],
        [file.message for file in files],
        [file.content for file in files],
    )


def has_files(parts: Sequence[Part]) -> bool:
    """Whether a part's bytes are kept apart from it."""
    return any(isinstance(part, Attached) and part.file for part in parts)


async def fill(
    connection: Connection, workspace: UUID, messages: Sequence[Sequence[Part]], room: int
) -> list[list[Part]]:
    """The parts of messages with the bytes of their files, as many as fill `room`, those of the first first."""
    wanted: list[UUID] = []
    for parts in messages:
        for part in parts:
            if isinstance(part, Attached) and part.file:
                room -= part.size or 0
                if room >= 0:
                    wanted.append(parse_id("file", part.file))
    rows = await connection.fetch(
        "SELECT id, content FROM porch.files WHERE workspace_id = $1 AND id = ANY ($2)", workspace, wanted
    )
    found = {format_id("file", row["id"]): row["content"] for row in rows}
    return [[_filled(part, found) for part in parts] for parts in messages]


def _filled(part: Part, found: Mapping[str, bytes]) -> Part:
    if not isinstance(part, Attached) or part.file is None or part.file not in found:
        return part
    return msgspec.structs.replace(part, data=base64.b64encode(found[part.file]).decode(), file=None)


def without_names(message: Message) -> Message:
    """The message without our names of bytes that are not there any more."""
    if not has_files(message.parts):
        return message
    parts: list[Part] = [
        msgspec.structs.replace(part, file=None) if isinstance(part, Attached) else part
        for part in message.parts
    ]
    return msgspec.structs.replace(message, parts=parts)


def with_urls(message: Message, base: str) -> Message:
    """The message with the place of each file below `base`."""
    if not has_files(message.parts):
        return message
    parts: list[Part] = [
        msgspec.structs.replace(part, file=None, url=f"{base}/messages/{message.id}/parts/{at}")
        if isinstance(part, Attached)
        else part
        for at, part in enumerate(message.parts)
    ]
    return msgspec.structs.replace(message, parts=parts)


async def read_file(
    connection: Connection, workspace: UUID, conversation: UUID, message: UUID, at: int
) -> tuple[Attached, bytes]:
    """A message's file, by its place among the parts, and its bytes. Raises NotFound."""
    kept = await connection.fetchval(
        "SELECT m.parts -> $4::integer FROM porch.messages m"
        " WHERE m.workspace_id = $1 AND m.conversation_id = $2 AND m.id = $3",
        workspace,
        conversation,
        message,
        at,
    )
    part = msgspec.json.decode(kept, type=Part) if kept else None
    if isinstance(part, Attached) and part.file:
        content = await connection.fetchval(
            "SELECT content FROM porch.files WHERE workspace_id = $1 AND id = $2",
            workspace,
            parse_id("file", part.file),
        )
        if content is not None:
            return part, content
    raise NotFound("There is no picture or file at this place of the message.")


def file_headers(part: Attached, *, keep: bool) -> dict[str, str]:
    """What goes with the bytes: a picture is shown, everything else is downloaded.

    `keep` allows this one reader's browser to hold it for an hour; a message never changes.
    """
    media_type = part.media_type
    if media_type.startswith("text/"):
        media_type = "text/plain; charset=utf-8"  # whatever markup it is, it is not a page of this site
    kept = {"Cache-Control": "private, max-age=3600"} if keep else {}
    return {**HEADERS, **kept, "Content-Type": media_type, "Content-Disposition": _disposition(part)}


def _disposition(part: Attached) -> str:
    """A Content-Disposition with the file's name, safe in every client. Source: RFC 6266, appendix D."""
    way = "inline" if isinstance(part, ImagePart) else "attachment"
    ending = part.media_type.rpartition("/")[2]
    name = part.name or f"{'picture' if isinstance(part, ImagePart) else 'file'}.{ending}"
    plain = unicodedata.normalize("NFKD", name)
    ascii_name = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-.") or f"file.{ending}"
    return f"{way}; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe='')}"
