"""`porch doctor`: what is wrong here, and the command that mends it."""

import asyncio
import json
import shutil
import sys
from dataclasses import asdict, replace

import click

from porch.cli.checks import Check, State, examine
from porch.cli.invocation import Invocation, as_invoked, common, current
from porch.cli.prose import Prose
from porch.cli.terminal import paint, plain, speak_safely

SIGNS: dict[State, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "wrong": ("✗", "red"),
}
LABEL_WIDTH = 13
WIDE = 64


@click.command(epilog="Example: porch doctor --json")
@common(json=True)
def doctor() -> None:
    """Look at Python, settings, data folder, disk, port, server, database, models and keys.

    Works with a server running and without. Exits with 1 when something is wrong; warnings are no errors.
    """
    invocation = current()
    speak_safely()
    checks = asyncio.run(_examine(invocation))
    well = all(check.state != "wrong" for check in checks)
    if invocation.json:
        print(json.dumps({"ok": well, "checks": [asdict(check) for check in checks]}, ensure_ascii=False))
    else:
        _tell(checks, well=well)
    if not well:
        raise click.exceptions.Exit(1)


async def _examine(invocation: Invocation) -> list[Check]:
    return [
        replace(check, found=as_invoked(check.found), mend=as_invoked(check.mend))
        async for check in examine(invocation)
    ]


def _tell(checks: list[Check], *, well: bool) -> None:
    prose = Prose(sys.stdout)
    wide = not prose.terminal or shutil.get_terminal_size().columns >= WIDE
    prose.line()
    width = max(LABEL_WIDTH, *(len(check.name) + 1 for check in checks))
    for check in checks:
        sign, colour = SIGNS[check.state]
        mark = paint(plain(sign, prose.file), colour, prose.file)
        if wide:
            prose.hanging(f"{mark} {check.name:<{width}}", width + 2, check.found)
        else:
            prose.raw(f"{mark} {check.name}")
            prose.hanging("  ", 2, check.found, "dim")
        if check.mend:
            indent = width + 2 if wide else 2
            prose.hanging(" " * indent, indent, f"→ {check.mend}", "cyan")
    prose.line()
    warned = any(check.state == "warning" for check in checks)
    prose.line(
        "Something is wrong."
        if not well
        else "It works; look at what is marked with !."
        if warned
        else "All is well.",
        "bold",
    )
