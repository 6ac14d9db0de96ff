"""A real server as a process that can be killed: its data folder, its port, and the processes below it."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from porch.cli.child import News, encode_settings
from porch.identity.model import Credentials
from porch.settings import Settings
from tests.nursery import SERVER, Fledgling, hatch

READY_SECONDS = 40.0
STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process as /proc shows it."""

    pid: int
    parent: int
    command: str
    folder: str

    @property
    def kind(self) -> str:
        """Of the server's children: `postgres` (the postmaster), `model`, or `other`."""
        if "porch.models.local.serve" in self.command:
            return "model"
        return "postgres" if "/postgres -D " in self.command else "other"


class Server:
    """One installation: a data folder and a port, on which a server lives as often as it is started."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        self.settings = Settings(**{**_DEFAULTS, "data_dir": data_dir, "port": _free_port(), **settings})  # pyright: ignore[reportArgumentType]  # keywords of a test
        self.url = f"http://127.0.0.1:{self.settings.port}"
        self.log = data_dir.parent / "server.log"
        self.environ: Mapping[str, str] | None = None  # the process's own, where it is not ours
        self.anew = False  # whether Python is started for it, where its start is what matters
        self.ready_seconds: list[float] = []
        self._process: subprocess.Popen[bytes] | Fledgling | None = None
        self._link: socket.socket | None = None
        self._launched = 0.0

    @property
    def pid(self) -> int:
        """The living server's."""
        assert self._process
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether there is no living process now."""
        return self._process is None or self._process.poll() is not None

    @property
    def credentials(self) -> Credentials:
        """What the first boot wrote."""
        return msgspec.json.decode(
            (self.settings.data_dir / "credentials.json").read_bytes(), type=Credentials
        )

    def launch(self) -> None:
        """Start the process; `ready` waits until it serves."""
        self._launched = time.monotonic()
        ours, theirs = socket.socketpair()
        with theirs, self.log.open("ab") as log, Path(os.devnull).open("rb") as nothing:
            # What a test puts on the path of Python is read as it starts.
            if self.anew or "PYTHONPATH" in (self.environ or ()):
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", SERVER, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=nothing,
                    stdout=log,
                    stderr=log,
                    env=self.environ,
                    start_new_session=True,
                )
            else:
                files = [nothing.fileno(), log.fileno(), log.fileno()]
                self._process = hatch(SERVER, [], files=files, pass_fd=theirs.fileno(), env=self.environ)
        ours.sendall(encode_settings(self.settings))
        self._link = ours

    async def ready(self) -> None:
        """Wait until it takes requests; fails with its own words when it does not come up."""
        assert self._link
        reader, _ = await asyncio.open_connection(sock=self._link.dup())
        async with asyncio.timeout(READY_SECONDS):
            while line := await reader.readline():
                news = msgspec.json.decode(line, type=News)
                assert not news.error, news.error
                if news.url:
                    self.ready_seconds.append(time.monotonic() - self._launched)
                    return
        assert self._process
        code = await asyncio.to_thread(self._process.wait, STOP_SECONDS)
        raise AssertionError(f"the server ended while it started, with {code}:\n{self.words()}")

    async def start(self) -> None:
        """Launch it and wait until it serves."""
        self.launch()
        await self.ready()

    def signal(self, number: int) -> None:
        """Send the server's process a signal, and nobody else."""
        os.kill(self.pid, number)

    async def gone(self) -> int:
        """Wait until the process has ended, and answer its exit code."""
        assert self._process
        code = await asyncio.to_thread(self._process.wait, STOP_SECONDS)
        if self._link:
            self._link.close()
            self._link = None
        return code

    async def kill(self) -> None:
        """What a power cut looks like to it."""
        self.signal(signal.SIGKILL)
        await self.gone()

    async def stop(self) -> None:
        """End it in order, or by force; again is fine."""
        if self._process is None or self.ended:
            return
        self.signal(signal.SIGTERM)
        try:
            await self.gone()
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def child(self, kind: str) -> int | None:
        """The pid of the server's `postgres` or `model`, if it is there now."""
        return next(
            (found.pid for found in processes() if found.parent == self.pid and found.kind == kind), None
        )

    def belongings(self) -> list[Process]:
        """Every process that has to do with this data folder, whoever its parent is."""
        place = str(self.settings.data_dir)
        return [found for found in processes() if place in found.command or found.folder.startswith(place)]

    async def abandoned(self, *, seconds: float = 10) -> list[Process]:
        """What is left of a stopped server after a while that it may take to go."""
        deadline = time.monotonic() + seconds
        while (left := self.belongings()) and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        return left

    def check_log(self) -> None:
        """Nothing in it was a surprise."""
        log = self.log.read_text(errors="replace")
        assert "Traceback" not in log, log[-8000:]

    def words(self) -> str:
        """The last of its log."""
        return self.log.read_text(errors="replace")[-8000:]


# The bundled model loads when it is asked, so that a test without it pays nothing.
_DEFAULTS: dict[str, object] = {
    "host": "127.0.0.1",
    "default_model": "scripted:demo",
    "lease_seconds": 2.0,
}


@asynccontextmanager
async def installed(
    environ: Mapping[str, str] | None = None, /, **settings: object
) -> AsyncGenerator[Server]:
    """A started server on a fresh data folder; afterwards nothing of it is left, whatever happened."""
    # Not pytest's folder, which PostgreSQL's unprivileged account cannot enter.
    place = Path(tempfile.mkdtemp(prefix="porch-chaos-"))
    place.chmod(0o755)
    server = Server(place / "data", **settings)
    server.environ = environ
    try:
        await server.start()
        yield server
    except BaseException as error:
        error.add_note(f"The server's log ended with:\n{server.words()}")
        raise
    finally:
        try:
            await server.stop()
        finally:
            for left in server.belongings():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(left.pid, signal.SIGKILL)
            shutil.rmtree(place, ignore_errors=True)


def processes() -> list[Process]:
    """All that run, zombies aside. Of processes that end meanwhile nothing is said."""
    found: list[Process] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                state, parent = (entry / "stat").read_text().rpartition(") ")[2].split()[:2]
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if state != "Z":
                    found.append(
                        Process(int(entry.name), int(parent), command, str((entry / "cwd").readlink()))
                    )
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
