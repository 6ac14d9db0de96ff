"""Where the journals of ended runs go when their workspace keeps them in the database no longer: one object each.

One object for each run, and not for many, since a deleted run must take its object with it.
"""

import asyncio
import contextlib
import logging
import os
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit
from uuid import UUID

import msgspec

from porch.contract.errors import SetupError, Unavailable
from porch.contract.ids import format_id
from porch.egress import EgressError
from porch.egress.objects import ObjectStore
from porch.runs.packs import DAMAGED, Damaged, Pack, check
from porch.storage.datadir import sync_folder

log = logging.getLogger(__name__)

FORMAT = 1
MAX_HEAD_BYTES = 16 * 1024 * 1024


class ArchiveUnavailable(Unavailable):
    """Raised when the archive does not answer, or is not configured and something lies in one."""

    code = "archive_unavailable"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of an object, as JSON; the pack's frames follow as they are. `checksum` is in hex."""

    format: int
    workspace: str
    run: str
    last: int
    codec: str
    blocks: list[int]
    size: int
    checksum: str


def name_of(workspace: UUID, run: UUID, ended: datetime) -> str:
    """The object's name: by workspace and month, so that a person finds it, too."""
    return f"{format_id('ws', workspace)}/{ended:%Y-%m}/{format_id('run', run)}.journal"


def encode(workspace: UUID, run: UUID, pack: Pack) -> bytes:
    """A run's object."""
    head = Head(
        format=FORMAT,
        workspace=format_id("ws", workspace),
        run=format_id("run", run),
        last=pack.last,
        codec=pack.codec,
        blocks=list(pack.blocks),
        size=pack.size,
        checksum=pack.checksum.hex(),
    )
    return msgspec.json.encode(head) + b"\n" + pack.frames


def decode(data: bytes, run: UUID) -> Pack:
    """The pack in an object, checked to its last byte. Raises Damaged."""
    head, _, frames = data.partition(b"\n")
    try:
        if len(head) > MAX_HEAD_BYTES:
            raise Damaged(DAMAGED)
        told = msgspec.json.decode(head, type=Head)
        pack = Pack(told.last, told.codec, told.blocks, told.size, bytes.fromhex(told.checksum), frames)
    except ValueError as error:
        raise Damaged(DAMAGED) from error
    if told.format != FORMAT or told.run != format_id("run", run) or not pack.blocks or len(pack.blocks) % 4:
        raise Damaged(DAMAGED)
    check(pack)
    return pack


class Objects(Protocol):
    """What an archive lies in."""

    async def put(self, name: str, data: bytes) -> None: ...
    async def get(self, name: str) -> bytes | None: ...
    async def delete(self, name: str) -> None: ...


class Archive:
    """Objects in a folder or a bucket; every failure is an ArchiveUnavailable."""

    def __init__(self, url: str, proxy: str | None = None) -> None:
        """Raises SetupError for a place that cannot be one."""
        self._url = url
        self._objects: Objects = (
            Folder(Path(unquote(urlsplit(url).path)))
            if url.startswith("file:")
            else ObjectStore.open(url, proxy)
        )

    async def put(self, name: str, data: bytes) -> None:
        """Write an object, and read it again to see that it is there."""
        try:
            await self._objects.put(name, data)
            stands = await self._objects.get(name) == data
        except (EgressError, OSError) as error:
            raise self._unavailable(error) from error
        if not stands:
            raise ArchiveUnavailable(
                "The archive answered other bytes than it was given. Nothing was removed."
            )

    async def get(self, name: str) -> bytes | None:
        """An object, or None."""
        try:
            return await self._objects.get(name)
        except (EgressError, OSError) as error:
            raise self._unavailable(error) from error

    async def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        try:
            await self._objects.delete(name)
        except (EgressError, OSError) as error:
            raise self._unavailable(error) from error

    def locate(self, name: str) -> str:
        """Where an object lies, for the operator's log alone."""
        return f"{self._url.rstrip('/')}/{name}"

    def _unavailable(self, error: EgressError | OSError) -> ArchiveUnavailable:
        log.warning("The archive at %s cannot be used just now: %s", self._url, error)
        if isinstance(error, EgressError):
            why = error.message
        elif isinstance(error, FileNotFoundError):
            why = "Its folder is not there."
        else:
            why = f"{error.strerror or 'It cannot be read'}."
        return ArchiveUnavailable(f"The archive of journals cannot be used just now. {why} Try again later.")


class Folder:
    """Objects as files of this account alone."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(
                f"The archive's folder {str(folder)!r} cannot be made: {error.strerror}. Correct archive_url."
            ) from error
        self._folder = folder

    async def put(self, name: str, data: bytes) -> None:
        """Whole or not at all, and on the disk before this returns."""
        await asyncio.to_thread(self._write, self._folder / name, data)

    async def get(self, name: str) -> bytes | None:
        """The file's bytes."""
        return await asyncio.to_thread(self._read, self._folder / name)

    async def delete(self, name: str) -> None:
        """Remove the file, and its folders when they are empty."""
        await asyncio.to_thread(self._remove, self._folder / name)

    def _check(self) -> None:
        """Raise FileNotFoundError where the folder is away, as one that is not mounted."""
        if not self._folder.is_dir():
            raise FileNotFoundError(2, "No such folder", str(self._folder))

    def _read(self, file: Path) -> bytes | None:
        try:
            return file.read_bytes()
        except FileNotFoundError:
            # A folder that is not mounted must not look like an object that is gone.
            self._check()
            return None

    def _write(self, file: Path, data: bytes) -> None:
        self._check()
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        half = file.with_name(f".{file.name}.{os.getpid()}.{id(data)}")
        try:
            with open(half, "xb", opener=_private) as sink:
                sink.write(data)
                sink.flush()
                os.fsync(sink.fileno())
            half.replace(file)
        finally:
            half.unlink(missing_ok=True)
        # Its folders may be new, and are on the disk only when those that hold them are.
        for folder in (file.parent, *file.parent.parents):
            sync_folder(folder)
            if folder == self._folder:
                break

    def _remove(self, file: Path) -> None:
        self._check()
        file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            for folder in (file.parent, file.parent.parent):
                folder.rmdir()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
