import subprocess
import sys
from pathlib import Path

import pytest

from porch.contract.errors import SetupError
from porch.storage.connection import connected
from porch.storage.migrate import Migration, migrate, pending, read_migrations
from tests.conftest import FreshUrls

# Data folders hold these already. What is to change of them changes in a file of its own.
RELEASED = {
    "foundation": "ccd170e9a61da22d",
    "functions": "35caa16b54b2f307",
    "sessions": "8a21a4336854b138",
    "conversations": "9da8ac9093d1654e",
    "journal": "b13a727cb40dc9fc",
    "callers": "940b83fe1d03e8fa",
    "pauses": "59af9deb20c033b1",
    "queue": "a2dc1e68e8a23cf8",
    "tails": "a4fba940489945f1",
    "partitions": "e968261a9d92125a",
    "figures": "4832508a7e477d6d",
    "plans": "91384d477ad4ee5c",
    "people": "b0de568b5c466cae",
    "together": "cd5c0b537241dc92",
    "access": "1eea268499a3d574",
    "tokens": "2a17f0ae4e64afad",
    "company": "92ce2b855f4a5b43",
    "audit": "ba5c500126143531",
    "oidc": "53f52d7868b6132f",
    "passkeys": "a2e201a5db43414d",
    "recovery": "68a75f31a7ad7d48",
    "confirmed": "bef38c2df07c7cfd",
}

ONE = Migration(1, "one", "CREATE TABLE porch.one (n int); INSERT INTO porch.one VALUES (1);")
TWO = Migration(2, "two", "ALTER TABLE porch.one ADD COLUMN m int;")
INDEX = Migration(
    3,
    "index",
    "-- porch: no transaction\n-- Slow on a big table.\n"
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS one_n ON porch.one (n);\n\n"
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS one_m\n  ON porch.one (m);\n",
)

# One of several processes that migrate at once: argv is the URL and the folder of the files.
PROCESS = """
import asyncio, sys
from pathlib import Path
from porch.storage.migrate import migrate, read_migrations

sys.stdin.readline()
applied = asyncio.run(migrate(sys.argv[1], migrations=read_migrations(Path(sys.argv[2]))))
print(*(migration.version for migration in applied))
"""


def write(folder: Path, *migrations: Migration) -> Path:
    for migration in migrations:
        (folder / f"{migration.version:04}_{migration.name}.sql").write_text(migration.sql)
    return folder


async def test_what_is_missing_is_applied_in_order_and_told(fresh_urls: FreshUrls) -> None:
    urls = await fresh_urls(migrated=False)
    told: list[str] = []
    assert await migrate(urls.owner, migrations=[ONE, TWO], progress=told.append) == [ONE, TWO]
    assert await migrate(urls.owner, migrations=[ONE, TWO, INDEX], progress=told.append) == [INDEX]
    assert await migrate(urls.owner, migrations=[ONE, TWO, INDEX], progress=told.append) == []
    assert told == [
        "Migrating the database: 0001 one",
        "Migrating the database: 0002 two",
        "Migrating the database: 0003 index",
    ]
    async with connected(urls.owner) as connection:
        rows = await connection.fetch("SELECT version, name, checksum FROM porch.migrations ORDER BY 1")
        assert [tuple(row) for row in rows] == [(m.version, m.name, m.checksum) for m in (ONE, TWO, INDEX)]
        assert await connection.fetchval("SELECT count(*) FROM pg_index WHERE indisvalid") > 2
        assert await connection.fetchval("SELECT to_regclass('porch.one_m')") is not None


async def test_a_failing_migration_leaves_nothing_of_itself(fresh_urls: FreshUrls) -> None:
    urls = await fresh_urls(migrated=False)
    broken = Migration(2, "broken", "CREATE TABLE porch.two (n int);\nSELECT nonsense;")
    with pytest.raises(SetupError, match=r"0002 \('broken'\) failed at character 40: .*Nothing of it stays"):
        await migrate(urls.owner, migrations=[ONE, broken])
    async with connected(urls.owner) as connection:
        assert await connection.fetchval("SELECT to_regclass('porch.two')") is None
        assert await pending(connection, [ONE, TWO]) == [TWO]
    assert await migrate(urls.owner, migrations=[ONE, TWO]) == [TWO]


async def test_a_failing_migration_outside_a_transaction_runs_again(fresh_urls: FreshUrls) -> None:
    urls = await fresh_urls(migrated=False)
    with pytest.raises(SetupError, match=r"0002 \('index'\) failed.*What ran before the error stays"):
        await migrate(urls.owner, migrations=[ONE, Migration(2, "index", INDEX.sql)])
    assert await migrate(urls.owner, migrations=[ONE, Migration(2, "n", INDEX.sql.replace("(m)", "(n)"))])


async def test_an_applied_file_may_not_change(fresh_urls: FreshUrls) -> None:
    urls = await fresh_urls(migrated=False)
    await migrate(urls.owner, migrations=[ONE])
    changed = Migration(1, "one", ONE.sql + " ")
    with pytest.raises(SetupError, match=r"0001 \('one'\) was applied with another text"):
        await migrate(urls.owner, migrations=[changed])


async def test_a_database_newer_than_the_code_is_refused(fresh_urls: FreshUrls) -> None:
    urls = await fresh_urls(migrated=False)
    await migrate(urls.owner, migrations=[ONE, TWO])
    with pytest.raises(SetupError, match=r"newer than this Porch: it has migration 0002 \('two'\)"):
        await migrate(urls.owner, migrations=[ONE])
    async with connected(urls.app) as connection:
        with pytest.raises(SetupError, match="newer than this Porch"):
            await pending(connection, [ONE])


async def test_the_app_role_can_tell_what_is_pending_but_not_migrate(fresh_urls: FreshUrls) -> None:
    urls = await fresh_urls(migrated=False)
    async with connected(urls.app) as connection:
        assert await pending(connection, [ONE]) == [ONE]
        await migrate(urls.owner, migrations=[ONE])
        assert await pending(connection, [ONE, TWO]) == [TWO]
    with pytest.raises(SetupError, match=r"permission denied|must be owner"):
        await migrate(urls.app, migrations=[ONE, TWO])


async def test_four_processes_at_once_migrate_once(fresh_urls: FreshUrls, tmp_path: Path) -> None:
    urls = await fresh_urls(migrated=False)
    folder = write(tmp_path, ONE, TWO, INDEX)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, urls.owner, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    results = [process.communicate(timeout=60) for process in processes]
    assert [errors for _, errors in results] == [""] * 4
    assert sorted(output.strip() for output, _ in results) == ["", "", "", "1 2 3"]


def test_the_files_are_read_in_order_whatever_their_line_ends(tmp_path: Path) -> None:
    write(tmp_path, TWO, ONE)
    (tmp_path / "README.md").touch()
    assert read_migrations(tmp_path) == [ONE, TWO]
    (tmp_path / "0003_index.sql").write_bytes(INDEX.sql.replace("\n", "\r\n").encode())
    assert read_migrations(tmp_path)[2].checksum == INDEX.checksum


@pytest.mark.parametrize("name", ["0004_gap.sql", "0001_twin.sql", "two.sql"])
def test_a_gap_a_twin_and_a_wrong_name_are_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, ONE, TWO)
    (tmp_path / name).touch()
    with pytest.raises(SetupError):
        read_migrations(tmp_path)


def test_ours_can_be_read() -> None:
    assert read_migrations()[0].version == 1


def test_files_that_people_have_applied_keep_their_text() -> None:
    assert {file.name: file.checksum[:16] for file in read_migrations()[: len(RELEASED)]} == RELEASED
