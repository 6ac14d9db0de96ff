"""The PostgreSQL that Porch brings along and runs by itself in its data folder."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote as percent

import msgspec

from porch.contract.errors import SetupError
from porch.storage.account import Account, choose_account
from porch.storage.binaries import Binaries, locate_binaries
from porch.storage.cluster import (
    OUTSIDE,
    RECORD,
    Cluster,
    Passwords,
    Postmaster,
    Record,
    admit,
    clear_sockets,
    initialise,
    open_cluster,
    write_configuration,
)
from porch.storage.connection import connected
from porch.storage.datadir import DataDir, lock_file
from porch.storage.process import describe_exit, spawn
from porch.storage.progress import Progress, silence
from porch.storage.provision import APP, DATABASE, OWNER, provisioning

# sun_path holds 108 bytes on Linux, 104 on macOS, the final NUL included.
SOCKET_BYTES = 103
START_SECONDS = 300
STOP_SECONDS = 20
LOG = "postgres.log"
LOG_BYTES = 10_000_000


@dataclass(frozen=True)
class PostgresUrls:
    """The ways in: `owner` migrates, `app` serves, `admin` (superuser) only provisions and dumps.

    `maintenance` is the superuser's, in the database that is always there.
    """

    owner: str
    app: str
    admin: str
    maintenance: str

    @classmethod
    def of(cls, passwords: Passwords, sockets: Path, port: int) -> "PostgresUrls":
        """By unix socket, with these passwords."""
        host = percent(str(sockets), safe="")

        def url(user: str, password: str, database: str) -> str:
            return f"postgresql://{user}:{password}@/{database}?host={host}&port={port}"

        return cls(
            url(OWNER, passwords.porch_owner, DATABASE),
            url(APP, passwords.porch_app, DATABASE),
            url("postgres", passwords.postgres, DATABASE),
            url("postgres", passwords.postgres, "postgres"),
        )


class EmbeddedPostgres:
    """A PostgreSQL of our own. Hold the data folder (`DataDir.hold`) while it runs.

    `tcp` opens 127.0.0.1 on a free port besides the unix socket. `settings` adds to its configuration,
    `create` says whether a missing database is made, `record` names the file that describes it.
    """

    def __init__(
        self,
        data_dir: DataDir | Path,
        *,
        tcp: bool = False,
        major: int | None = None,
        progress: Progress | None = None,
        settings: Mapping[str, str] | None = None,
        outside: Path = OUTSIDE,
        create: bool = True,
        record: str = RECORD,
    ) -> None:
        self.data_dir = data_dir if isinstance(data_dir, DataDir) else DataDir(data_dir)
        self.major = major
        self.tcp = tcp
        self.port = 5432
        self._say = progress or silence
        self._settings = dict(settings or {})
        self._outside = outside
        self._create = create
        self._record = record
        self._cluster: Cluster | None = None
        self._binaries: Binaries | None = None
        self._sockets: Path | None = None
        self._lock: int | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._changing = asyncio.Lock()

    async def start(self) -> PostgresUrls:
        """Makes the database when there is none, starts it, and waits until it takes connections.

        A PostgreSQL that an earlier Porch left behind on this data is stopped first. Raises SetupError.
        """
        try:
            cluster, binaries = await self._open()
            await self._stop_orphan(cluster)
            if not cluster.data.exists():
                self._say("Making the database (once)")
                await initialise(cluster, binaries)
            self._sockets = self._choose_sockets(cluster)
            if self.tcp:
                self.port = _free_port()
            await self._launch(cluster, binaries)
            if not cluster.record.provisioned:
                await self._provision(cluster)
        except OSError as error:
            await self.stop()
            raise SetupError(
                f"PostgreSQL cannot be started in {str(self.data_dir.path)!r}: {error}. "
                "Mend that, choose another --data-dir, or use a server of your own with --database-url."
            ) from error
        except BaseException:
            await self.stop()
            raise
        return self.urls

    @property
    def urls(self) -> PostgresUrls:
        """The URLs of a started server, by unix socket."""
        return PostgresUrls.of(self._open_cluster.record.passwords, self.sockets, self.port)

    @property
    def home(self) -> Path:
        """The folder that holds the database: in the data folder, or outside when that is closed to it."""
        return self._open_cluster.home

    @property
    def sockets(self) -> Path:
        """The folder of the unix socket of a started server."""
        assert self._sockets
        return self._sockets

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def running(self) -> bool:
        """Whether the server's process is there."""
        return self.pid is not None

    async def stop(self) -> None:
        """Stops the server: in order, or after twenty seconds at once (the next start recovers)."""
        self._stopping = True
        async with self._changing:
            if self._process:
                await _stop(self._process.send_signal, asyncio.create_task(self._process.wait()))
                self._process = None
        if self._sockets and self._sockets.name.startswith(".porch-"):
            shutil.rmtree(self._sockets, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def watch(self, tell: Progress) -> None:
        """Starts the server again whenever it dies, for as long as this runs, and tells about it.

        Ends when `stop` is called. The URLs stay the same.
        """
        failures = 0
        while (process := self._process) and not self._stopping:
            code = await process.wait()
            if self._stopping:
                return
            tell(f"PostgreSQL ended ({describe_exit(code)}); starting it again")
            started = time.monotonic()
            try:
                assert self._binaries
                await self._launch(self._open_cluster, self._binaries)
            except (SetupError, OSError) as error:
                if not self._stopping:
                    tell(f"{error} Trying again")
            else:
                tell(f"PostgreSQL is back after {time.monotonic() - started:.1f} s")
                failures = 0
                continue
            failures += 1
            await asyncio.sleep(min(0.2 * 2**failures, 10))

    def discard(self) -> None:
        """Removes a stopped database with its record and its log, after a restore that failed."""
        if self._cluster and not self._process:
            shutil.rmtree(self._cluster.home, ignore_errors=True)
            (self.data_dir.path / self._record).unlink(missing_ok=True)
            (self.data_dir.path / LOG).unlink(missing_ok=True)

    @property
    def _open_cluster(self) -> Cluster:
        if self._cluster is None:
            raise RuntimeError("start() comes first")
        return self._cluster

    async def _open(self) -> tuple[Cluster, Binaries]:
        self._stopping = False
        self.data_dir.prepare()
        account = choose_account()
        binaries = locate_binaries(self.major)
        cluster = open_cluster(
            self.data_dir,
            account,
            binaries.major,
            outside=self._outside,
            file=self._record,
            create=self._create,
        )
        admit(cluster)
        if account.drops and cluster.data.exists():
            cluster.account = account = account.of(cluster.data)
            admit(cluster)
        self._lock = lock_file(cluster.home / "postgres.lock", cluster.home)
        if self._lock is None:
            raise SetupError(
                f"The database in {str(cluster.home)!r} is in use by another Porch, perhaps that of a copied "
                "data folder. Stop that one, or restore a backup into a data folder of its own."
            )
        self._binaries = await asyncio.to_thread(
            binaries.reachable_by, account, cluster.home / "programs", self._say
        )
        self._cluster = cluster
        return cluster, self._binaries

    async def _stop_orphan(self, cluster: Cluster) -> None:
        found = cluster.postmaster()
        if found is None:
            return
        if found.runs_in(cluster.data):
            self._say(f"Stopping the PostgreSQL that an earlier Porch left running (process {found.pid})")
            await _stop(partial(os.kill, found.pid), _gone(found, cluster.data))
        else:
            # Its number may belong to another process by now, and then PostgreSQL would not start.
            (cluster.data / "postmaster.pid").unlink(missing_ok=True)
        if Path(found.sockets).name.startswith(".porch-"):
            shutil.rmtree(found.sockets, ignore_errors=True)

    def _choose_sockets(self, cluster: Cluster) -> Path:
        folder = cluster.home / "run"
        if len(os.fsencode(folder / ".s.PGSQL.65535")) <= SOCKET_BYTES:
            folder.mkdir(exist_ok=True, mode=0o700)
        else:
            folder = _short_folder(cluster.account)
        cluster.account.take(folder, 0o700)
        return folder

    async def _launch(self, cluster: Cluster, binaries: Binaries) -> None:
        write_configuration(cluster, cluster.data, self._settings)
        deadline = time.monotonic() + START_SECONDS
        patience = time.monotonic() + STOP_SECONDS
        while True:
            try:
                async with self._changing:
                    await self._launch_once(cluster, binaries, deadline)
                return
            except _StillInUseError:
                # Processes of a PostgreSQL that was killed need a moment to notice.
                if time.monotonic() > patience:
                    raise
                await asyncio.sleep(0.1)

    async def _launch_once(self, cluster: Cluster, binaries: Binaries, deadline: float) -> None:
        if self._stopping:
            raise SetupError("PostgreSQL is being stopped.")
        clear_sockets(self.sockets)
        log = self.data_dir.path / LOG
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        log.touch(mode=0o600)
        begin = log.stat().st_size
        command = [
            binaries.program("postgres"),
            "-D",
            str(cluster.data),
            "-c",
            f"unix_socket_directories={self._sockets}",
            "-c",
            f"listen_addresses={'127.0.0.1' if self.tcp else ''}",
            "-c",
            f"port={self.port}",
        ]
        with log.open("ab") as output:
            self._process = await spawn(command, cluster.account, output=output)
        told = time.monotonic() + 3
        while not ((found := cluster.postmaster()) and found.ready and found.pid == self._process.pid):
            if self._process.returncode is not None:
                raise _start_error(log, begin, self._process.returncode)
            if self._stopping:
                return
            if time.monotonic() > deadline:
                raise SetupError(f"PostgreSQL did not get ready within {START_SECONDS} s; see {str(log)!r}.")
            if time.monotonic() > told:
                self._say("PostgreSQL is recovering from a crash")
                told = deadline
            await asyncio.sleep(0.005)

    async def _provision(self, cluster: Cluster) -> None:
        passwords = cluster.record.passwords
        parts = provisioning(passwords.porch_owner, passwords.porch_app)
        async with connected(self.urls.maintenance) as connection:
            # A failing statement must not put a password into the log.
            await connection.execute("SET log_min_error_statement = panic")
            await connection.execute(parts.roles)
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(parts.database)
        async with connected(self.urls.admin) as connection:
            await connection.execute(parts.inside)
        cluster.record.provisioned = True
        cluster.save()


class _StillInUseError(SetupError):
    """Raised when processes of a killed PostgreSQL still have its memory."""


def running_urls(data_dir: DataDir) -> PostgresUrls | None:
    """The URLs of the server that runs on this data folder just now, by whoever started it, or None."""
    try:
        record = msgspec.json.decode((data_dir.path / RECORD).read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError):
        return None
    cluster = Cluster(data_dir, choose_account(), record)
    found = cluster.postmaster()
    if found and found.ready and found.runs_in(cluster.data):
        return PostgresUrls.of(record.passwords, Path(found.sockets), found.port)
    return None


def _start_error(log: Path, begin: int, code: int) -> SetupError:
    with log.open("rb") as file:
        file.seek(begin)
        text = "\n".join(file.read().decode(errors="replace").strip().splitlines()[-6:])
    kind = _StillInUseError if "still in use" in text or "postmaster.pid" in text else SetupError
    return kind(
        f"PostgreSQL did not start ({describe_exit(code)}): {text or 'no words'}. "
        f"Its whole log is {str(log)!r}."
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _short_folder(account: Account) -> Path:
    places = [os.environ.get("XDG_RUNTIME_DIR"), "/run", tempfile.gettempdir()]
    for place in map(Path, filter(None, places)):
        if len(os.fsencode(place)) < 60 and os.access(place, os.W_OK) and account.can_enter(place):
            return Path(tempfile.mkdtemp(prefix=".porch-", dir=place))
    raise SetupError(
        "The path of the data folder is too long for a unix socket, and there is no short folder for it. "
        "Choose a --data-dir with a shorter path, or set XDG_RUNTIME_DIR."
    )


async def _stop(send: Callable[[int], None], gone: "asyncio.Task[int] | asyncio.Task[None]") -> None:
    """SIGINT closes everything in order; SIGQUIT and SIGKILL leave a recovery to the next start."""
    for sign, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            send(sign)
        done, _ = await asyncio.wait({gone}, timeout=seconds)
        if done:
            return
    gone.cancel()


def _gone(postmaster: Postmaster, data: Path) -> "asyncio.Task[None]":
    async def wait() -> None:
        while postmaster.runs_in(data):  # noqa: ASYNC110 - a process that is not our child tells us nothing
            await asyncio.sleep(0.01)

    return asyncio.create_task(wait())
