"""`porch models`: who can answer here, and what would unlock more."""

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from porch.cli.invocation import as_invoked, common, current
from porch.cli.prose import Prose
from porch.cli.terminal import paint, plain

if TYPE_CHECKING:
    from porch.models.availability import Availability
    from porch.models.service import LocalModel

MOST_NAMES = 8


@click.command(epilog="Example: porch models --json")
@common(json=True)
def models() -> None:
    """The models that can be used from here, and what unlocks more.

    Keys are read from the environment under their usual names, as the server does when it starts.
    """
    import asyncio

    from porch.models.local.process import LocalModel as Bundled

    invocation = current()
    settings = invocation.settings()
    found = asyncio.run(look_around(Bundled(settings.data_dir) if settings.local_model else None))
    if invocation.json:
        print(json.dumps({"items": [asdict(item) for item in found]}, ensure_ascii=False))
        return
    prose = Prose(sys.stdout)
    for item in found:
        sign = paint("✓", "green", prose.file) if item.ready else paint("·", "dim", prose.file)
        prose.raw(f"{plain(sign, prose.file)} {item.label:<16} {as_invoked(item.note)}")
        for name in item.models[:MOST_NAMES]:
            prose.raw(f"  {paint(name, 'cyan', prose.file)}")
        if len(item.models) > MOST_NAMES:
            prose.raw(f"  and {len(item.models) - MOST_NAMES} more")


async def look_around(local: "LocalModel | None" = None) -> "list[Availability]":
    """Every provider, with what was found for it in this environment."""
    from porch.egress import Egress
    from porch.models.service import Models

    egress = Egress()
    await egress.open()
    try:
        return await Models(dict(os.environ), egress, local).available()
    finally:
        await egress.close()
