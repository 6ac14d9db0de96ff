"""The operator, their workspace and credentials.json."""

import asyncio
import os
import stat
from pathlib import Path

import msgspec
import pytest

from porch.contract.errors import SetupError, Unauthenticated
from porch.identity import store
from porch.identity.authentication import authenticate
from porch.identity.first_boot import (
    FILE,
    ensure_operator,
    operator_name,
    read_credentials,
    workspace_handle,
    write_credentials,
)
from porch.identity.model import Credentials, Operator
from porch.storage.database import Database

URL = "http://localhost:8642"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_the_first_boot_makes_an_operator_who_may_do_everything(
    database: Database, tmp_path: Path
) -> None:
    credentials, operator = await ensure_operator(database, tmp_path, URL)
    principal = await authenticate(database, credentials.token)
    assert (principal.kind, principal.role) == ("user", "owner")
    assert principal.workspace_handle == credentials.workspace == operator.handle
    assert principal.workspace == operator.workspace_id
    assert principal.allows("admin", "workspaces")
    async with database.tenant(principal.workspace) as connection:
        assert await connection.fetchval("SELECT expires_at FROM porch.tokens") is None


async def test_the_file_holds_url_token_and_workspace_and_only_its_owner_reads_it(
    database: Database, tmp_path: Path
) -> None:
    old = os.umask(0)
    try:
        credentials, _ = await ensure_operator(database, tmp_path, URL)
    finally:
        os.umask(old)
    assert mode(tmp_path / FILE) == 0o600
    assert msgspec.json.decode((tmp_path / FILE).read_bytes()) == {
        "url": URL,
        "token": credentials.token,
        "workspace": credentials.workspace,
    }
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE]


async def test_the_file_is_never_wider_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        seen.extend(mode(entry) for entry in tmp_path.iterdir())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    write_credentials(tmp_path / FILE, Credentials(url=URL, token="t", workspace="w"))
    assert seen == [0o600]


async def test_a_later_boot_keeps_the_token_and_rewrites_the_url(database: Database, tmp_path: Path) -> None:
    first, _ = await ensure_operator(database, tmp_path, URL)
    second, _ = await ensure_operator(database, tmp_path, "http://localhost:9999")
    assert (second.token, second.workspace) == (first.token, first.workspace)
    assert read_credentials(tmp_path / FILE) == second
    assert second.url == "http://localhost:9999"


async def test_an_unchanged_file_is_left_alone(database: Database, tmp_path: Path) -> None:
    await ensure_operator(database, tmp_path, URL)
    before = (tmp_path / FILE).stat().st_ino
    await ensure_operator(database, tmp_path, URL)
    assert (tmp_path / FILE).stat().st_ino == before


async def test_a_file_that_was_opened_to_others_is_closed_again(database: Database, tmp_path: Path) -> None:
    await ensure_operator(database, tmp_path, URL)
    (tmp_path / FILE).chmod(0o644)
    await ensure_operator(database, tmp_path, URL)
    assert mode(tmp_path / FILE) == 0o600


@pytest.mark.parametrize(
    "broken",
    [
        None,
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"url": 1}',
        b'{"url": "u", "token": "porch_pat_x", "workspace": "w"}',
    ],
)
async def test_a_lost_or_broken_file_is_replaced_and_its_token_revoked(
    database: Database, tmp_path: Path, broken: bytes | None
) -> None:
    first, _ = await ensure_operator(database, tmp_path, URL)
    if broken is None:
        (tmp_path / FILE).unlink()
    else:
        (tmp_path / FILE).write_bytes(broken)
    second, _ = await ensure_operator(database, tmp_path, URL)
    assert second.token != first.token
    assert second.workspace == first.workspace
    await authenticate(database, second.token)
    with pytest.raises(Unauthenticated):
        await authenticate(database, first.token)


async def test_tokens_made_with_the_lost_one_live_on(database: Database, tmp_path: Path) -> None:
    from porch.identity.service import create_token

    first, _ = await ensure_operator(database, tmp_path, URL)
    _, made = await create_token(
        await authenticate(database, first.token), database, name=f"{FILE} of me", scopes=["read:agents"]
    )
    (tmp_path / FILE).unlink()
    await ensure_operator(database, tmp_path, URL)
    await authenticate(database, made.text)


async def test_servers_that_share_a_database_keep_a_file_each(database: Database, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    (one, _), (two, _) = await asyncio.gather(*(ensure_operator(database, folder, URL) for folder in folders))
    assert one.workspace == two.workspace
    assert one.token != two.token
    for token in (one.token, two.token):
        await authenticate(database, token)


async def test_a_folder_that_cannot_be_written_is_said(database: Database, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="--data-dir"):
        await ensure_operator(database, tmp_path / "file", URL)


@pytest.mark.parametrize(
    ("login", "name", "handle"),
    [
        ("ada", "ada", "ada"),
        ("Ada.Lovelace", "Ada.Lovelace", "ada-lovelace"),
        ("root", "operator", "home"),
        ("", "operator", "home"),
        ("Ёжик", "Ёжик", "home"),
        ("a" * 60, "a" * 40, "a" * 40),
        ("-._-", "-._-", "home"),
        ("DOMAIN\\ada", "DOMAIN\\ada", "domain-ada"),
    ],
)
def test_the_operator_is_named_after_the_login_where_that_names_a_person(
    monkeypatch: pytest.MonkeyPatch, login: str, name: str, handle: str
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: login)
    assert operator_name() == name
    assert workspace_handle(name) == handle


def test_an_account_without_a_name_is_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise OSError("no such uid")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert operator_name() == "operator"


def test_credentials_never_show_their_token() -> None:
    assert "secret" not in repr(Credentials(url=URL, token="secret", workspace="w"))


async def test_boots_at_once_make_one_operator(database: Database) -> None:
    async def boot(name: str) -> Operator:
        async with database.system() as connection:
            return await store.ensure_operator(connection, name, name)

    made = await asyncio.gather(*(boot(f"name-{n}") for n in range(8)))
    assert len(set(made)) == 1
    assert await boot("later") == made[0]
    async with database.tenant(made[0].workspace_id) as connection:
        assert await connection.fetchval("SELECT count(*) FROM porch.memberships") == 1
        assert await connection.fetchval("SELECT role FROM porch.memberships") == "owner"
