import asyncio
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from porch.contract.errors import DatabaseUnavailable, SetupError
from porch.storage import embedded
from porch.storage.account import choose_account
from porch.storage.binaries import Binaries, locate_binaries
from porch.storage.cluster import Postmaster
from porch.storage.connection import connected
from porch.storage.database import Database
from porch.storage.datadir import DataDir
from porch.storage.embedded import EmbeddedPostgres, running_urls
from porch.storage.external import check_external
from tests.storage.pooler import transaction_pooler

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes accounts")

# A server that is killed: argv is the data folder and whether PostgreSQL may outlive it.
HOLDER = """
import asyncio, sys
from porch.storage import embedded
from porch.storage.datadir import DataDir

async def main():
    if sys.argv[2] == "outlive":
        spawn = embedded.spawn
        embedded.spawn = lambda *args, **options: spawn(*args, **options, die_with_us=False)
    data_dir = DataDir(sys.argv[1])
    data_dir.hold()
    postgres = embedded.EmbeddedPostgres(data_dir)
    await postgres.start()
    print(postgres.pid, flush=True)
    await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
async def data() -> AsyncIterator[Path]:
    """A data folder with a database, which every test leaves stopped and whole: making one takes a second."""
    with tempfile.TemporaryDirectory(prefix="porch-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        postgres = EmbeddedPostgres(folder / "data")
        await postgres.start()
        await postgres.stop()
        yield folder / "data"


@contextmanager
def changed(path: Path) -> Generator[str]:
    """A file's text, which is put back after the block."""
    content = path.read_text()
    yield content
    path.write_text(content)


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # gone before the opening, or before the reading
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def start_holder(path: Path, fate: str) -> "tuple[subprocess.Popen[str], int]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), fate],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, int(process.stdout.readline())


async def test_first_start_makes_utf8_three_roles_and_pgvector(place: Path) -> None:
    postgres = EmbeddedPostgres(place / "data")
    urls = await postgres.start()
    try:
        async with connected(urls.app) as connection:
            row = await connection.fetchrow(
                "SELECT current_setting('server_encoding') AS encoding, current_user AS role, "
                "current_setting('fsync') AS fsync, '[1,2]'::public.vector::text AS vector, "
                "(SELECT datlocprovider::text || ' ' || datlocale FROM pg_database WHERE datname = 'porch') AS locale"
            )
            assert row is not None
            assert dict(row.items()) == {
                "encoding": "UTF8",
                "role": "porch_app",
                "fsync": "on",
                "vector": "[1,2]",
                "locale": "b C.UTF-8",
            }
            roles = await connection.fetch(
                "SELECT rolname FROM pg_roles WHERE rolname LIKE 'porch%' AND NOT rolsuper "
                "AND NOT rolbypassrls AND NOT rolcreaterole AND NOT rolcreatedb"
            )
            assert {row["rolname"] for row in roles} == {"porch_app", "porch_owner", "porch_definer"}
        async with connected(urls.owner) as connection:
            await connection.execute("CREATE FUNCTION porch.one() RETURNS int LANGUAGE sql RETURN 1")
            await connection.execute("ALTER FUNCTION porch.one() OWNER TO porch_definer")
    finally:
        await postgres.stop()
    assert not postgres.running()
    assert not (postgres.home / "18" / "postmaster.pid").exists()


async def test_a_wrong_password_is_refused_and_never_repeated(data: Path) -> None:
    postgres = EmbeddedPostgres(data)
    urls = await postgres.start()
    try:
        password = json.loads((data / "postgres.json").read_text())["passwords"]["porch_app"]
        with pytest.raises(SetupError, match="refuses this user or password") as caught:
            await Database.connect(urls.app.replace(password, "wrong-password"))
        assert "wrong-password" not in caught.value.message
        assert password not in (data / "postgres.log").read_text()
    finally:
        await postgres.stop()


