"""A backup: one file with everything in the database, and the way back into a fresh data folder.

It holds no file of the data folder: the passwords of the roles and `credentials.json` are made anew by the
restored installation. Whoever has the file has the content of the database, so it is 0600.
"""

import asyncio
import contextlib
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from porch import __version__
from porch.contract.errors import SetupError
from porch.storage.account import Account
from porch.storage.archive import DUMP, Manifest, checksum_of, pack, unpack
from porch.storage.binaries import Binaries, locate_binaries
from porch.storage.connection import connected
from porch.storage.datadir import DataDir, sync_folder
from porch.storage.embedded import EmbeddedPostgres, PostgresUrls, running_urls
from porch.storage.libpq import without_password
from porch.storage.migrate import read_migrations
from porch.storage.process import describe_exit, spawn
from porch.storage.progress import Progress, silence
from porch.storage.provision import DATABASE, provisioning


async def backup_data(data_dir: DataDir, target: Path, *, progress: Progress | None = None) -> Path:
    """Backs up a data folder's database, whether its server runs or not, and returns the file.

    Raises SetupError when there is no database, when `target` exists, or when it cannot be written.
    """
    if urls := running_urls(data_dir):
        return await backup(urls.admin, target, progress=progress)
    with data_dir.hold():
        postgres = EmbeddedPostgres(data_dir, progress=progress, create=False)
        urls = await postgres.start()
        try:
            return await backup(urls.admin, target, progress=progress)
        finally:
            await postgres.stop()


async def backup(url: str, target: Path, *, progress: Progress | None = None) -> Path:
    """Writes a backup of the database at `url` to `target`, whole or not at all.

    The role must see every row: a superuser, or one with BYPASSRLS. In a folder as `target` the file gets a
    name of its own. Raises SetupError.
    """
    say = progress or silence
    binaries = locate_binaries()
    target = _choose_file(target)
    major, schema = await _examine(url)
    try:
        half = Path(tempfile.mkdtemp(prefix=".porch-backup-", dir=target.parent))
        try:
            say("Dumping the database")
            await dump(url, half / DUMP, binaries)
            size = (half / DUMP).stat().st_size
            checksum = await asyncio.to_thread(checksum_of, half / DUMP)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            manifest = Manifest(1, __version__, major, schema, now, checksum, size)
            await asyncio.to_thread(pack, half, manifest)
            (half / "backup").rename(target)
            sync_folder(target.parent)
        finally:
            shutil.rmtree(half, ignore_errors=True)
    except OSError as error:
        raise SetupError(f"The backup {str(target)!r} cannot be written: {error.strerror}.") from error
    say(f"Wrote {target} ({size / 1e6:.1f} MB)")
    return target


def _choose_file(target: Path) -> Path:
    if target.is_dir():
        target = target / f"porch-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.backup"
    if target.exists():
        raise SetupError(f"{str(target)!r} exists already. Name another file for the backup.")
    return target


async def _examine(url: str) -> tuple[int, int]:
    """PostgreSQL's major version and the last migration."""
    async with connected(url) as connection:
        row = await connection.fetchrow(
            "SELECT current_setting('server_version_num')::int / 10000 AS major, "
            "rolsuper OR rolbypassrls AS sees_all, rolname FROM pg_roles WHERE rolname = current_user"
        )
        assert row is not None
        if not row["sees_all"]:
            raise SetupError(
                f"The role {row['rolname']!r} cannot see the rows of every workspace, so its backup would "
                "not be whole. Use a role with BYPASSRLS, or your provider's own backups."
            )
        if await connection.fetchval("SELECT to_regclass('porch.migrations')") is None:
            return row["major"], 0
        schema = await connection.fetchval("SELECT coalesce(max(version), 0) FROM porch.migrations")
        return row["major"], schema


