"""A PostgreSQL data directory on disk: where it lies, how it is made, and what its pid file says."""

import os
import secrets
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from porch.contract.errors import SetupError
from porch.storage.account import Account
from porch.storage.binaries import DEFAULT_MAJOR, Binaries
from porch.storage.datadir import RECORD, DataDir, check_room, write_private
from porch.storage.process import run

# Where the database of a data folder goes when PostgreSQL's account cannot enter that folder.
OUTSIDE = Path("/var/lib/porch")

CONFIGURATION = """\
# Porch writes this file at every start. Your own settings go below its include in postgresql.conf and win.
max_connections = 60
shared_buffers = 64MB
max_wal_size = 512MB
min_wal_size = 64MB
max_logical_replication_workers = 0
max_wal_senders = 0
wal_level = minimal
jit = off
# Until a table has been looked at once, it is planned for as if it were empty.
autovacuum_naptime = 15s
# A query whose client is gone ends soon, and its locks with it.
client_connection_check_interval = 2s
log_timezone = 'UTC'
timezone = 'UTC'
log_line_prefix = '%m [%p] '
log_checkpoints = off
fsync = on
synchronous_commit = on
"""


class Passwords(msgspec.Struct):
    """The random passwords of the three roles that log in."""

    postgres: str
    porch_owner: str
    porch_app: str


class Record(msgspec.Struct):
    """`postgres.json` in the data folder: where the database is, and the passwords to it. 0600."""

    home: str
    major: int
    passwords: Passwords
    provisioned: bool = False


