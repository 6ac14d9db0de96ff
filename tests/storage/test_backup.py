import io
import json
import tarfile
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from porch.contract.errors import SetupError
from porch.storage.backup import backup, backup_data, restore
from porch.storage.connection import connected
from porch.storage.datadir import DataDir
from porch.storage.embedded import EmbeddedPostgres
from porch.storage.external import check_external
from porch.storage.migrate import migrate, read_migrations

WORKSPACE = "INSERT INTO porch.workspaces (id, handle, name) VALUES (gen_random_uuid(), 'ünï', 'Ünï 🏡')"
READ = "SELECT name FROM porch.workspaces WHERE handle <> 'ada'"
# One person with a token, two sign-in links and two sessions, of which one had ended.
SIGNED_IN = """
  WITH u AS (INSERT INTO porch.users (id, name) VALUES (gen_random_uuid(), 'ada') RETURNING id),
  w AS (INSERT INTO porch.workspaces (id, handle, name) VALUES (gen_random_uuid(), 'ada', 'Ada') RETURNING id),
  m AS (INSERT INTO porch.memberships (workspace_id, user_id, role) SELECT w.id, u.id, 'owner' FROM w, u),
  t AS (INSERT INTO porch.tokens (workspace_id, id, user_id, kind, name, prefix, hash, scopes)
        SELECT w.id, gen_random_uuid(), u.id, 'pat', 't', 'p', sha256('token'), ARRAY['admin:*'] FROM w, u),
  l AS (INSERT INTO porch.sign_in_links (hash, user_id, expires_at, used_at)
        SELECT sha256(h::bytea), u.id, now() + interval '1 hour', used
        FROM u, (VALUES ('open', NULL), ('used', now())) AS links (h, used))
  INSERT INTO porch.sessions (id, user_id, hash, expires_at, ends_at, revoked_at)
    SELECT gen_random_uuid(), u.id, sha256(h::bytea), now() + interval '1 day', now() + interval '2 days', ended
    FROM u, (VALUES ('open', NULL), ('ended', now() - interval '1 hour')) AS sessions (h, ended)
"""


async def fill(data: Path) -> None:
    postgres = EmbeddedPostgres(data)
    urls = await postgres.start()
    try:
        await migrate(urls.owner)
        async with connected(urls.admin) as connection:
            await connection.execute(WORKSPACE)
            await connection.execute(SIGNED_IN)
    finally:
        await postgres.stop()


