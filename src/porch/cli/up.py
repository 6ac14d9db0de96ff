"""`porch up`: the server in the foreground, until it is told to stop."""

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from porch.cli.attach import answers
from porch.cli.child import run_server
from porch.cli.invocation import common, current, program
from porch.cli.prose import Prose
from porch.cli.start import Start
from porch.cli.terminal import paint, speak_safely
from porch.storage.datadir import DataDir, find_home

if TYPE_CHECKING:
    from porch.settings import Settings
    from porch.web.last_resort import LastResort
    from porch.web.server import ServerInfo


@click.command(epilog="Example: porch up --port 9000")
@click.option("--host", metavar="HOST", help="Where to listen (localhost: 127.0.0.1 and ::1).")
@click.option("--port", type=int, metavar="PORT", help="The port (8642); 0 takes any free one.")
@click.option("--database-url", metavar="URL", help="A PostgreSQL ≥ 16 to use instead of Porch's own.")
@click.option("--migration-url", metavar="URL", help="The same database as its owner, for migrations.")
@common()
def up(host: str | None, port: int | None, database_url: str | None, migration_url: str | None) -> None:
    """Run the server in the foreground. Ctrl-C stops it; what is being answered goes on at the next start."""
    speak_safely()
    settings = current().settings(
        host=host, port=port, database_url=database_url, migration_url=migration_url
    )
    _check_unheld(settings.data_dir)
    run_server(partial(_serve, settings))
    Prose(sys.stdout).line("Stopped.", "dim")


def _check_unheld(data_dir: Path) -> None:
    """Raise SetupError at once when a server runs there, before seconds go into loading another one.

    One that does not answer may be about to stop: whether the folder is free then shows when it is taken.
    """
    folder = DataDir(data_dir)
    holder = folder.read_holder()
    if holder and holder.lasting and holder.url and asyncio.run(answers(holder.url)):
        raise folder.held_by(holder)


async def _serve(settings: "Settings", resort: "LastResort") -> None:
    start = Start(sys.stdout)
    async with start:
        from porch.web.logs import configure_logging
        from porch.web.server import serve

        configure_logging(settings)

        def ready(info: "ServerInfo") -> None:
            start.served("")
            start.close()
            _tell(info)

        await serve(settings, on_ready=ready, progress=start.say, allow=resort.allow)


def _tell(info: "ServerInfo") -> None:
    prose = Prose(sys.stdout)
    options = current().options
    rows = [
        ("Listening", info.url, "cyan"),
        ("Data", _short(info.data_dir), ""),
        *_outside(info.data_dir),
        ("Token", f"in {_short(info.data_dir / 'credentials.json')}, for programs; keep it private", ""),
        ("Try", f"{program()} hello{options}", "cyan"),
        ("Stop", "Ctrl-C", ""),
    ]
    prose.line()
    if info.sign_in:
        prose.raw(paint(f"{'Sign in':<11}", "dim", prose.file) + paint(info.sign_in, "cyan", prose.file))
        again = f"once, within 15 minutes; later {program()} sign-in{options} prints another"
        prose.hanging(" " * 11, 11, again, "dim")
    for label, text, style in rows:
        prose.hanging(paint(f"{label:<11}", "dim", prose.file), 11, text, style)
    prose.line()


def _outside(data_dir: Path) -> list[tuple[str, str, str]]:
    """Where the database is, when that is not in the data folder."""
    home = find_home(data_dir)
    return [("Database", str(home), "")] if home and not home.is_relative_to(data_dir) else []


def _short(path: Path) -> str:
    try:
        return str("~" / path.relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return str(path)
