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
    from pathlib import Path

    from porch.models.availability import Availability
    from porch.models.service import LocalModel

MOST_NAMES = 8


@click.command(epilog="Example: porch models --json")
@common(json=True)
def models() -> None:
    """The models that can be used from here, and what unlocks more.

    Keys are those given on the Models page, and those in the environment under their usual names.
    """
    import asyncio

    from porch.models.local.process import LocalModel as Bundled

    invocation = current()
    settings = invocation.settings()
    local = Bundled(settings.data_dir) if settings.local_model else None
    found = asyncio.run(look_around(local, settings.data_dir))
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


async def look_around(
    local: "LocalModel | None" = None, data_dir: "Path | None" = None
) -> "list[Availability]":
    """Every provider, with what was found for it in this environment and among the keys in `data_dir`."""
    from porch.egress import Egress
    from porch.models.keys import ModelKeys
    from porch.models.service import Models

    egress = Egress()
    await egress.open()
    try:
        keys = ModelKeys(data_dir) if data_dir else None
        return await Models(dict(os.environ), egress, local, keys).available()
    finally:
        await egress.close()
