"""`porch quota`: how many tokens a workspace may use in a day or a month."""

import json
import sys
from typing import Any

import click

from porch.cli.attach import Link, reached
from porch.cli.given import read_limit
from porch.cli.invocation import common, current
from porch.cli.prose import Prose
from porch.cli.start import QuietStart
from porch.client.resources import in_workspace

OFF = "off"
Quota = dict[str, Any]


@click.group(epilog="Example: porch quota set 1000000 --period day")
def quota() -> None:
    """See and set how many tokens this workspace may use. Answers wait when they are used up."""


@quota.command(epilog="Example: porch quota show --json")
@common(json=True)
def show() -> None:
    """The quota, what was used of it, and how many answers wait for more."""
    with reached(current().resolve(), QuietStart()) as link:
        found = link.run(_read(link))
    _tell(found)


@quota.command("set", epilog="Example: porch quota set 1000000 --period day")
@click.argument("tokens", metavar="TOKENS|off")
@click.option(
    "--period", type=click.Choice(["day", "month"]), help="How long they last (UTC). As it is unless given."
)
@common(json=True)
def change(tokens: str, period: str | None) -> None:
    """Let this workspace use so many tokens in each period; `off` takes the limit away."""
    most = read_limit(tokens, of="tokens", example=1_000_000, none=OFF)
    with reached(current().resolve(), QuietStart()) as link:
        found = link.run(_write(link, most, period))
    _tell(found)


async def _read(link: Link) -> Quota:
    return await link.client.connection.send("GET", _path(link))


async def _write(link: Link, tokens: int | None, period: str | None) -> Quota:
    body = {"tokens": tokens, "period": period or (await _read(link))["period"]}
    return await link.client.connection.send("PUT", _path(link), body=body)


def _path(link: Link) -> str:
    return f"{in_workspace(link.server.workspace)}/quota"


def _tell(found: Quota) -> None:
    if current().json:
        print(json.dumps(found))
        return
    prose = Prose(sys.stdout)
    prose.line(_sentence(found))
    if found["waiting"]:
        prose.line(f"{found['waiting']:,} answer{'s wait' if found['waiting'] > 1 else ' waits'} for more.")


def _sentence(found: Quota) -> str:
    used, period = f"{found['used']:,}", found["period"]
    if found["tokens"] is None:
        return f"No quota: this {period}, {used} tokens were used."
    until = found["resets_at"][:16].replace("T", " ")
    return f"{used} of {found['tokens']:,} tokens of this {period} are used; the next begins at {until} UTC."