@dataclass
class Cluster:
    """The database of one data folder: `home` holds it with its sockets and, when needed, copied programs."""

    data_dir: DataDir
    account: Account
    record: Record
    file: str = RECORD

    @property
    def home(self) -> Path:
        """Below the data folder (kept as a relative path: folders move) or outside (absolute)."""
        return self.data_dir.path / self.record.home

    @property
    def data(self) -> Path:
        """What PostgreSQL calls PGDATA."""
        return self.home / str(self.record.major)

    def save(self) -> None:
        """Writes the record down."""
        self.data_dir.write_secret(self.file, msgspec.json.format(msgspec.json.encode(self.record)) + b"\n")

    def postmaster(self) -> "Postmaster | None":
        """What the pid file says, whether that process lives or not."""
        try:
            return Postmaster.parse((self.data / "postmaster.pid").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None


@dataclass(frozen=True)
class Postmaster:
    """The pid file of a PostgreSQL: its process, its socket folder, and whether it takes connections."""

    pid: int
    sockets: str
    port: int
    ready: bool

    @classmethod
    def parse(cls, text: str) -> "Postmaster":
        """Source: PostgreSQL's src/include/utils/pidfile.h. Raises ValueError for a half-written file."""
        lines = [line.strip() for line in text.splitlines()] or [""]
        sockets, port = (lines[4], int(lines[3])) if len(lines) > 4 else ("", 0)
        return cls(int(lines[0]), sockets, port, lines[7:8] == ["ready"])

    def runs_in(self, data: Path) -> bool:
        """Whether that process lives and is the PostgreSQL of `data`, not another that got its number."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        if not sys.platform.startswith("linux"):
            return True
        try:
            return Path(f"/proc/{self.pid}/cwd").samefile(data)
        except OSError:
            return False


def clear_sockets(folder: Path) -> None:
    """Removes what a killed server left in a folder of sockets that nobody else uses.

    A lock there may carry the number of a process that is not buried yet, or that is somebody else's by now, and
    PostgreSQL would believe it.
    """
    for leftover in folder.glob(".s.PGSQL.*"):
        leftover.unlink(missing_ok=True)


def open_cluster(
    data_dir: DataDir,
    account: Account,
    major: int | None,
    *,
    outside: Path = OUTSIDE,
    file: str = RECORD,
    create: bool = True,
) -> Cluster:
    """The data folder's database, or the plan of a new one. Raises SetupError for another major version."""
    try:
        record = msgspec.json.decode((data_dir.path / file).read_bytes(), type=Record)
    except FileNotFoundError:
        if not create:
            raise SetupError(f"There is no database in the data folder {str(data_dir.path)!r}.") from None
        home = choose_home(data_dir, account, outside)
        if any(home.glob("[0-9]*/PG_VERSION")):
            raise SetupError(
                f"There is a database in {str(home)!r}, but its passwords are gone: {RECORD} is missing from "
                f"{str(data_dir.path)!r}. Put that file back, or restore a backup into another data folder."
            ) from None
        kept = home.name if home.parent == data_dir.path else str(home)
        cluster = Cluster(data_dir, account, Record(kept, major or DEFAULT_MAJOR, _passwords()))
        cluster.save()
        return cluster
    except msgspec.MsgspecError as error:
        raise SetupError(
            f"{str(data_dir.path / RECORD)!r} cannot be read: {error}. Put it back from a backup."
        ) from error
    cluster = Cluster(data_dir, account, record, file)
    _check_version(cluster, major)
    return cluster


def choose_home(data_dir: DataDir, account: Account, outside: Path) -> Path:
    """Below the data folder when `account` can get there, else below `outside`; the parents stay closed."""
    if account.can_enter(data_dir.path.parent):
        return data_dir.path / "postgres"
    home = outside / data_dir.instance
    try:
        outside.mkdir(parents=True, exist_ok=True, mode=0o755)
    except OSError as error:
        raise SetupError(
            f"PostgreSQL runs as {account.name!r}, which cannot enter {str(data_dir.path)!r}, and "
            f"{str(outside)!r} cannot be made for it: {error.strerror}. Choose a --data-dir that "
            "it can reach, such as /srv/porch, or run Porch as a normal user."
        ) from error
    if not account.can_enter(outside):
        raise SetupError(
            f"PostgreSQL runs as {account.name!r}, which can enter neither {str(data_dir.path)!r} nor "
            f"{str(outside)!r}. Choose a --data-dir that it can reach, such as /srv/porch."
        )
    return home


def admit(cluster: Cluster) -> None:
    """Makes the folders on the way to the database, passable for its account, with room for a new one."""
    if not Path(cluster.record.home).is_absolute():
        cluster.account.admit(cluster.data_dir.path)
    cluster.home.mkdir(exist_ok=True, mode=0o700)
    cluster.account.admit(cluster.home)
    if not cluster.account.can_enter(cluster.home):
        raise SetupError(
            f"PostgreSQL runs as {cluster.account.name!r}, which cannot enter {str(cluster.home)!r}. "
            "Move the data folder back to where that account could reach it, or run Porch as a normal user."
        )
    if not cluster.data.exists():
        check_room(cluster.home)


async def initialise(cluster: Cluster, binaries: Binaries) -> None:
    """Makes the data directory (initdb) in one step: a crash leaves nothing that looks finished."""
    if cluster.data.exists():
        return
    for left in cluster.home.glob(".new-*"):
        shutil.rmtree(left, ignore_errors=True)
    half = Path(tempfile.mkdtemp(prefix=".new-", dir=cluster.home))
    cluster.account.take(half, 0o700)
    secret = half / "password"
    data = half / "data"
    secret.write_text(cluster.record.passwords.postgres + "\n", encoding="utf-8")
    cluster.account.take(secret, 0o600)
    what = "Making a new database (initdb)"
    locale = (
        ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if binaries.major >= 17 else ["--locale=C"]
    )
    await run(
        [
            binaries.program("initdb"),
            f"--pgdata={data}",
            "--username=postgres",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            *locale,
            "--no-sync",
            "--no-instructions",
        ],
        cluster.account,
        what=what,
    )
    with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write("\ninclude 'porch.conf'\n# Your own settings go below this line.\n")
    write_configuration(cluster, data)
    sync = [binaries.program("initdb"), "--sync-only", f"--pgdata={data}"]
    await run(
        [*sync, "--sync-method=syncfs"] if binaries.major >= 17 and sys.platform == "linux" else sync,
        cluster.account,
        what=what,
    )
    data.rename(cluster.data)
    shutil.rmtree(half)


def write_configuration(cluster: Cluster, data: Path, extra: dict[str, str] | None = None) -> None:
    """Writes Porch's part of the configuration; `extra` is for tests."""
    lines = "".join(f"{key} = '{value}'\n" for key, value in (extra or {}).items())
    path = data / "porch.conf"
    write_private(path, (CONFIGURATION + lines).encode())
    cluster.account.take(path, 0o600)


def _check_version(cluster: Cluster, major: int | None) -> None:
    wanted = major or DEFAULT_MAJOR
    has = cluster.record.major
    if has < wanted:
        raise SetupError(
            f"The data folder {str(cluster.data_dir.path)!r} is of PostgreSQL {has}, and this Porch runs "
            f"{wanted}. Run `porch upgrade-data` once; it keeps the old data until the new one is complete."
        )
    if has > wanted:
        raise SetupError(
            f"The data folder {str(cluster.data_dir.path)!r} is of PostgreSQL {has}, and this Porch runs "
            f"{wanted}. Run the newer Porch that made it."
        )


def _passwords() -> Passwords:
    return Passwords(*(secrets.token_urlsafe(32) for _ in range(3)))
