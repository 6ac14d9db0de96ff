"""The data folder: that it can be used, whose it is, and who holds it just now."""

import errno
import fcntl
import json
import os
import pwd
import secrets
import shutil
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import msgspec

from porch.contract.errors import SetupError

MARK = "porch.json"
LOCK = "porch.lock"
RECORD = "postgres.json"
# Bytes that a new database takes with its first write-ahead log.
ROOM = 200_000_000
# What may lie in a folder that is not Porch's yet.
HARMLESS = frozenset({MARK, LOCK, "porch.toml", "credentials.json", "lost+found", ".DS_Store", ".gitignore"})


class _Home(msgspec.Struct):
    home: str


@dataclass(frozen=True)
class Holder:
    """The process that holds a data folder. `url` is where it serves, once it does.

    A server that is not `lasting` ends with the one command that started it.
    """

    pid: int
    host: str
    since: str
    url: str | None = None
    lasting: bool = True


class DataDir:
    """A data folder by path. Nothing is touched before `prepare` or `hold`."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser().absolute()

    @property
    def instance(self) -> str:
        """This installation's random id, 16 hex digits, made with the folder."""
        return str(
            msgspec.json.decode((self.path / MARK).read_bytes(), type=dict[str, str | int])["instance"]
        )

    def prepare(self) -> None:
        """Creates the folder (0700) or checks that it is ours and can hold a database. Raises SetupError."""
        try:
            self._create()
            self._check_owner()
            self._check_content()
            self._check_filesystem()
        except OSError as error:
            raise self._unusable(error) from error

    def hold(self) -> "Hold":
        """Takes the folder for this process, until `release` or the process's end.

        Raises SetupError naming the process that has it.
        """
        self.prepare()
        try:
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        # Somebody who only asks who holds it has the lock for an instant, too.
        deadline = time.monotonic() + 0.3
        while not _lock(descriptor, self.path):
            if time.monotonic() > deadline:
                holder = _read(descriptor)
                os.close(descriptor)
                raise self.held_by(holder)
            time.sleep(0.02)
        holder = Holder(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"))
        try:
            return Hold(descriptor, holder)
        except OSError as error:
            os.close(descriptor)
            raise self._unusable(error) from error

    def read_holder(self) -> Holder | None:
        """Who holds the folder just now, or None. What a dead process left behind does not count."""
        try:
            descriptor = os.open(self.path / LOCK, os.O_RDONLY)
        except OSError:
            return None
        try:
            if _lock(descriptor, self.path, shared=True):
                return None
            return _read(descriptor)
        finally:
            os.close(descriptor)

    def held_by(self, holder: Holder | None) -> SetupError:
        """The error for a folder that somebody else has, with what to do."""
        return SetupError(self._held(holder))

    def write_secret(self, name: str, content: bytes) -> None:
        """Writes a file into the folder, readable by us alone (0600), in one step that survives a crash."""
        write_private(self.path / name, content)

    def _create(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise SetupError(f"{str(self.path)!r} is a file. Choose a folder with --data-dir.")
        if not self.path.exists():
            self.path.mkdir(parents=True, mode=0o700, exist_ok=True)

    def _check_owner(self) -> None:
        owner = self.path.stat().st_uid
        if owner == os.geteuid():
            return
        if os.geteuid() == 0 and not any(self.path.iterdir()):
            # A fresh volume of a container, say.
            os.chown(self.path, 0, 0)
            return
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = str(owner)
        raise SetupError(
            f"The data folder {str(self.path)!r} belongs to the user {name!r}. "
            "Run Porch as that user, or choose another folder with --data-dir."
        )

    def _check_content(self) -> None:
        # Another process may be making this folder just now, so its mark is looked for after this list.
        names = (entry.name for entry in self.path.iterdir())
        foreign = sorted(
            name for name in names if name not in HARMLESS and not name.startswith((f".{MARK}.", ".probe-"))
        )
        if (self.path / MARK).exists():
            try:
                known = msgspec.json.decode((self.path / MARK).read_bytes(), type=dict[str, str | int])
            except msgspec.MsgspecError as error:
                raise SetupError(
                    f"{str(self.path / MARK)!r} cannot be read: {error}. Restore it from a backup."
                ) from error
            if known.get("format") != 1:
                raise SetupError(
                    f"The data folder {str(self.path)!r} was made by a newer Porch. Run that version."
                )
        elif foreign:
            raise SetupError(
                f"The folder {str(self.path)!r} holds files that are not Porch's "
                f"({', '.join(map(repr, foreign[:3]))}{'…' if len(foreign) > 3 else ''}). "
                "Choose an empty or new folder with --data-dir."
            )

    def _check_filesystem(self) -> None:
        if os.geteuid() == self.path.stat().st_uid and self.path.stat().st_mode & 0o067:
            self.path.chmod(0o700)
        if self.path.stat().st_mode & 0o007:
            raise SetupError(
                f"The filesystem of {str(self.path)!r} does not keep permissions (a share, perhaps), "
                "so secrets would be readable by others. Choose a folder on a local disk with --data-dir."
            )
        if not (self.path / MARK).exists():
            mark = {"format": 1, "instance": secrets.token_hex(8)}
            write_private(self.path / MARK, msgspec.json.encode(mark), replace=False)
        elif not os.access(self.path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "Permission denied")
        else:
            probe = self.path / f".probe-{os.getpid()}"
            probe.touch(mode=0o600)
            probe.unlink()

    def _unusable(self, error: OSError) -> SetupError:
        why = {
            errno.EROFS: "lies on a read-only filesystem",
            errno.EACCES: "may not be written by this user",
            errno.EPERM: "may not be written by this user",
            errno.ENOSPC: f"is on a full disk (PostgreSQL needs {_gigabytes(ROOM)})",
            errno.EDQUOT: "is over its disk quota",
        }.get(error.errno or 0, f"cannot be used: {error.strerror or error}")
        return SetupError(
            f"The data folder {str(self.path)!r} {why}. Mend that, or choose another folder with --data-dir."
        )

    def _held(self, holder: Holder | None) -> str:
        if holder is None:
            return (
                f"Data folder {str(self.path)!r} is held by another process. Stop it, "
                "or choose another --data-dir."
            )
        serving = f", serving {holder.url}: use that one (porch chat …)," if holder.url else ": wait for it,"
        elsewhere = f" on {holder.host}" if holder.host != socket.gethostname() else ""
        return (
            f"Data folder {str(self.path)!r} is held by process {holder.pid}{elsewhere} since {holder.since}"
            f"{serving} or stop it, or choose another --data-dir."
        )


class Hold:
    """The lock on a data folder, while this process has it. A context manager."""

    def __init__(self, descriptor: int, holder: Holder) -> None:
        self._descriptor: int | None = descriptor
        self.holder = holder
        self._write()

    def announce(self, url: str, *, lasting: bool = True) -> None:
        """Tells others where this process serves, and whether for longer than one command."""
        self.holder = Holder(self.holder.pid, self.holder.host, self.holder.since, url, lasting)
        self._write()

    def release(self) -> None:
        """Gives the folder up; again is fine."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self) -> None:
        if self._descriptor is None:
            return
        content = json.dumps(asdict(self.holder)).encode() + b"\n"
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))

    def __enter__(self) -> "Hold":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def find_home(data_dir: Path) -> Path | None:
    """Where the data folder's own database lies, in it or outside; None while there is none."""
    try:
        record = msgspec.json.decode((data_dir / RECORD).read_bytes(), type=_Home)
    except (OSError, msgspec.MsgspecError):
        return None
    return data_dir / record.home


def check_room(folder: Path) -> None:
    """That a new database fits on the disk of `folder`, which exists. Raises SetupError."""
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        raise SetupError(
            f"{_gigabytes(free)} free in {str(folder)!r}; PostgreSQL needs {_gigabytes(ROOM)}: make room or "
            "choose another --data-dir."
        )


def write_private(path: Path, content: bytes, *, replace: bool = True) -> None:
    """Writes a file with mode 0600 so that a crash leaves the old one or the new one, never a part.

    Without `replace` a file that another process made meanwhile stays.
    """
    half = path.with_name(f".{path.name}.{os.getpid()}.half")
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            half.replace(path)
        else:
            _place(half, path)
    except OSError:
        half.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _place(half: Path, path: Path) -> None:
    """Gives a file its name unless that is taken, where the filesystem has hard links; elsewhere in any case."""
    try:
        path.hardlink_to(half)
    except FileExistsError:
        pass
    except OSError:
        half.replace(path)
        return
    half.unlink()


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def lock_file(path: Path, folder: Path) -> int | None:
    """A descriptor that holds an exclusive lock on a file of ours, or None when another process does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if _lock(descriptor, folder):
        return descriptor
    os.close(descriptor)
    return None


def sync_folder(folder: Path) -> None:
    """Makes a new name in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, *, shared: bool = False) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise SetupError(
            f"The filesystem of {str(folder)!r} has no file locks ({error.strerror}), so two servers could "
            "not be kept apart. Choose a folder on a local disk with --data-dir."
        ) from error
    return True


def _read(descriptor: int) -> Holder | None:
    try:
        return msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Holder)
    except msgspec.MsgspecError:
        return None