async def test_secrets_are_files_of_the_owner_alone(data: Path) -> None:
    for path in (data / "postgres.json", data / "porch.json"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert data.stat().st_mode & 0o067 == 0
    assert (data / "postgres" / "18").stat().st_mode & 0o777 == 0o700


async def test_it_runs_apart_from_our_terminal_and_never_as_root(data: Path) -> None:
    postgres = EmbeddedPostgres(data)
    await postgres.start()
    try:
        assert postgres.pid
        assert os.getsid(postgres.pid) == postgres.pid
        assert Path(f"/proc/{postgres.pid}").stat().st_uid == choose_account().uid != 0
    finally:
        await postgres.stop()


async def test_tcp_is_opened_on_request_alone(data: Path) -> None:
    postgres = EmbeddedPostgres(data)
    await postgres.start()
    try:
        async with connected(postgres.urls.app) as connection:
            assert await connection.fetchval("SHOW listen_addresses") == ""
    finally:
        await postgres.stop()
    postgres = EmbeddedPostgres(data, tcp=True)
    await postgres.start()
    try:
        url = postgres.urls.app.partition("?")[0].replace("@/", f"@127.0.0.1:{postgres.port}/")
        async with connected(url) as connection:
            assert await connection.fetchval("SELECT 1") == 1
    finally:
        await postgres.stop()


async def test_a_pooler_in_transaction_mode_is_named(data: Path) -> None:
    trust = data / "postgres" / "18" / "pg_hba.conf"
    postgres = EmbeddedPostgres(data)
    with changed(trust):
        trust.write_text("local all all trust\n")
        urls = await postgres.start()
        try:
            await check_external(urls.app, urls.owner)
            async with transaction_pooler(postgres.sockets / ".s.PGSQL.5432") as pooler:
                with pytest.raises(
                    SetupError, match="--database-url leads through a pooler in transaction mode"
                ):
                    await check_external(f"postgresql://porch_app:any@127.0.0.1:{pooler.port}/porch")
        finally:
            await postgres.stop()


async def test_a_path_too_long_for_a_socket_works(place: Path) -> None:
    postgres = EmbeddedPostgres(place / ("long-" * 12) / ("path-" * 12))
    urls = await postgres.start()
    sockets = postgres.sockets
    try:
        await (await Database.connect(urls.app)).close()
        assert sockets.stat().st_mode & 0o777 == 0o700
    finally:
        await postgres.stop()
    assert not sockets.exists()


async def test_a_crash_in_the_middle_of_the_first_start_is_made_good(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedPostgres, "_provision", fail)
        with pytest.raises(SetupError, match="power cut"):
            await EmbeddedPostgres(place / "data").start()
    half = place / "data" / "postgres" / ".new-x"
    half.mkdir()
    postgres = EmbeddedPostgres(place / "data")
    urls = await postgres.start()
    try:
        await (await Database.connect(urls.app)).close()
    finally:
        await postgres.stop()


async def test_kill_nine_during_writes_loses_nothing_acknowledged(data: Path) -> None:
    postgres = EmbeddedPostgres(data)
    urls = await postgres.start()
    told: list[str] = []
    watching = asyncio.create_task(postgres.watch(told.append))
    try:
        async with connected(urls.owner) as connection:
            await connection.execute("DROP TABLE IF EXISTS porch.numbers; CREATE TABLE porch.numbers (n int)")
            await connection.execute("GRANT SELECT, INSERT ON porch.numbers TO porch_app")
        database = await Database.connect(urls.app, pool_size=4)
        acknowledged: set[int] = set()
        lost = 0
        kills = [60, 170, 311]
        killed = 0
        for number in itertools.count():
            # It takes connections a moment before it is told to be back.
            if sum(text.startswith("PostgreSQL is back after ") for text in told) == killed:
                if killed == len(kills) and len(acknowledged) >= 400:
                    break
                if killed < len(kills) and len(acknowledged) >= kills[killed]:
                    killed += 1
                    assert postgres.pid
                    os.kill(postgres.pid, signal.SIGKILL)
            assert not watching.done()
            try:
                async with database.system() as connection:
                    await connection.execute("INSERT INTO porch.numbers VALUES ($1)", number)
                acknowledged.add(number)
            except DatabaseUnavailable:
                lost += 1
                await asyncio.sleep(0.01)
        assert lost
        async with database.system() as connection:
            rows = {row["n"] for row in await connection.fetch("SELECT n FROM porch.numbers")}
        assert acknowledged <= rows
        assert told[0] == "PostgreSQL ended (signal 9); starting it again"
        await database.close()
    finally:
        await postgres.stop()
        await asyncio.wait_for(watching, 5)


async def test_stopping_while_it_is_started_again_leaves_nothing_running(data: Path) -> None:
    postgres = EmbeddedPostgres(data)
    await postgres.start()
    for _ in range(3):
        watching = asyncio.create_task(postgres.watch(lambda _: None))
        assert postgres.pid
        os.kill(postgres.pid, signal.SIGKILL)
        while postgres.running():
            await asyncio.sleep(0)
        await postgres.stop()
        await asyncio.wait_for(watching, 5)
        assert not postgres.running()
        found = running_urls(DataDir(data))
        assert found is None
        await postgres.start()
    await postgres.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
async def test_it_does_not_outlive_a_killed_server(data: Path) -> None:
    process, pid = await asyncio.to_thread(start_holder, data, "with-us")
    process.kill()
    process.wait()
    async with asyncio.timeout(20):
        while alive(pid):
            await asyncio.sleep(0.01)
    assert "fast shutdown request" in (data / "postgres.log").read_text()


async def test_an_orphan_is_stopped_before_the_next_one_starts(data: Path) -> None:
    process, orphan = await asyncio.to_thread(start_holder, data, "outlive")
    process.kill()
    process.wait()
    assert alive(orphan)
    told: list[str] = []
    postgres = EmbeddedPostgres(data, progress=told.append)
    urls = await postgres.start()
    try:
        assert not alive(orphan)
        assert postgres.pid != orphan
        assert told == [f"Stopping the PostgreSQL that an earlier Porch left running (process {orphan})"]
        await (await Database.connect(urls.app)).close()
    finally:
        await postgres.stop()


async def test_a_stale_pid_file_with_a_number_in_use_by_another_is_no_obstacle(data: Path) -> None:
    pid_file = data / "postgres" / "18" / "postmaster.pid"
    pid_file.write_text(f"{os.getppid()}\n{data / 'postgres' / '18'}\n1\n5432\n/nowhere\n\n1 1\nready\n")
    postgres = EmbeddedPostgres(data)
    await postgres.start()
    await postgres.stop()


async def test_a_stale_socket_lock_with_a_number_in_use_by_another_is_no_obstacle(data: Path) -> None:
    sockets = data / "postgres" / "run"
    lock = sockets / ".s.PGSQL.5432.lock"
    lock.write_text(f"{os.getppid()}\n{data / 'postgres' / '18'}\n1\n5432\n{sockets}\n")
    postgres = EmbeddedPostgres(data)
    await postgres.start()
    assert lock.read_text().startswith(f"{postgres.pid}\n")
    await postgres.stop()


async def test_a_copied_record_cannot_start_a_second_server_on_the_same_data(data: Path) -> None:
    first = EmbeddedPostgres(data)
    await first.start()
    try:
        assert running_urls(DataDir(data)) == first.urls
        with pytest.raises(SetupError, match="is in use by another Porch"):
            await EmbeddedPostgres(data).start()
        assert first.running()
    finally:
        await first.stop()
    assert running_urls(DataDir(data)) is None


async def test_an_older_data_folder_says_how_to_upgrade(data: Path) -> None:
    with changed(data / "postgres.json") as record:
        (data / "postgres.json").write_text(record.replace('"major": 18', '"major": 16'))
        with pytest.raises(SetupError, match="Run `porch upgrade-data` once"):
            await EmbeddedPostgres(data).start()


async def test_a_broken_configuration_is_told_with_postgres_own_words(data: Path) -> None:
    configuration = data / "postgres" / "18" / "postgresql.conf"
    with changed(configuration) as text:
        configuration.write_text(text + "shared_bufers = 1GB\n")
        with pytest.raises(SetupError, match=r"did not start \(exit code 1\).*shared_bufers"):
            await EmbeddedPostgres(data).start()


async def test_lost_passwords_are_told(data: Path) -> None:
    with changed(data / "postgres.json"):
        (data / "postgres.json").unlink()
        with pytest.raises(SetupError, match=r"its passwords are gone: postgres\.json is missing"):
            await EmbeddedPostgres(data).start()


@needs_root
async def test_below_a_closed_folder_the_database_lies_outside_and_nothing_is_opened(place: Path) -> None:
    closed = place / "root"
    closed.mkdir(mode=0o700)
    postgres = EmbeddedPostgres(closed / "data", outside=place / "outside")
    urls = await postgres.start()
    try:
        await (await Database.connect(urls.app)).close()
        assert postgres.home.parent == place / "outside"
        assert closed.stat().st_mode & 0o777 == 0o700
        assert (closed / "data").stat().st_mode & 0o777 == 0o700
        assert postgres.home.stat().st_mode & 0o777 == 0o710
    finally:
        await postgres.stop()
    again = EmbeddedPostgres(closed / "data", outside=place / "elsewhere")
    await again.start()
    await again.stop()
    assert again.home == postgres.home


@needs_root
async def test_programs_below_a_closed_folder_are_copied_once(
    data: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = locate_binaries(18).root
    assert root
    closed = place / "wheel"
    copy = closed / root.relative_to(root.parents[1])
    libraries = Path(f"{root.parent}.libs")
    shutil.copytree(root, copy, copy_function=os.link, symlinks=True)
    shutil.copytree(libraries, closed / libraries.name, copy_function=os.link, symlinks=True)
    closed.chmod(0o700)
    monkeypatch.setattr(embedded, "locate_binaries", _always(Binaries(copy / "bin", 18, copy)))
    told: list[str] = []
    for _ in range(2):
        postgres = EmbeddedPostgres(data, progress=told.append)
        await postgres.start()
        await postgres.stop()
    assert told == [f"Copying PostgreSQL's programs to where {choose_account().name!r} can run them (once)"]
    (programs,) = (data / "postgres" / "programs").iterdir()
    for name in ("initdb", "pg_dump", "psql"):
        subprocess.run([programs / copy.relative_to(closed) / "bin" / name, "--version"], check=True)
    assert closed.stat().st_mode & 0o777 == 0o700


@needs_root
def test_nobody_is_enough_and_a_missing_account_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORCH_POSTGRES_USER", "nobody")
    assert choose_account().name == "nobody"
    monkeypatch.setenv("PORCH_POSTGRES_USER", "no-such-account")
    with pytest.raises(SetupError, match="There is no unprivileged account 'no-such-account'"):
        choose_account()


@needs_root
async def test_it_starts_as_nobody(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORCH_POSTGRES_USER", "nobody")
    postgres = EmbeddedPostgres(place / "data")
    await postgres.start()
    await postgres.stop()
    monkeypatch.delenv("PORCH_POSTGRES_USER")
    await postgres.start()
    await postgres.stop()


def _always(binaries: Binaries) -> Callable[[object], Binaries]:
    def locate(_: object) -> Binaries:
        return binaries

    return locate


@pytest.mark.parametrize("text", ["", "\n", "12", "1\n2\n3\n4\n5\n", "x\n"])
def test_a_pid_file_that_is_being_written_is_not_ready(text: str) -> None:
    try:
        assert not Postmaster.parse(text).ready
    except ValueError:
        assert not text.strip().isdigit()
