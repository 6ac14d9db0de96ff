"""Reaching the server of a data folder: the one that runs there, or one started for as long as it is needed."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import msgspec

from porch.cli.child import News, encode_settings
from porch.contract.errors import SetupError
from porch.settings import Resolved, Settings
from porch.storage.datadir import DataDir

if TYPE_CHECKING:
    from porch.client import AsyncPorch

START_SECONDS = 90.0
LAST_SECONDS = 10.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.05
LARGEST_LOG = 5_000_000


class Credentials(msgspec.Struct, frozen=True):
    """`credentials.json` of a data folder."""

    url: str
    token: str
    workspace: str

    @classmethod
    def read(cls, data_dir: Path) -> "Credentials":
        """Raises SetupError."""
        path = data_dir / "credentials.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            why = (
                "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
            )
        except msgspec.MsgspecError as error:
            why = f"is broken ({error})"
        raise SetupError(
            f"{str(path)!r} {why}. The server writes it anew when it starts: stop it and run porch up."
        )


@dataclass(frozen=True)
class Server:
    """A server that answers. `started` says that it is ours and goes when we go, `lasting` that it stays for people."""

    url: str
    token: str
    workspace: str
    started: bool
    seconds: float = 0.0
    lasting: bool = False


def log_file(data_dir: Path) -> Path:
    """Where a server that a command started writes its log."""
    return data_dir / "logs" / "server.log"


def begin(resolved: Resolved) -> "Child | None":
    """Start a server for this data folder unless one runs there; waits for nothing. Raises SetupError."""
    settings = resolved.settings
    data_dir = DataDir(settings.data_dir)
    if data_dir.read_holder():
        return None
    data_dir.prepare()
    if "port" not in resolved.origins and not _is_free(settings.port):
        settings = msgspec.structs.replace(settings, port=0)
    return Child(settings)


class Starting(Protocol):
    """Who is told of a server's start."""

    def say(self, sentence: str) -> None:
        """What is being done."""
        ...

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *_: object) -> None: ...


class Link:
    """A server that answers, and the event loop to talk with it from a command that is no coroutine."""

    def __init__(self, runner: asyncio.Runner, server: Server, client: "AsyncPorch") -> None:
        self.run = runner.run
        self.server = server
        self.client = client


@contextmanager
def reached(resolved: Resolved, starting: Starting, *, start: bool = True) -> Generator[Link]:
    """The data folder's server for as long as the block runs; one that is started for it stops after it.

    Without `start` there must be one that lasts. Raises SetupError.
    """
    opening = _Opening(resolved, starting, start=start)
    with asyncio.Runner() as runner:
        try:
            server, client = runner.run(opening.open())
            yield Link(runner, server, client)
        finally:
            runner.run(opening.close())


class _Opening:
    """What has been opened so far. A child is started at once."""

    def __init__(self, resolved: Resolved, starting: Starting, *, start: bool) -> None:
        self.client: AsyncPorch | None = None
        self._resolved = resolved
        self._starting = starting
        self._start = start
        self._child = begin(resolved) if start else None
        self._lost = False

    async def open(self) -> "tuple[Server, AsyncPorch]":
        """A server that answers, and a client for it."""
        data_dir = self._resolved.settings.data_dir
        async with self._starting:
            # The server's process is on its way; what we need ourselves is imported meanwhile.
            library = asyncio.create_task(asyncio.to_thread(import_module, "porch.client"))
            url, seconds = await self._started(self._child) if self._child else (None, 0.0)
            raced = self._lost
            while url is None:
                url = await _join(data_dir, self._starting.say, raced=raced)
                if url is None:
                    self._child = begin(self._resolved) if self._start else None
                if url is None and not self._start:
                    raise SetupError(f"No server runs with {str(data_dir)!r}. Start it with: porch up")
                if self._child:
                    url, seconds = await self._started(self._child)
            await library
        assert url
        from porch.client import AsyncPorch

        found = Credentials.read(data_dir)
        self.client = AsyncPorch(url, found.token)
        holder = DataDir(data_dir).read_holder()
        lasting = self._child is None and holder is not None and holder.lasting
        if not (self._start or lasting):
            raise SetupError(
                f"The server with {str(data_dir)!r} was started by one command and ends with it. "
                "Start one that stays with: porch up"
            )
        server = Server(url, found.token, found.workspace, self._child is not None, seconds, lasting)
        return server, self.client

    async def _started(self, child: "Child") -> tuple[str | None, float]:
        """Its URL and seconds; no URL when another process took the folder in the same moment."""
        try:
            return await child.ready(self._starting.say)
        except SetupError:
            holder = DataDir(self._resolved.settings.data_dir).read_holder()
            if holder is None or holder.pid == child.process.pid:
                raise
            self._child = None
            self._lost = True
            await child.stop()
            return None, 0.0

    async def close(self) -> None:
        """Closes it all."""
        if self.client:
            await self.client.close()
        if self._child:
            await self._child.stop()


