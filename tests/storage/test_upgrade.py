from pathlib import Path

import pytest

from porch.contract.errors import SetupError
from porch.storage.connection import connected
from porch.storage.datadir import DataDir
from porch.storage.embedded import EmbeddedPostgres
from porch.storage.migrate import migrate
from porch.storage.upgrade import upgrade_data

WORKSPACE = "INSERT INTO porch.workspaces (id, handle, name) VALUES (gen_random_uuid(), 'a', 'Ünï 🏡')"


async def test_a_folder_of_postgres_16_becomes_one_of_18_and_failures_change_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = DataDir(place / "data")
    old = EmbeddedPostgres(data_dir, major=16)
    urls = await old.start()
    await migrate(urls.owner)
    async with connected(urls.admin) as connection:
        await connection.execute(WORKSPACE)
    await old.stop()
    with pytest.raises(SetupError, match="Run `porch upgrade-data` once"):
        await EmbeddedPostgres(data_dir).start()

    async def fail(*_: object) -> None:
        raise SetupError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("porch.storage.upgrade.load", fail)
        with pytest.raises(SetupError, match="no space left"):
            await upgrade_data(data_dir)
    await old.start()
    await old.stop()

    told: list[str] = []
    kept = await upgrade_data(data_dir, progress=told.append)
    assert kept == place / "data" / "postgres" / "16"
    assert (place / "data" / "postgres" / "16" / "PG_VERSION").read_text() == "16\n"
    assert told[0] == "Dumping the database of PostgreSQL 16"
    new = EmbeddedPostgres(data_dir)
    urls = await new.start()
    try:
        assert await migrate(urls.owner) == []
        async with connected(urls.admin) as connection:
            assert await connection.fetchval("SELECT name FROM porch.workspaces") == "Ünï 🏡"
            assert (await connection.fetchval("SHOW server_version")).startswith("18.")
    finally:
        await new.stop()
    assert await upgrade_data(data_dir) is None


async def test_a_folder_without_a_database_has_nothing_to_upgrade(place: Path) -> None:
    with pytest.raises(SetupError, match="There is no database"):
        await upgrade_data(DataDir(place / "data"))
