"""`porch agents`: what there is, what it says, what is published."""

import json
import sys
from typing import Any

import click

from porch.cli.attach import Link, reached
from porch.cli.chat import split_address
from porch.cli.invocation import common, current, program
from porch.cli.prose import Prose
from porch.cli.start import QuietStart
from porch.cli.tables import print_table
from porch.cli.terminal import neutral


@click.group(epilog="Example: porch agents list")
def agents() -> None:
    """List, show, publish and delete agents."""


@agents.command("list", epilog="Example: porch agents list --json")
@common(json=True)
def list_agents() -> None:
    """The agents of your workspace, newest first."""
    invocation = current()
    with reached(invocation.resolve(), QuietStart()) as link:
        found = link.run(_collect(link))
    if invocation.json:
        print(json.dumps({"items": found}, ensure_ascii=False))
        return
    rows = [
        (a["agent"], _models(a), a["latest_version"] or "draft", a["definition"].get("title")) for a in found
    ]
    print_table(
        ("agent", "model", "version", "title"),
        rows,
        empty=f"No agents yet; make one: {program()} new my-agent",
    )


@agents.command(epilog="Example: porch agents show @home/hello")
@click.argument("agent", metavar="AGENT")
@common(json=True)
def show(agent: str) -> None:
    """One agent's definition."""
    invocation = current()
    with reached(invocation.resolve(), QuietStart()) as link:
        workspace, name = split_address(agent, link.server.workspace)
        found = link.run(link.client.agents.get(workspace, name))
    if invocation.json:
        print(json.dumps(found, ensure_ascii=False))
        return
    prose = Prose(sys.stdout)
    prose.line(found["agent"], "bold")
    prose.line(
        f"version {found['latest_version']}" if found["latest_version"] else "a draft, not published", "dim"
    )
    for key, value in found["definition"].items():
        prose.line()
        prose.line(key, "dim")
        prose.line(neutral(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))


@agents.command(epilog="Example: porch agents publish @home/hello")
@click.argument("agent", metavar="AGENT")
@common(json=True)
def publish(agent: str) -> None:
    """Freeze the draft as the next version, which answers from then on."""
    invocation = current()
    with reached(invocation.resolve(), QuietStart()) as link:
        workspace, name = split_address(agent, link.server.workspace)
        found = link.run(link.client.agents.publish(workspace, name))
    if invocation.json:
        print(json.dumps(found, ensure_ascii=False))
        return
    prose = Prose(sys.stdout)
    prose.line(f"{found['agent']} is at version {found['number']}.")
    tell_warnings(found, prose)


@agents.command(epilog="Example: porch agents delete @home/hello --yes")
@click.argument("agent", metavar="AGENT")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common()
def delete(agent: str, yes: bool) -> None:
    """Delete an agent with its conversations."""
    if not yes:
        click.confirm(f"Delete {agent} with its conversations?", abort=True, err=True)
    with reached(current().resolve(), QuietStart()) as link:
        workspace, name = split_address(agent, link.server.workspace)
        link.run(link.client.agents.delete(workspace, name))
    Prose(sys.stdout).line(f"@{workspace}/{name} is deleted.")


def tell_warnings(written: dict[str, Any], prose: Prose) -> None:
    """What the server says about a definition that it took all the same."""
    for warning in written.get("warnings", ()):
        prose.line(warning, "yellow")


async def _collect(link: Link) -> list[dict[str, Any]]:
    return [agent async for agent in link.client.agents.list(link.server.workspace)]


def _models(agent: dict[str, Any]) -> str:
    model: str | list[str] = agent["definition"]["model"]
    return model if isinstance(model, str) else ", ".join(model)
