"""Real commands in real folders: data folders, processes, terminals, and a network that can be cut."""

import asyncio
import codecs
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import IO

from tests.nursery import COMMAND, hatch
from tests.postgres import TestServer

PORCH = [sys.executable, "-P", "-m", "porch.cli.main"]
STARTING = frozenset({"hello", "up"})
PATIENCE = 30.0
STILL_SECONDS = 0.1
# What an installation has for its PORCH_DEFAULT_MODEL without a word: it loads at every start.
BUNDLED = "local:smollm2"
# Gets the terminal that it is given as its own, so that Ctrl-C there becomes a signal here.
TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


@contextlib.contextmanager
def data_folder() -> Generator[Path]:
    """A data folder that PostgreSQL's account can enter, gone with everything in it afterwards."""
    base = Path(tempfile.mkdtemp(prefix="porch-cli-"))
    base.chmod(0o711)
    try:
        yield base / "data"
    finally:
        for process in processes_of(base / "data"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(base, ignore_errors=True)


def environment(**extra: str) -> dict[str, str]:
    """This one without settings, keys and colours of the person who runs the tests."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not re.match(
            r"PORCH_(?!TEST_|POSTGRES_)|OPENAI_|OLLAMA_|.*_API_KEY$|.*_BASE_URL$|HF_TOKEN$|UV$|NO_COLOR|COLUMNS$|LINES$",
            key,
        )
    }
    # Nobody listens on port 1: no Ollama of this machine is offered. A bundled model that is nobody's first choice
    # loads when it is asked.
    ours = {"PORCH_PORT": "0", "OLLAMA_HOST": "127.0.0.1:1", "PORCH_DEFAULT_MODEL": "scripted:demo"}
    return {**kept, "TERM": "xterm-256color", **ours, **extra}


def porch(folder: Path, *arguments: str, **extra: str) -> "subprocess.CompletedProcess[str]":
    """Runs one command to its end, with nobody at the keyboard."""
    words = [*arguments, "--data-dir", str(folder)]
    # A server that is started is found by its folder, and Python heeds its own variables before anything runs.
    if arguments[0] not in STARTING and not any(name.startswith("PYTHON") for name in extra):
        return _hatched(words, environment(**extra))
    return subprocess.run(
        [*PORCH, *words],
        env=environment(**extra),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def _hatched(words: list[str], env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as errors,
        Path(os.devnull).open("rb") as nothing,
    ):
        files = [nothing.fileno(), out.fileno(), errors.fileno()]
        command = hatch(COMMAND, words, files=files, env=env)
        try:
            code = command.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            command.kill()
            raise
        said = [_read_all(file) for file in (out, errors)]
    return subprocess.CompletedProcess(["porch", *words], code, *said)


def _read_all(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n")


def processes_of(folder: Path) -> list[int]:
    """The living processes that name this folder or work in it, zombies left out."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            words = (entry / "cmdline").read_bytes().decode(errors="replace")
            place = str((entry / "cwd").readlink())
        except OSError:
            continue
        if state != "Z" and (str(folder) in words or place.startswith(str(folder))):
            found.append(int(entry.name))
    return found


def wait_until_gone(folder: Path, seconds: float = 10.0) -> list[int]:
    """Who is left of the folder's processes after so long at most."""
    deadline = time.monotonic() + seconds
    while (left := processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


class Terminal:
    """A command on a terminal of its own, with somebody who reads and types."""

    def __init__(self, folder: Path, *arguments: str, columns: int = 80, **extra: str) -> None:
        self.output = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *PORCH, *arguments, "--data-dir", str(folder)],
            env=environment(**extra),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)

    @property
    def text(self) -> str:
        """What was written, without colours and cursor movements."""
        return re.sub(r"\x1b\[[\d;?]*[A-Za-z]|\x01|\x02|\r", "", self.output)

    def read_until(self, pattern: str, seconds: float = PATIENCE) -> str:
        """Read until the text matches; fails with what was written instead."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.text, re.S):
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} within {seconds} s in:\n{self.text}"
            assert self._read(left), f"ended without {pattern!r}:\n{self.text}"
        return self.text

    def type(self, text: str) -> None:
        """Type at the keyboard; `\\x03` is Ctrl-C."""
        os.write(self._ours, text.encode())

    def interrupt(self, *, at_prompt: bool = False) -> None:
        """Press Ctrl-C, once the command waits for something; `at_prompt` once it waits for keys.

        A signal between the prompt and the wait for keys is noticed by readline at the next key only. People
        press again; a test that answers within microseconds waits until the main thread sleeps, and sleeps on:
        on a busy machine it may nap before that wait, too.
        """
        still = STILL_SECONDS if at_prompt else 0.0
        deadline = time.monotonic() + PATIENCE
        state, waits = self._main_thread()
        since = time.monotonic()
        while time.monotonic() < deadline:
            before = state, waits
            state, waits = self._main_thread()
            if state != "S" or (state, waits) != before:
                since = time.monotonic()
            if state == "S" and time.monotonic() - since >= still:
                break
            time.sleep(0.005)
        self.type("\x03")

    def _main_thread(self) -> tuple[str, str]:
        """Its state as /proc tells it, and how often it has begun to wait so far."""
        try:
            status = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):  # gone before the opening, or before the reading
            return "S", "gone"
        told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        return told["State"][0], told["voluntary_ctxt_switches"]

    def wait(self, seconds: float = PATIENCE) -> int:
        """The exit code, once it has ended and everything is read."""
        deadline = time.monotonic() + seconds
        while self._read(max(deadline - time.monotonic(), 0.01)):
            assert time.monotonic() < deadline, f"still running after {seconds} s:\n{self.text}"
        return self.process.wait(seconds)

    def close(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._ours], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # EIO: the last one who had the terminal open is gone
            return False
        self.output += self._decoder.decode(data)
        return bool(data)


@contextlib.contextmanager
def terminal(folder: Path, *arguments: str, columns: int = 80, **extra: str) -> Generator[Terminal]:
    """A command on a terminal, ended when the block is left."""
    session = Terminal(folder, *arguments, columns=columns, **extra)
    try:
        yield session
    finally:
        session.close()


@contextlib.contextmanager
def server(folder: Path, *arguments: str, **extra: str) -> Generator[str]:
    """`porch up` on this folder; gives its URL."""
    with subprocess.Popen(
        [*PORCH, "up", *arguments, "--data-dir", str(folder)],
        env=environment(**extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        told = ""
        for line in process.stdout:
            told += line
            if found := re.search(r"Listening\s+(\S+)", line):
                break
        else:
            raise AssertionError(f"porch up ended:\n{told}")
        # What it says from now on has to go somewhere, or it would wait for a reader.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        try:
            yield found[1]
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()  # else the end of the block waits for it without a bound
                raise


@contextlib.contextmanager
def ready_database(postgres: TestServer) -> Generator[dict[str, str]]:
    """The variables by which a server or a command uses a migrated database of the session's PostgreSQL.

    For tests that are not about the database: none is made, started and stopped for them.
    """
    urls = asyncio.run(postgres.create())
    try:
        yield {"PORCH_DATABASE_URL": urls.app, "PORCH_MIGRATION_URL": urls.owner, "PORCH_POOL_SIZE": "4"}
    finally:
        asyncio.run(postgres.drop(urls))


@contextlib.contextmanager
def house(postgres: TestServer) -> Generator[Path]:
    """A data folder whose server stays and leaves nothing behind, over a ready database."""
    with data_folder() as place, ready_database(postgres) as database:
        with server(place, **database):
            yield place
        assert wait_until_gone(place) == []


def announce(folder: Path, url: str) -> str:
    """Let the folder's lock name another address for its server, and answer the one it named."""
    lock = folder / "porch.lock"
    holder = json.loads(lock.read_text())
    before = holder["url"]
    with lock.open("r+") as file:
        file.write(json.dumps({**holder, "url": url}) + "\n")
        file.truncate()
    return before


class Wire:
    """A TCP proxy that passes so many bytes from the server, cuts every connection once, and is good from then on."""

    def __init__(self, target: int, cut_after: int) -> None:
        self.cuts = 0
        self._left = cut_after
        self._target = target
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """No more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)  # which wakes who waits for one; closing alone does not
        self._listener.close()
        self._cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            upstream = socket.create_connection(("127.0.0.1", self._target))
            self._open |= {client, upstream}
            threading.Thread(target=self._pump, args=(client, upstream, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(upstream, client, True), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if counts and not self.cuts:
                    self._left -= len(data)
                    if self._left <= 0:
                        self.cuts += 1
                        self._cut()
                        return
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _cut(self) -> None:
        for end in tuple(self._open):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
                end.close()
        self._open.clear()
