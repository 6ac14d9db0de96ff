"""The file format of a backup: a tar of `manifest.json` and `database.dump`, in this order."""

import hashlib
import io
import os
import shutil
import tarfile
from pathlib import Path
from typing import IO

import msgspec

from porch.contract.errors import SetupError

MANIFEST, DUMP = "manifest.json", "database.dump"


class Manifest(msgspec.Struct, frozen=True):
    """What a backup says of itself. `schema` is the last migration, `sha256` and `size` are the dump's."""

    format: int
    porch: str
    postgres: int
    schema: int
    created_at: str
    sha256: str
    size: int


def pack(half: Path, manifest: Manifest) -> None:
    """Makes `half / "backup"` (0600) of the dump in the same folder, flushed to the disk."""
    content = msgspec.json.format(msgspec.json.encode(manifest))
    with (half / "backup").open("xb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            entry = tarfile.TarInfo(MANIFEST)
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
            entry = tarfile.TarInfo(DUMP)
            entry.size, entry.mode = manifest.size, 0o600
            with (half / DUMP).open("rb") as source:
                archive.addfile(entry, source)
        file.flush()
        os.fsync(file.fileno())
    (half / "backup").chmod(0o600)


def unpack(file: Path, target: Path) -> Manifest:
    """Puts the dump into the folder `target`, checked. Raises SetupError for a cut or a foreign file."""
    try:
        with file.open("rb") as source, tarfile.open(fileobj=source, mode="r:") as archive:
            first = archive.next()
            if first is None or first.name != MANIFEST or first.size > 100_000:
                raise _foreign(file)
            manifest = msgspec.json.decode(_member(archive, first).read(), type=Manifest)
            second = archive.next()
            if second is None or second.name != DUMP:
                raise _cut(file)
            with (target / DUMP).open("xb") as sink:
                shutil.copyfileobj(_member(archive, second), sink, 1 << 20)
    except FileNotFoundError as error:
        raise SetupError(f"There is no file {str(file)!r}.") from error
    except tarfile.ReadError as error:
        raise (_cut(file) if _looks_ours(file) else _foreign(file)) from error
    except msgspec.MsgspecError as error:
        raise _foreign(file) from error
    except OSError as error:
        raise SetupError(f"The backup {str(file)!r} cannot be read: {error.strerror or error}.") from error
    if (target / DUMP).stat().st_size != manifest.size or checksum_of(target / DUMP) != manifest.sha256:
        raise _cut(file)
    return manifest


def _member(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    found = archive.extractfile(entry)
    if found is None:
        raise tarfile.ReadError("not a file")
    return found


def _looks_ours(file: Path) -> bool:
    with file.open("rb") as source:
        return source.read(len(MANIFEST)) == MANIFEST.encode()


def _cut(file: Path) -> SetupError:
    return SetupError(
        f"The backup {str(file)!r} is damaged: a part of it is missing or changed. Nothing was restored; "
        "take another copy of it, or an older backup."
    )


def _foreign(file: Path) -> SetupError:
    return SetupError(f"{str(file)!r} is not a backup of Porch. `porch backup` makes one.")


def checksum_of(path: Path) -> str:
    """SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
