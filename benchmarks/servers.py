"""The servers of a benchmark as processes: PostgreSQL, a provider, a baseline, and two of Porch on one database."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import msgspec

from porch.storage.datadir import DataDir
from porch.storage.embedded import EmbeddedPostgres
from porch.storage.migrate import migrate
from porch.web.sockets import open_sockets

SERVER_CORE, LOAD_CORE = 0, 1


class Server:
    """A server under test. `mark` is what a line of it holds that is a token."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes], mark: str) -> None:
        self.name, self.port, self.process, self.mark = name, port, process, mark
        self.headers: dict[str, str] = {}

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_kib(self) -> float:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1024


class Servers(NamedTuple):
    """All that are asked. `kit` is a folder with faster tools than ours."""

    baseline: Server
    porch: Server
    second: Server
    kit: Path | None


def pin(process: int, core: int) -> None:
    """Keep a process, 0 for this one, to a core where there are several."""
    with contextlib.suppress(OSError):
        os.sched_setaffinity(process, {core % (os.cpu_count() or 1)})


def spawn(
    core: int, *words: str, env: dict[str, str] | None = None, log: Path | None = None
) -> subprocess.Popen[bytes]:
    """A command as a process on one core; what it says goes into the log."""
    with log.open("wb") if log else contextlib.nullcontext() as out:
        process = subprocess.Popen(words, env={**os.environ, **(env or {})}, stdout=out, stderr=out)
    pin(process.pid, core)
    return process


def free_port() -> int:
    """A port that nobody listens on."""
    sockets = open_sockets("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    for sock in sockets:
        sock.close()
    return port


async def listening(port: int) -> None:
    """Wait until somebody does."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running(folder: Path, kit: Path | None) -> AsyncGenerator[Servers]:
    """Everything up: the servers under test on a core of their own, all else on the other."""
    upstream, baseline = free_port(), free_port()
    pin(0, LOAD_CORE)
    postgres = EmbeddedPostgres(DataDir(folder / "postgres"))
    urls = await postgres.start()
    python, started = (sys.executable, "-m"), list[subprocess.Popen[bytes]]()
    try:
        await migrate(urls.owner)
        mock = (str(kit / "mock"),) if kit else (*python, "benchmarks.upstream")
        started.append(spawn(LOAD_CORE, *mock, str(upstream)))
        floor, mark = (*python, "benchmarks.baseline", str(baseline), str(upstream)), "stream.chunk"
        if kit and (typed := kit / "targets" / "typed_raw.py").exists():
            floor, mark = (sys.executable, str(typed), str(baseline)), "text_delta"
        env = {"MOCK": f"http://127.0.0.1:{upstream}"}
        started.append(spawn(SERVER_CORE, *floor, env=env))
        for port in (upstream, baseline):
            await listening(port)
        env = {
            "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream}/v1",
            "PORCH_DATABASE_URL": urls.app,
            "PORCH_MIGRATION_URL": urls.owner,
            "PORCH_LOCAL_MODEL": "false",
            "PORCH_LOG_LEVEL": "error",
        }
        first = await _porch(folder / "porch", env, started)
        second = await _porch(folder / "second", env, started)
        yield Servers(Server("baseline", baseline, started[1], mark), first, second, kit)
    finally:
        for process in started:
            process.terminate()
            process.wait()
        await postgres.stop()


async def _porch(folder: Path, env: dict[str, str], started: list[subprocess.Popen[bytes]]) -> Server:
    port = free_port()
    words = (sys.executable, "-m", "porch.cli.main", "up", "--data-dir", str(folder), "--port", str(port))
    started.append(spawn(SERVER_CORE, *words, env=env, log=folder.with_suffix(".log")))
    server = Server("porch", port, started[-1], '"type":"stream.chunk"')
    await listening(port)
    # The port is open before the server is ready; its answer is not.
    url = f"http://localhost:{port}/readyz"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        answer.raise_for_status()
    credentials = msgspec.json.decode((folder / "credentials.json").read_bytes())
    server.headers = {"Authorization": f"Bearer {credentials['token']}"}
    return server