async def restore(file: Path, data_dir: DataDir, *, progress: Progress | None = None) -> Manifest:
    """Makes a fresh data folder's database from a backup; a failure leaves the folder as fresh as before.

    Nobody is signed in afterwards; tokens are as they were at the time of the backup. Raises SetupError when the
    folder has a database, or when the file is cut, foreign, or of a newer Porch.
    """
    say = progress or silence
    data_dir.prepare()
    if (data_dir.path / "postgres.json").exists():
        raise SetupError(
            f"The data folder {str(data_dir.path)!r} has a database already. Restore into a new "
            "one with --data-dir."
        )
    with data_dir.hold():
        half = Path(tempfile.mkdtemp(prefix=".restore-", dir=data_dir.path))
        postgres = EmbeddedPostgres(data_dir, progress=progress)
        done = False
        try:
            say("Checking the backup")
            manifest = await asyncio.to_thread(unpack, file, half)
            binaries = locate_binaries()
            _check(manifest, binaries)
            urls = await postgres.start()
            say("Restoring the database")
            await load(urls, half / DUMP, binaries)
            await _close_browsers(urls.admin)
            done = True
        finally:
            await postgres.stop()
            shutil.rmtree(half, ignore_errors=True)
            if not done:
                postgres.discard()
    say(f"Restored what was saved on {manifest.created_at}")
    say("Everybody has to sign in again: the browser sessions and sign-in links of that time are closed.")
    say(
        "Tokens are as they were then: one that was revoked later works again. Look at them with `porch tokens "
        "list`, and close such a one with `porch tokens revoke ID`."
    )
    return manifest


async def _close_browsers(url: str) -> None:
    """Ends all sessions and sign-in links: some may have been ended or used after the backup was made."""
    async with connected(url) as connection:
        for table, statement in (
            ("porch.sessions", "UPDATE porch.sessions SET revoked_at = now() WHERE revoked_at IS NULL"),
            ("porch.sign_in_links", "DELETE FROM porch.sign_in_links"),
        ):
            if await connection.fetchval("SELECT to_regclass($1::text)", table) is not None:
                await connection.execute(statement)


async def dump(url: str, target: Path, binaries: Binaries) -> None:
    """pg_dump of a database into `target`, in its custom format."""
    plain, env = without_password(url)
    with target.open("xb") as file:
        await _run([binaries.program("pg_dump"), "--format=custom", f"--dbname={plain}"], env, file, None)
        os.fsync(file.fileno())


async def load(urls: PostgresUrls, source: Path, binaries: Binaries) -> None:
    """Replaces the database `porch` of an embedded server by the content of a dump, in one transaction."""
    parts = provisioning("", "")
    async with connected(urls.maintenance) as connection:
        await connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
        await connection.execute(parts.database)
    plain, env = without_password(urls.admin)
    command = [
        binaries.program("pg_restore"),
        "--exit-on-error",
        "--single-transaction",
        f"--dbname={plain}",
    ]
    with source.open("rb") as file:
        await _run(command, env, asyncio.subprocess.DEVNULL, file)
    async with connected(urls.admin) as connection:
        await connection.execute(parts.inside)
        await connection.execute("ANALYZE")


async def _run(
    command: list[str], env: dict[str, str], output: IO[bytes] | int, source: IO[bytes] | None
) -> None:
    process = await spawn(
        command,
        _ourselves(),
        output=output,
        stdin=source.fileno() if source else None,
        errors=asyncio.subprocess.PIPE,
        env=env,
    )
    try:
        _, errors = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        raise
    if process.returncode != 0:
        name = Path(command[0]).name
        raise SetupError(
            f"{name} failed ({describe_exit(process.returncode)}): {errors.decode(errors='replace')[-1500:]}"
        )


def _ourselves() -> Account:
    return Account("", os.geteuid(), os.getegid(), drops=False)


def _check(manifest: Manifest, binaries: Binaries) -> None:
    known = len(read_migrations())
    if manifest.format != 1 or manifest.schema > known or manifest.postgres > binaries.major:
        raise SetupError(
            f"This backup was made by Porch {manifest.porch} (PostgreSQL {manifest.postgres}, migration "
            f"{manifest.schema}), which is newer than this Porch {__version__}. Restore it with that version."
        )
