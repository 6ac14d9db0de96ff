"""Brings a data folder of an older PostgreSQL to the major version that this Porch runs."""

import shutil
from pathlib import Path

import msgspec

from porch.contract.errors import SetupError
from porch.storage.backup import dump, load
from porch.storage.binaries import locate_binaries
from porch.storage.cluster import RECORD, Record
from porch.storage.connection import connected
from porch.storage.datadir import DataDir, sync_folder
from porch.storage.embedded import EmbeddedPostgres
from porch.storage.progress import Progress, silence

# The new database is recorded here until it is complete; renaming it to RECORD is the moment of the change.
HALF = "postgres-next.json"


async def upgrade_data(data_dir: DataDir, *, progress: Progress | None = None) -> Path | None:
    """Dumps the old database, loads it into a new one, compares the rows, and changes over in one step.

    Returns the folder of the old database, which stays, or None when there was nothing to do. A crash or an
    error leaves the old one in use; running it again starts over. Raises SetupError.
    """
    say = progress or silence
    binaries = locate_binaries()
    with data_dir.hold():
        record = _read(data_dir)
        if record.major == binaries.major:
            return None
        if record.major > binaries.major:
            raise SetupError(
                f"The data folder is of PostgreSQL {record.major}, newer than this Porch's {binaries.major}. "
                "Run the newer Porch that made it."
            )
        old = EmbeddedPostgres(data_dir, major=record.major, progress=progress)
        new = EmbeddedPostgres(data_dir, progress=progress, record=HALF)
        source = data_dir.path / ".upgrade.dump"
        _clear(data_dir, record, binaries.major, source)
        try:
            say(f"Dumping the database of PostgreSQL {record.major}")
            urls = await old.start()
            before = await _count(urls.admin)
            await dump(urls.admin, source, binaries)
            await old.stop()
            _plan(data_dir, record, binaries.major)
            say(f"Loading it into PostgreSQL {binaries.major}")
            urls = await new.start()
            await load(urls, source, binaries)
            if (after := await _count(urls.admin)) != before:
                raise SetupError(
                    f"The new database differs from the old one, which stays in use: "
                    f"{before} rows became {after}."
                )
            await new.stop()
            (data_dir.path / HALF).rename(data_dir.path / RECORD)
            sync_folder(data_dir.path)
        finally:
            await old.stop()
            await new.stop()
            source.unlink(missing_ok=True)
    kept = new.home / str(record.major)
    say(f"Done. The old database is still in {kept}; remove it when you are content.")
    return kept


def _read(data_dir: DataDir) -> Record:
    try:
        return msgspec.json.decode((data_dir.path / RECORD).read_bytes(), type=Record)
    except FileNotFoundError as error:
        raise SetupError(f"There is no database in {str(data_dir.path)!r} to upgrade.") from error


def _clear(data_dir: DataDir, record: Record, major: int, source: Path) -> None:
    source.unlink(missing_ok=True)
    (data_dir.path / HALF).unlink(missing_ok=True)
    shutil.rmtree(data_dir.path / record.home / str(major), ignore_errors=True)


def _plan(data_dir: DataDir, record: Record, major: int) -> None:
    plan = Record(record.home, major, record.passwords)
    data_dir.write_secret(HALF, msgspec.json.format(msgspec.json.encode(plan)) + b"\n")


async def _count(url: str) -> dict[str, int]:
    """Rows by table, of every table in the schema."""
    async with connected(url) as connection:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'porch' ORDER BY 1"
        )
        return {
            row["tablename"]: await connection.fetchval(f'SELECT count(*) FROM porch."{row["tablename"]}"')  # noqa: S608 - a name from the catalogue
            for row in tables
        }
