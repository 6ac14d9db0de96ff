"""Pictures and files that a caller names by URL: fetched once for the message, as if the caller had sent the bytes."""

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from porch.background import end
from porch.contract.attachments import (
    MAX_ATTACHED_BYTES,
    MAX_FILE_BYTES,
    MAX_IMAGE_BYTES,
    MAX_PARTS,
    MIB,
    check_attached,
    file_part,
    image_part,
)
from porch.contract.errors import InvalidInput
from porch.contract.messages import FilePart, ImagePart, Part
from porch.contract.pictures import Unreadable, read_picture
from porch.egress import Egress, EgressError

FETCH_SECONDS: Final = 20.0
AT_ONCE: Final = 4
# That a name leads nowhere and that it leads inside is the same to a caller, who may not know what is inside.
_AWAY: Final = ("dns", "forbidden")


class NotFetched(InvalidInput):
    """Raised when a picture or file cannot be had from the URL that names it."""

    code = "url_not_fetched"


@dataclass(frozen=True, slots=True)
class Remote:
    """A picture, or any file, that is still at its URL. `pointer` is where that stands in what was sent."""

    url: str
    pointer: str
    picture: bool
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """A place among a message's parts that waits for what is at a URL."""

    parts: list[Part]
    at: int
    remote: Remote


def is_remote(url: object) -> bool:
    """Whether this is a URL that can be asked, and no data: URL."""
    return isinstance(url, str) and url[:8].lower().startswith(("http://", "https://"))


def lay_out(found: Sequence[Part | Remote]) -> tuple[list[Part], list[Gap]]:
    """A message's parts with a stand-in for each that is still at its URL, and the gaps to `fill`."""
    parts: list[Part] = []
    gaps: list[Gap] = []
    for at, part in enumerate(found):
        if isinstance(part, Remote):
            gaps.append(Gap(parts, at, part))
            parts.append(ImagePart(media_type="image/png") if part.picture else FilePart(media_type=""))
        else:
            parts.append(part)
    return parts, gaps


async def fill(egress: Egress, gaps: Sequence[Gap]) -> None:
    """Fetch what is at URLs, each once, and put it into its place.

    All together may take FETCH_SECONDS and MAX_ATTACHED_BYTES. Raises NotFetched and InvalidInput that point at
    the URL.
    """
    if not gaps:
        return
    wanted = {(gap.remote.url, gap.remote.picture): gap.remote for gap in gaps}
    if len(wanted) > MAX_PARTS:
        raise _refused(
            f"There are {len(wanted)} URLs; at most {MAX_PARTS} are fetched for a message.", gaps[0].remote
        )
    fetching = _Fetching(egress)
    tasks = {key: asyncio.create_task(fetching.get(remote)) for key, remote in wanted.items()}
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            await asyncio.gather(*tasks.values())
    except TimeoutError:
        said = (
            f"What stands at URLs was not there within {FETCH_SECONDS:g} seconds. Send the bytes themselves."
        )
        raise _refused(said, gaps[0].remote) from None
    finally:
        await end(*tasks.values())
    for gap in gaps:
        content, media_type = tasks[gap.remote.url, gap.remote.picture].result()
        gap.parts[gap.at] = _part(content, media_type, gap.remote)
    for gap in gaps:
        check_attached(gap.parts, gap.remote.pointer)


class _Fetching:
    """The requests of one message, a few at a time, within what one message may hold."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._left = MAX_ATTACHED_BYTES
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def get(self, remote: Remote) -> tuple[bytes, str]:
        """The bytes and what their server calls them. Raises NotFetched."""
        most = MAX_IMAGE_BYTES if remote.picture else MAX_FILE_BYTES
        async with self._turn:
            try:
                found = await self._egress.fetch(
                    remote.url,
                    seconds=FETCH_SECONDS,
                    max_bytes=most,
                    accept="image/*" if remote.picture else "*/*",
                )
            except EgressError as error:
                raise _refused(_explain(error, remote, most), remote) from error
        self._left -= len(found.content)
        if self._left < 0:
            said = f"The pictures and files at URLs are over {MAX_ATTACHED_BYTES // MIB} MiB together. Send fewer."
            raise _refused(said, remote)
        return found.content, found.media_type


def _part(content: bytes, named: str, remote: Remote) -> Part:
    """The part as if it had been sent. What it is goes by its bytes: servers call pictures many things."""
    data = base64.b64encode(content).decode("ascii")
    name = remote.name or PurePosixPath(unquote(urlsplit(remote.url).path)).name or None
    try:
        media_type: str = read_picture(content).media_type
    except Unreadable:
        media_type = (
            "application/pdf" if content.startswith(b"%PDF-") else named or "application/octet-stream"
        )
    if remote.picture or media_type.startswith("image/"):
        return image_part(media_type, data, pointer=remote.pointer, name=remote.name)
    return file_part(media_type, data, pointer=remote.pointer, name=name)


def _explain(error: EgressError, remote: Remote, most: int) -> str:
    what = "picture" if remote.picture else "file"
    host = _host(remote.url)
    if error.cause in _AWAY:
        why = "that is no place on the public internet"
    elif error.cause == "too_large":
        why = f"it is over {most // MIB} MiB"
    else:
        why = error.message[:1].lower() + error.message[1:].rstrip(".")
    return f"The {what} at {host} could not be fetched: {why}. Correct the URL, or send the bytes themselves."


def _host(url: str) -> str:
    """The host alone: the rest of a URL may be a secret."""
    try:
        return repr((urlsplit(url).hostname or "")[:100])
    except ValueError:
        return "this URL"


def _refused(sentence: str, remote: Remote) -> NotFetched:
    return NotFetched(sentence, errors=[{"pointer": remote.pointer, "detail": sentence}])
