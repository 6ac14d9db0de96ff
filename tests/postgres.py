"""One PostgreSQL for all workers of a test session, kept by a process of its own.

Every worker holds a shared lock while it lives. The keeper waits for the exclusive one, gets it when the last
worker is gone, killed ones included, and then stops the server and removes its folder.
"""

import asyncio
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from porch.storage.account import choose_account
from porch.storage.binaries import locate_binaries
from porch.storage.cluster import open_cluster
from porch.storage.connection import connected
from porch.storage.datadir import DataDir
from porch.storage.embedded import EmbeddedPostgres, PostgresUrls
from porch.storage.migrate import migrate
from porch.storage.process import child_environment
from porch.storage.provision import provisioning

ROOT = Path(__file__).parents[1]
# Nothing in a test's database outlives the session, so nothing is flushed to the disk.
UNSAFE = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    # Hundreds of databases, of which each is gone before it is worth a visit.
    "autovacuum": "off",
    "shared_buffers": "32MB",
    # Passwords of a minute's life need no thousands of rounds at every connection.
    "scram_iterations": "1",
    # The log lies in memory too, and is never read.
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
}
# A new database is three hundred files, and a file system that has just removed thousands takes its time to make
# more: on ext4 half of what PostgreSQL did in a session was that. A session needs some 200 MB; this leaves room.
IN_MEMORY = Path("/dev/shm")
ROOM_BYTES = 2 * 1024**3
TEMPLATE = "porch_template"


@dataclass(frozen=True)
class TestServer:
    """A prepared server: `urls` name the empty database `porch`, clones come from a migrated template."""

    __test__ = False

    urls: PostgresUrls

    async def create(self, *, migrated: bool = True) -> PostgresUrls:
        """A database of its own: a copy of the template, or with the extension and the schema alone."""
        name = f"test_{uuid4().hex[:12]}"
        await self._create(name, TEMPLATE if migrated else _database(self.urls.owner))
        return self._named(name)

    async def drop(self, urls: PostgresUrls) -> None:
        """Removes a created database, open connections and all."""
        async with connected(self.urls.maintenance) as connection:
            await connection.execute(f"DROP DATABASE IF EXISTS {_database(urls.owner)} WITH (FORCE)")

    async def create_template(self) -> None:
        """Makes the migrated template anew."""
        async with connected(self.urls.maintenance) as connection:
            await connection.execute(f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")
        await self._create(TEMPLATE, _database(self.urls.owner))
        await migrate(self._named(TEMPLATE).owner)

    async def _create(self, name: str, template: str) -> None:
        async with connected(self.urls.maintenance) as connection:
            await connection.execute(
                f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"
                f" OWNER {urlsplit(self.urls.owner).username}"
            )

    def _named(self, name: str) -> PostgresUrls:
        urls = self.urls
        return replace(
            urls,
            owner=_with_database(urls.owner, name),
            app=_with_database(urls.app, name),
            admin=_with_database(urls.admin, name),
        )


@contextmanager
def shared_server(shared: Path, kind: str) -> Generator[TestServer]:
    """The session's server: the first worker starts it, the end of the last one stops it."""
    if kind == "external":
        server = TestServer(_external_urls())
        with _locked(shared / "postgres.start", fcntl.LOCK_EX):
            if not (shared / "postgres.template").exists():
                asyncio.run(server.create_template())
                (shared / "postgres.template").touch()
        yield server
        return
    with _locked(shared / "postgres.users", fcntl.LOCK_SH):
        with _locked(shared / "postgres.start", fcntl.LOCK_EX):
            state = shared / "postgres.json"
            if not state.exists():
                _start_keeper(shared, kind)
            server = TestServer(PostgresUrls(**json.loads(state.read_text())))
        yield server


def _start_keeper(shared: Path, kind: str) -> None:
    keeper = subprocess.Popen(
        [sys.executable, "-m", "tests.postgres", str(shared), kind],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=(shared / "postgres-keeper.log").open("wb"),
        start_new_session=True,
    )
    assert keeper.stdout
    if keeper.stdout.readline() != b"ready\n":
        raise RuntimeError(f"No PostgreSQL for the tests:\n{(shared / 'postgres-keeper.log').read_text()}")


async def _keep(shared: Path, kind: str) -> None:
    place = Path(tempfile.mkdtemp(prefix="porch-tests-", dir=_in_memory()))
    # An unprivileged account must get through; what is inside stays closed.
    place.chmod(0o755)
    state = shared / "postgres.json"
    server: EmbeddedPostgres | None = None
    try:
        server, urls = await (_start_plain if kind == "16" else _start_embedded)(place)
        await TestServer(urls).create_template()
        state.write_text(json.dumps(asdict(urls)))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        with (shared / "postgres.users").open("w") as users:
            await asyncio.to_thread(fcntl.flock, users, fcntl.LOCK_EX)
            state.unlink()
            await _stop(server)
    finally:
        if server:
            await _stop(server)
        shutil.rmtree(place, ignore_errors=True)


def _in_memory() -> Path | None:
    """A folder in memory where there is one with room; None for the usual place."""
    try:
        free = shutil.disk_usage(IN_MEMORY).free
    except OSError:
        return None
    return IN_MEMORY if free > ROOM_BYTES and os.access(IN_MEMORY, os.W_OK | os.X_OK) else None


async def _stop(server: EmbeddedPostgres) -> None:
    await server.stop()
    shutil.rmtree(server.home, ignore_errors=True)


async def _start_embedded(place: Path) -> tuple[EmbeddedPostgres, PostgresUrls]:
    server = EmbeddedPostgres(place / "data", settings=UNSAFE)
    return server, await server.start()


async def _start_plain(place: Path) -> tuple[EmbeddedPostgres, PostgresUrls]:
    """A PostgreSQL 16 that knows nothing of Porch, prepared by psql from the script that Porch prints."""
    data_dir = DataDir(place / "data")
    data_dir.prepare()
    cluster = open_cluster(data_dir, choose_account(), 16)
    cluster.record.provisioned = True
    cluster.save()
    server = EmbeddedPostgres(data_dir, major=16, settings=UNSAFE)
    urls = await server.start()
    passwords = cluster.record.passwords
    script = provisioning(passwords.porch_owner, passwords.porch_app).as_script()
    subprocess.run(
        [
            locate_binaries(16).program("psql"),
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            urls.maintenance,
        ],
        input=script,
        text=True,
        check=True,
        env=child_environment(),
    )
    return server, urls


def _external_urls() -> PostgresUrls:
    owner = os.environ.get("PORCH_TEST_MIGRATION_URL")
    app = os.environ.get("PORCH_TEST_DATABASE_URL")
    if not owner or not app:
        raise RuntimeError(
            "--postgres=external needs PORCH_TEST_MIGRATION_URL and PORCH_TEST_DATABASE_URL of a provisioned "
            "database; the first one's role needs CREATEDB, for the tests alone."
        )
    return PostgresUrls(owner, app, owner, _with_database(owner, "postgres"))


def _database(url: str) -> str:
    return urlsplit(url).path.lstrip("/")


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def with_login(url: str, role: str, password: str) -> str:
    """The URL of another role in the same database."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.netloc.rpartition('@')[2]}"))


@contextmanager
def _locked(path: Path, kind: int) -> Generator[None]:
    with path.open("w") as file:
        fcntl.flock(file, kind)
        yield


if __name__ == "__main__":
    asyncio.run(_keep(Path(sys.argv[1]), sys.argv[2]))