class Child:
    """A server process of ours. It starts at once; `ready` says when it serves."""

    def __init__(self, settings: Settings) -> None:
        self.log = log_file(settings.data_dir)
        ours, theirs = socket.socketpair()
        with theirs, _open_log(self.log) as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "porch.cli.child", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C at the terminal is for us; we stop the child in our own time.
                start_new_session=True,
            )
        self._socket = ours
        ours.sendall(encode_settings(settings))

    async def ready(self, say: Callable[[str], None]) -> tuple[str, float]:
        """Its URL and how long it took, once it serves; what it does until then goes to `say`.

        Raises SetupError with its own words.
        """
        reader, writer = await asyncio.open_connection(sock=self._socket)
        self._writer = writer
        try:
            async with asyncio.timeout(START_SECONDS):
                while line := await reader.readline():
                    news = msgspec.json.decode(line, type=News)
                    if news.error:
                        raise SetupError(news.error)
                    if news.url:
                        return news.url, news.seconds or 0.0
                    say(news.doing or "")
        except TimeoutError:
            raise SetupError(
                f"The server did not start within {START_SECONDS:.0f} s. Its log is {str(self.log)!r}."
            ) from None
        await asyncio.to_thread(self.process.wait, STOP_SECONDS)
        raise SetupError(f"The server ended while it started. {self._last_words()}")

    async def stop(self) -> None:
        """Stop it and wait until it and all of its processes are gone."""
        patience = _Patience(self.process)
        with patience:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(patience.wait)
        self._socket.close()

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            if lines:
                return f"Its last words were {lines[-1][-300:]!r}; its log is {str(self.log)!r}."
        return f"Its log is {str(self.log)!r}."


class _Patience:
    """Waiting for a process while Ctrl-C is pressed again and again: the third time ends it hard."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._pressed = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._press)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]  # what signal.signal gave us

    def wait(self) -> None:
        """Until it is gone."""
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _press(self, _number: int, _frame: object) -> None:
        self._pressed += 1
        if self._pressed == 3:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


async def _join(data_dir: Path, say: Callable[[str], None], *, raced: bool) -> str | None:
    """The URL of the server that holds the folder, once it answers; None when the folder is free.

    The holder may be starting or stopping just now. One that began at the same moment as we, `raced`, for a
    command of its own would end in the middle of ours: its end is waited for. Raises SetupError when the holder
    is neither.
    """
    deadline = time.monotonic() + START_SECONDS
    while holder := DataDir(data_dir).read_holder():
        raced = raced or holder.url is None
        late = time.monotonic() > deadline - LAST_SECONDS
        if holder.url and (holder.lasting or not raced or late) and await answers(holder.url):
            return holder.url
        if time.monotonic() > deadline:
            raise SetupError(
                f"Process {holder.pid} holds {str(data_dir)!r} since {holder.since}, but does not answer. "
                f"Stop it (kill {holder.pid}), or choose another --data-dir."
            )
        say(f"Waiting for process {holder.pid}, which has this data folder")
        await asyncio.sleep(POLL_SECONDS)
    return None


async def answers(url: str) -> bool:
    """Whether something takes connections at a server's URL; one that stops does not any more."""
    host, _, port = url.rpartition("//")[2].rpartition(":")
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _is_free(port: int) -> bool:
    """Whether anything listens there; a moment later that may have changed."""
    if port == 0:
        return True
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _open_log(path: Path) -> BinaryIO:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.exists() and path.stat().st_size > LARGEST_LOG:
        path.replace(path.with_suffix(".old.log"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
