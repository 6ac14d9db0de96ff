"""Brings a database to the schema this version of Porch needs, from the numbered files in `migrations/`.

A file runs in one transaction together with its row in `porch.migrations`. One whose first line is
`-- porch: no transaction` (CREATE INDEX CONCURRENTLY) runs statement by statement, each ending in `;` at the
end of a line, and is recorded after the last: it must bear being run again.
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import asyncpg

from porch.contract.errors import SetupError
from porch.storage.connection import Connection, connected
from porch.storage.progress import Progress

NO_TRANSACTION = "-- porch: no transaction"
NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
# Any number does, as long as every version of Porch uses the same.
LOCK = 0x706F726368


@dataclass(frozen=True)
class Migration:
    """One file. `checksum` is the SHA-256 of its text in hex."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def transactional(self) -> bool:
        return not self.sql.startswith(NO_TRANSACTION)


def read_migrations(folder: Path | None = None) -> list[Migration]:
    """The migrations of this version in order. Raises SetupError for a gap or a twin."""
    source = files("porch.storage").joinpath("migrations") if folder is None else folder
    found: list[Migration] = []
    for entry in source.iterdir():
        if match := NAME.fullmatch(entry.name):
            text = entry.read_text(encoding="utf-8").replace("\r\n", "\n")
            found.append(Migration(int(match[1]), match[2], text))
        elif entry.name.endswith(".sql"):
            raise SetupError(f"The migration {entry.name!r} is not named like '0001_what_it_does.sql'.")
    found.sort(key=lambda migration: migration.version)
    versions = [migration.version for migration in found]
    if versions != list(range(1, len(found) + 1)):
        raise SetupError(f"The migrations are not numbered 1, 2, 3…: {versions}.")
    return found


async def migrate(
    owner_url: str,
    *,
    migrations: Sequence[Migration] | None = None,
    progress: Progress | None = None,
) -> list[Migration]:
    """Applies what is missing and returns it; several processes at once do it once.

    Raises SetupError when a file failed (nothing of it stays), when an applied file has changed, or when the
    database is newer than this Porch.
    """
    wanted = read_migrations() if migrations is None else list(migrations)
    async with connected(owner_url) as connection:
        await _lock(connection)
        await _create_table(connection)
        missing = await _missing(connection, wanted)
        for migration in missing:
            if progress:
                progress(f"Migrating the database: {migration.version:04} {migration.name.replace('_', ' ')}")
            await _apply(connection, migration)
        return missing


async def pending(connection: Connection, migrations: Sequence[Migration] | None = None) -> list[Migration]:
    """What is not applied yet, as the app role can tell. Raises SetupError as `migrate` does."""
    wanted = read_migrations() if migrations is None else list(migrations)
    if await connection.fetchval("SELECT to_regclass('porch.migrations')") is None:
        return wanted
    return await _missing(connection, wanted)


async def _lock(connection: Connection) -> None:
    # Asking again and again, since a session that waits inside pg_advisory_lock() holds a snapshot, and
    # CREATE INDEX CONCURRENTLY in the process that has the lock would wait for it forever.
    ask = "SELECT pg_try_advisory_lock($1)"
    while not await connection.fetchval(ask, LOCK):  # noqa: ASYNC110 - its holder is another process
        await asyncio.sleep(0.05)


async def _create_table(connection: Connection) -> None:
    if await connection.fetchval("SELECT to_regclass('porch.migrations')") is not None:
        return
    async with connection.transaction():
        if await connection.fetchval("SELECT to_regnamespace('porch')") is None:
            await connection.execute("CREATE SCHEMA porch")
        await connection.execute(
            "CREATE TABLE porch.migrations (version int PRIMARY KEY, name text NOT NULL, "
            "checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        await connection.execute("GRANT SELECT ON porch.migrations TO porch_app")


async def _missing(connection: Connection, wanted: list[Migration]) -> list[Migration]:
    rows = await connection.fetch("SELECT version, name, checksum FROM porch.migrations ORDER BY version")
    by_version = {migration.version: migration for migration in wanted}
    for row in rows:
        known = by_version.pop(row["version"], None)
        if known is None:
            raise SetupError(
                f"The database is newer than this Porch: it has migration {row['version']:04} "
                f"({row['name']!r}), and this version knows {len(wanted)}. "
                "Run the newer Porch, or restore a backup from before."
            )
        if known.checksum != row["checksum"]:
            raise SetupError(
                f"Migration {known.version:04} ({known.name!r}) was applied with another text than this "
                "Porch has. An applied migration never changes: install the version that made this database, "
                "and put a change into a new file."
            )
    return [by_version[version] for version in sorted(by_version)]


async def _apply(connection: Connection, migration: Migration) -> None:
    record = "INSERT INTO porch.migrations (version, name, checksum) VALUES ($1, $2, $3)"
    values = (migration.version, migration.name, migration.checksum)
    try:
        if migration.transactional:
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(record, *values)
        else:
            for statement in _statements(migration):
                await connection.execute(statement)
            await connection.execute(record, *values)
    except asyncpg.PostgresError as error:
        found: str | None = getattr(error, "position", None)
        position = f" at character {found}" if found else ""
        stays = "Nothing of it stays." if migration.transactional else "What ran before the error stays."
        raise SetupError(
            f"Migration {migration.version:04} ({migration.name!r}) failed{position}: {error}. {stays} "
            "The earlier ones are applied; mend the cause and start again."
        ) from error


def _statements(migration: Migration) -> list[str]:
    if "$$" in migration.sql:
        raise SetupError(
            f"Migration {migration.version:04} runs outside a transaction and holds a $$ body, which the "
            "splitter does not read. Put functions into a migration of their own."
        )
    lines = [line for line in migration.sql.splitlines() if not line.lstrip().startswith("--")]
    parts = re.split(r";[ \t]*$", "\n".join(lines), flags=re.MULTILINE)
    return [part.strip() for part in parts if part.strip()]