@pytest.fixture(scope="module")
async def saved() -> AsyncIterator[Path]:
    """A backup of a data folder whose server is stopped."""
    with tempfile.TemporaryDirectory(prefix="porch-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        await fill(folder / "data")
        yield await backup_data(DataDir(folder / "data"), folder / "porch.backup")


async def test_what_was_saved_comes_back_with_its_roles_and_walls(saved: Path, place: Path) -> None:
    told: list[str] = []
    manifest = await restore(saved, DataDir(place / "data"), progress=told.append)
    assert manifest.schema == len(read_migrations())
    assert saved.stat().st_mode & 0o777 == 0o600
    assert told[0] == "Checking the backup"
    postgres = EmbeddedPostgres(place / "data")
    urls = await postgres.start()
    try:
        assert await migrate(urls.owner) == []
        await check_external(urls.app, urls.owner)
        async with connected(urls.admin) as connection:
            assert await connection.fetchval(READ) == "Ünï 🏡"
        async with connected(urls.app) as connection:
            assert await connection.fetchval(READ) is None
        again = await backup_data(DataDir(place / "data"), place)
        assert again.name.startswith("porch-20")
        with pytest.raises(SetupError, match="cannot see the rows of every workspace"):
            await backup(urls.owner, place / "other")
    finally:
        await postgres.stop()


async def test_nobody_is_signed_in_after_a_restore_and_tokens_work_as_they_did(
    saved: Path, place: Path
) -> None:
    told: list[str] = []
    await restore(saved, DataDir(place / "data"), progress=told.append)
    assert "Everybody has to sign in again" in told[-2]
    assert "one that was revoked later works again" in told[-1]
    assert "porch tokens revoke ID" in told[-1]
    postgres = EmbeddedPostgres(place / "data")
    urls = await postgres.start()
    try:
        async with connected(urls.app) as connection:
            for word in ("open", "used", "ended"):
                link = "SELECT state FROM porch.read_sign_in_link(sha256($1::text::bytea))"
                assert await connection.fetchval(link, word) is None
                session = "SELECT user_id FROM porch.authenticate_session(sha256($1::text::bytea))"
                assert await connection.fetchval(session, word) is None
            token = "SELECT user_name FROM porch.authenticate_token(sha256('token'))"
            assert await connection.fetchval(token) == "ada"
        async with connected(urls.admin) as connection:
            ended = "SELECT revoked_at < now() - interval '30 minutes' FROM porch.sessions ORDER BY 1"
            assert [row[0] for row in await connection.fetch(ended)] == [False, True], "its end stays its end"
    finally:
        await postgres.stop()


async def test_a_backup_of_a_database_without_our_tables_is_restored_too(place: Path) -> None:
    postgres = EmbeddedPostgres(place / "old")
    urls = await postgres.start()
    try:
        # Nothing of Porch's is in it yet.
        saved = await backup(urls.admin, place / "old.backup")
    finally:
        await postgres.stop()
    manifest = await restore(saved, DataDir(place / "data"))
    assert manifest.schema == 0


def test_a_backup_holds_no_password(saved: Path) -> None:
    record = json.loads((saved.parent / "data" / "postgres.json").read_text())
    content = saved.read_bytes()
    for password in record["passwords"].values():
        assert password.encode() not in content
    with tarfile.open(saved) as archive:
        assert archive.getnames() == ["manifest.json", "database.dump"]


async def test_a_backup_is_never_written_over(saved: Path) -> None:
    with pytest.raises(SetupError, match="exists already"):
        await backup_data(DataDir(saved.parent / "data"), saved)


async def test_there_is_nothing_to_back_up_in_an_empty_folder(place: Path) -> None:
    with pytest.raises(SetupError, match="There is no database"):
        await backup_data(DataDir(place / "data"), place / "file")


@pytest.mark.parametrize("left", [0.01, 0.5, 0.8])
async def test_a_cut_file_restores_nothing(saved: Path, place: Path, left: float) -> None:
    content = saved.read_bytes()
    cut = place / "cut"
    cut.write_bytes(content[: int(len(content) * left)])
    with pytest.raises(SetupError, match="is damaged: a part of it is missing"):
        await restore(cut, DataDir(place / "data"))
    assert_fresh(place / "data")


async def test_a_changed_file_restores_nothing(saved: Path, place: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[len(content) // 2] ^= 1
    (place / "changed").write_bytes(content)
    with pytest.raises(SetupError, match="is damaged"):
        await restore(place / "changed", DataDir(place / "data"))


@pytest.mark.parametrize("content", [b"", b"-- a dump of something else\n" * 100])
async def test_a_foreign_file_is_refused(place: Path, content: bytes) -> None:
    (place / "foreign").write_bytes(content)
    with pytest.raises(SetupError, match=r"is not a backup of Porch\. `porch backup` makes one"):
        await restore(place / "foreign", DataDir(place / "data"))
    assert_fresh(place / "data")


async def test_a_missing_file_is_named(place: Path) -> None:
    with pytest.raises(SetupError, match="There is no file"):
        await restore(place / "none", DataDir(place / "data"))


async def test_a_backup_of_a_newer_porch_is_refused(saved: Path, place: Path) -> None:
    with tarfile.open(saved) as old, tarfile.open(place / "newer", "w") as new:
        for entry in old:
            content = ((file := old.extractfile(entry)) and file.read()) or b""
            if entry.name == "manifest.json":
                content = json.dumps({**json.loads(content), "schema": 9000}).encode()
                entry.size = len(content)
            new.addfile(entry, io.BytesIO(content))
    with pytest.raises(SetupError, match=r"migration 9000\), which is newer than this Porch"):
        await restore(place / "newer", DataDir(place / "data"))


async def test_a_folder_with_a_database_is_not_written_over(saved: Path) -> None:
    with pytest.raises(SetupError, match="has a database already"):
        await restore(saved, DataDir(saved.parent / "data"))


async def test_a_failure_in_the_middle_leaves_the_folder_fresh(
    saved: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise SetupError("pg_restore failed")

    with monkeypatch.context() as patch:
        patch.setattr("porch.storage.backup.load", fail)
        with pytest.raises(SetupError, match="pg_restore failed"):
            await restore(saved, DataDir(place / "data"))
    assert_fresh(place / "data")


def assert_fresh(data: Path) -> None:
    assert sorted(entry.name for entry in data.iterdir()) == ["porch.json", "porch.lock"]
