"""`porch backup`, `restore` and `upgrade-data`: the database as a file, and from one PostgreSQL to the next."""

import asyncio
import sys
from pathlib import Path

import click

from porch.cli.invocation import common, current
from porch.cli.prose import Prose
from porch.contract.errors import SetupError


@click.command(epilog="Example: porch backup porch-monday.backup")
@click.argument("file", type=click.Path(path_type=Path))
@common()
def backup(file: Path) -> None:
    """Save the database to FILE, whether the server runs or not. In a folder it gets a name of its own."""
    from porch.storage.backup import backup as backup_url
    from porch.storage.backup import backup_data
    from porch.storage.datadir import DataDir

    settings, aside = current().settings(), Prose(sys.stderr)
    if settings.database_url:
        url = settings.migration_url or settings.database_url
        saved = asyncio.run(backup_url(url, file, progress=aside.line))
    else:
        saved = asyncio.run(backup_data(DataDir(settings.data_dir), file, progress=aside.line))
    print(saved)


@click.command(epilog="Example: porch restore porch-monday.backup --data-dir ~/porch-restored")
@click.argument("file", type=click.Path(path_type=Path))
@common()
def restore(file: Path) -> None:
    """Fill a fresh data folder from a backup."""
    from porch.storage.backup import restore as restore_data
    from porch.storage.datadir import DataDir

    settings = current().settings()
    if settings.database_url:
        raise SetupError(
            "A backup is restored into a data folder of Porch's own, and a database URL is set. Unset it, or "
            "restore with pg_restore into that server."
        )
    asyncio.run(restore_data(file, DataDir(settings.data_dir), progress=Prose(sys.stderr).line))


@click.command("upgrade-data", epilog="Example: porch upgrade-data")
@common()
def upgrade_data() -> None:
    """Bring the data folder of an older PostgreSQL to this one. The old data stays until you remove it."""
    from porch.storage.datadir import DataDir
    from porch.storage.upgrade import upgrade_data as upgrade

    aside = Prose(sys.stderr)
    if asyncio.run(upgrade(DataDir(current().settings().data_dir), progress=aside.line)) is None:
        aside.line("There is nothing to do: the data is of this PostgreSQL.")
