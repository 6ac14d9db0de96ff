"""`porch agents`: what there is, what it says, what is published."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from porch.cli.attach import Link, reached
from porch.cli.chain import Chain, model_option, spell_chain
from porch.cli.chat import split_address
from porch.cli.given import read_file
from porch.cli.invocation import as_invoked, common, current, program
from porch.cli.prose import Prose
from porch.cli.start import QuietStart
from porch.cli.tables import print_table
from porch.cli.terminal import is_terminal, neutral
from porch.contract.errors import InvalidInput


@click.group(epilog="Example: porch agents list")
def agents() -> None:
    """List, show, edit, publish and delete agents."""


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
        (
            a["agent"],
            spell_chain(a["definition"]["model"]),
            a["latest_version"] or "draft",
            a["definition"].get("title"),
        )
        for a in found
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


@agents.command(epilog='Example: porch agents edit @home/hello --instructions "Answer in one sentence."')
@click.argument("agent", metavar="AGENT")
@click.option("--instructions", metavar="TEXT", help="What the agent is told before every conversation.")
@click.option("--instructions-file", type=Path, metavar="FILE", help="The same from a file; - is stdin.")
@model_option()
@click.option("--title", metavar="TEXT", help="The name that people read.")
@common(json=True)
def edit(
    agent: str,
    instructions: str | None,
    instructions_file: Path | None,
    model: Chain | None,
    title: str | None,
) -> None:
    """Change an agent's draft: by options, or without any in your editor, as JSON."""
    invocation = current()
    if instructions_file and instructions is not None:
        raise click.UsageError("Give --instructions or --instructions-file, not both.")
    if instructions_file:
        instructions = read_file(instructions_file, "The file of instructions")
    given = {"instructions": instructions, "model": model, "title": title}
    patch = {key: value for key, value in given.items() if value is not None}
    if not patch and not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        raise click.UsageError("Say what to change: --instructions, --instructions-file, --model or --title.")
    with reached(invocation.resolve(), QuietStart()) as link:
        workspace, name = split_address(agent, link.server.workspace)
        if patch:
            changed = link.run(link.client.agents.change(workspace, name, patch))
        else:
            changed = _edit_by_hand(link, workspace, name)
    if invocation.json:
        print(json.dumps(changed, ensure_ascii=False))
        return
    prose = Prose(sys.stdout)
    prose.line(f"{changed['agent']} is changed." if changed else "Nothing is changed.")
    if changed and changed["latest_version"]:
        prose.line(f"Version {changed['latest_version']} answers until you publish the draft:", "dim")
        prose.raw(f"{program()} agents publish{invocation.options} {changed['agent']}")
    tell_warnings(changed or {}, prose)


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


def _edit_by_hand(link: Link, workspace: str, name: str) -> dict[str, Any] | None:
    """The agent as it came out of the editor, None when it was left as it was.

    What cannot be taken is told and may be edited again.
    """
    from porch.client import ApiError

    definition = link.run(link.client.agents.get(workspace, name))["definition"]
    text = json.dumps(definition, ensure_ascii=False, indent=2) + "\n"
    while (text := click.edit(text, extension=".json") or "").strip():
        try:
            return link.run(link.client.agents.update(workspace, name, _decode(text)))
        except (ApiError, InvalidInput) as error:
            Prose(sys.stderr).line(as_invoked(error.message), "red")
            if not click.confirm("Edit it again?", default=True, err=True):
                return None
    return None


def _decode(text: str) -> dict[str, Any]:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"This is not JSON: {error}.") from error


async def _collect(link: Link) -> list[dict[str, Any]]:
    return [agent async for agent in link.client.agents.list(link.server.workspace)]
