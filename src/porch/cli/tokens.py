"""`porch tokens`: keys for programs, each with what it may do and until when."""

import json
import re
import sys
from typing import Any

import click

from porch.cli.attach import Link, reached
from porch.cli.invocation import common, current, program
from porch.cli.prose import Prose
from porch.cli.start import QuietStart
from porch.cli.tables import print_table
from porch.cli.terminal import is_terminal, paint

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
SCOPES = ("run:agents", "read:agents", "read:conversations", "write:conversations")
OF_AGENT = ("run:agents", "read:conversations")


class Duration(click.ParamType[int]):
    """`12h`, `30d`, or seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """In seconds."""
        match = re.fullmatch(r"(\d{1,9})([smhdw]?)", str(value))
        if not match:
            self.fail(f"{value!r} is no duration; write 12h, 30d or 4w.", param, ctx)
        return int(match[1]) * UNITS[match[2] or "s"]


@click.group(epilog="Example: porch tokens create nightly --scope run:agents --expires-in 30d")
def tokens() -> None:
    """List, make and revoke tokens for programs."""


@tokens.command("list", epilog="Example: porch tokens list --json")
@common(json=True)
def list_tokens() -> None:
    """The workspace's tokens; the secrets themselves are shown once, when they are made."""
    invocation = current()
    with reached(invocation.resolve(), QuietStart()) as link:
        found = link.run(_collect(link))
    if invocation.json:
        print(json.dumps({"items": found}, ensure_ascii=False))
        return
    if not is_terminal(sys.stdout):
        print_table((), [_row(token) for token in found], empty="")
        return
    prose = Prose(sys.stdout)
    for token in found:
        name, number, begins, scopes, ends, used = _row(token)
        prose.line(name, "bold")
        prose.line(f"{begins}…, ends {ends}, last used {used}", "dim")
        prose.line(scopes, "dim")
        prose.raw(paint(number, "cyan", prose.file))
        prose.line()


@tokens.command(epilog="Example: porch tokens create nightly --scope run:agents --expires-in 30d")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, metavar="VERB:KIND", help="What it may do; give it again for more."
)
@click.option("--expires-in", type=Duration(), metavar="TIME", help="12h, 30d, 4w… (90 days).")
@click.option(
    "--only", "only", multiple=True, metavar="AGENT", help="Only this agent; give it again for more."
)
@click.option("--agent", metavar="AGENT", help="A token of this agent itself, in place of yours.")
@click.option("--levels", type=click.IntRange(0, 4), help="Levels of tokens that it may make below itself.")
@common(json=True)
def create(
    name: str,
    scopes: tuple[str, ...],
    expires_in: int | None,
    only: tuple[str, ...],
    agent: str | None,
    levels: int | None,
) -> None:
    """Make a token and print it, this once. Without --scope it may talk to agents and read along."""
    invocation = current()
    with reached(invocation.resolve(), QuietStart()) as link:
        made = link.run(
            link.client.tokens.create(
                link.server.workspace,
                name,
                list(scopes or (OF_AGENT if agent else SCOPES)),
                expires_in,
                agents=list(only) or None,
                agent=agent,
                levels=levels,
            )
        )
    _show(made)


@tokens.command(epilog="Example: porch tokens rotate tok_0199… --overlap 1d")
@click.argument("token", metavar="ID")
@click.option("--overlap", type=Duration(), default=0, metavar="TIME", help="How long the old one goes on.")
@common(json=True)
def rotate(token: str, overlap: int) -> None:
    """Make a token's successor and print it, this once. What the old one made ends with it."""
    with reached(current().resolve(), QuietStart()) as link:
        made = link.run(link.client.tokens.rotate(link.server.workspace, token, overlap))
    _show(made)


def _show(made: dict[str, Any]) -> None:
    invocation = current()
    if invocation.json:
        print(json.dumps(made, ensure_ascii=False))
        return
    aside = Prose(sys.stderr)
    if made["token"] is None:
        aside.line(
            "The token was made, but the answer was lost, and it is shown only once. Revoke it:", "yellow"
        )
        aside.raw(f"{program()} tokens revoke{invocation.options} {made['id']}")
        raise click.exceptions.Exit(1)
    aside.line(
        f"{made['name']}: {', '.join(made['scopes'])}; until {_day(made['expires_at'])}. Shown this once:",
        "dim",
    )
    print(made["token"])


@tokens.command(epilog="Example: porch tokens revoke tok_0199…")
@click.argument("token", metavar="ID")
@common()
def revoke(token: str) -> None:
    """Make a token worthless, at once."""
    with reached(current().resolve(), QuietStart()) as link:
        link.run(link.client.tokens.revoke(link.server.workspace, token))
    Prose(sys.stdout).line(f"{token} is revoked.")


async def _collect(link: Link) -> list[dict[str, Any]]:
    return [token async for token in link.client.tokens.list(link.server.workspace)]


def _row(token: dict[str, Any]) -> tuple[str, ...]:
    ends = "revoked" if token["revoked_at"] else _day(token["expires_at"])
    used = _day(token["last_used_at"]) if token["last_used_at"] else "never"
    if token["last_used_from"]:
        used += f" from {token['last_used_from']}"
    if token["replaced_by"]:
        ends += " (rotated)"
    return token["name"], token["id"], token["prefix"], " ".join(token["scopes"]), ends, used


def _day(time: str | None) -> str:
    return time[:10] if time else "never"
