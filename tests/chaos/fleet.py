"""Several servers on one PostgreSQL that belongs to none of them, all of which can be killed."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from porch.storage.embedded import EmbeddedPostgres, PostgresUrls
from tests.chaos.server import Server, processes
from tests.chaos.wire import Wire

WITHIN = Path(__file__).parent / "within"
# The first server's clock is right; no other's is.
SKEWS = (0, 4000, -7300)


class Fleet:
    """Replicas, their database, and the marks that their tools leave."""

    def __init__(
        self, place: Path, urls: PostgresUrls, postgres: EmbeddedPostgres, size: int, **settings: Any
    ) -> None:
        self.postgres = postgres
        self.marks = place / "marks"
        self.marks.touch()
        self.servers: list[Server] = []
        # A call that nobody decides about in the time of a lease is denied.
        self.expires_in = float(settings["lease_seconds"])
        for number in range(size):
            home = place / f"replica-{number}"
            home.mkdir()
            server = Server(
                home / "data", database_url=urls.app, migration_url=urls.owner, local_model=False, **settings
            )
            server.environ = {
                **os.environ,
                "PYTHONPATH": str(WITHIN),
                "PORCH_TEST_MARKS": str(self.marks),
                "PORCH_TEST_SKEW": str(SKEWS[number % len(SKEWS)]),
                "PORCH_TEST_EXPIRES_IN": str(self.expires_in),
            }
            self.servers.append(server)

    async def start(self) -> None:
        """Start all of them at once: one migrates, the others wait."""
        for server in self.servers:
            server.launch()
        await asyncio.gather(*(server.ready() for server in self.servers))

    async def stop(self) -> None:
        """Stop all of them in order."""
        await asyncio.gather(*(server.stop() for server in self.servers))

    @property
    def left_marks(self) -> list[str]:
        """The marks that tools left, each `kind name`."""
        return self.marks.read_text().splitlines()

    def postmaster(self) -> int | None:
        """The pid of PostgreSQL, if it is there now."""
        place = str(self.postgres.data_dir.path)
        return next((p.pid for p in processes() if "/postgres -D " in p.command and place in p.command), None)

    def marking(self) -> list[int]:
        """The pids of the tools' processes."""
        return [p.pid for p in processes() if "porch-mark" in p.command and str(self.marks) in p.command]


class Anywhere(Wire):
    """Asks one server or another, as a balancer that knows nothing would."""

    def __init__(self, urls: list[str], token: str, chance: random.Random) -> None:
        super().__init__(urls[0], token)
        self._urls = urls
        self._chance = chance

    def _open(self, method: str, path: str, body: object, headers: dict[str, str]) -> Any:
        self.url = self._chance.choice(self._urls)
        return super()._open(method, path, body, headers)


@asynccontextmanager
async def fleet(size: int, **settings: Any) -> AsyncGenerator[Fleet]:
    """A started fleet; afterwards nothing of it is left, whatever happened."""
    place = Path(tempfile.mkdtemp(prefix="porch-fleet-"))
    place.chmod(0o755)
    postgres = EmbeddedPostgres(place / "database")
    watch: asyncio.Task[None] | None = None
    found: Fleet | None = None
    try:
        urls = await postgres.start()
        watch = asyncio.create_task(postgres.watch(lambda _: None))
        found = Fleet(place, urls, postgres, size, **settings)
        await found.start()
        yield found
    except BaseException as error:
        for server in found.servers if found else []:
            error.add_note(f"{server.url} said last:\n{server.words()}")
        raise
    finally:
        for server in found.servers if found else []:
            with contextlib.suppress(OSError, AssertionError):
                os.kill(server.pid, signal.SIGCONT)
            with contextlib.suppress(Exception):
                await server.stop()
        if watch:
            watch.cancel()
        await postgres.stop()
        for left in [p for p in processes() if str(place) in p.command or p.folder.startswith(str(place))]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(left.pid, signal.SIGKILL)
        shutil.rmtree(place, ignore_errors=True)


async def until(check: Any, *, seconds: float, what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)
