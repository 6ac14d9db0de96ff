"""`porch archive`: for how long the journals of ended runs are kept, and those that left brought back."""

import json
import sys

import click

from porch.cli.attach import reached
from porch.cli.given import read_limit
from porch.cli.invocation import common, current
from porch.cli.prose import Prose
from porch.cli.start import QuietStart
from porch.client.resources import in_workspace
from porch.contract.errors import InvalidInput
from porch.identity.model import MAX_JOURNAL_DAYS

FOREVER = "forever"


@click.group(epilog="Example: porch archive keep 90")
def archive() -> None:
    """Say how long journals are kept, and bring archived ones back. Messages always stay."""


@archive.command(epilog="Example: porch archive show")
@common(json=True)
def show() -> None:
    """For how long this workspace keeps the journals of ended runs."""
    invocation = current()
    with reached(invocation.resolve(), QuietStart()) as link:
        path = in_workspace(link.server.workspace)
        days = link.run(link.client.connection.send("GET", path))["journal_days"]
    if invocation.json:
        print(json.dumps({"journal_days": days}))
        return
    Prose(sys.stdout).line(_sentence(days))


@archive.command(epilog="Example: porch archive keep 90")
@click.argument("days", metavar="DAYS|forever")
@common()
def keep(days: str) -> None:
    """Keep journals for so many days after their run ended, then archive or, without an archive, remove them."""
    asked = read_limit(days, of="days", example=90, none=FOREVER)
    if asked is not None and not 1 <= asked <= MAX_JOURNAL_DAYS:
        raise InvalidInput(
            f"Journals are kept for 1 to {MAX_JOURNAL_DAYS} days, or {FOREVER}: for as long as their runs are."
        )
    body = {"journal_days": asked}
    with reached(current().resolve(), QuietStart()) as link:
        path = in_workspace(link.server.workspace)
        changed = link.run(link.client.connection.send("PATCH", path, body=body))
    Prose(sys.stdout).line(_sentence(changed["journal_days"]))


@archive.command(epilog="Example: porch archive restore run_0199…")
@click.argument("runs", metavar="RUN…", nargs=-1, required=True)
@common()
def restore(runs: tuple[str, ...]) -> None:
    """Bring the journals of these runs back into the database, for a day."""
    with reached(current().resolve(), QuietStart()) as link:
        for run in runs:
            link.run(link.client.connection.send("POST", f"/api/v1/runs/{run}/journal"))
            Prose(sys.stdout).line(f"The journal of {run} is here.")


def _sentence(days: int | None) -> str:
    if days is None:
        return "Journals are kept for as long as their runs are."
    return f"Journals are kept for {days} day{'s' if days > 1 else ''} after their run ended."
