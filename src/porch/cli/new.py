"""`porch new`: an agent of one's own, from a template."""

import json
import sys

import click
import msgspec

from porch.agents.templates import DEFAULT, find_template, templates
from porch.cli.agents import tell_warnings
from porch.cli.attach import reached
from porch.cli.chain import Chain, model_option, spell_chain
from porch.cli.invocation import common, current, program
from porch.cli.prose import Prose
from porch.cli.start import QuietStart
from porch.contract.errors import Conflict


@click.command(epilog="Example: porch new helper --template assistant --model openai:gpt-5-mini")
@click.argument("name")
@click.option("--template", type=click.Choice(list(templates())), default=DEFAULT, show_default=True)
@model_option()
@click.option("--instructions", metavar="TEXT", help="What it is told before every conversation.")
@common(json=True)
def new(name: str, template: str, model: Chain | None, instructions: str | None) -> None:
    """Make an agent in your workspace: a draft, which you can talk to at once."""
    invocation = current()
    resolved = invocation.resolve()
    definition = find_template(template).named(name, model, resolved.settings.default_model)
    wanted = msgspec.to_builtins(definition)
    if instructions is not None:
        wanted["instructions"] = instructions
        # They were to try the template's instructions with.
        wanted.pop("questions", None)
    with reached(resolved, QuietStart()) as link:
        from porch.client import ApiError

        try:
            made = link.run(link.client.agents.create(link.server.workspace, wanted))
        except ApiError as error:
            if error.status == Conflict.status:
                raise Conflict(
                    f"{error.message} Change it with: {program()} agents edit{invocation.options} {name}"
                ) from error
            raise
    if invocation.json:
        print(json.dumps(made, ensure_ascii=False))
        return
    prose = Prose(sys.stdout)
    prose.line(f"{made['agent']} is made, with {spell_chain(definition.model)}.")
    tell_warnings(made, prose)
    from porch.cli.commands import tell_commands

    options = invocation.options
    tell_commands(
        prose,
        [
            (f"{program()} chat{options} {made['agent']}", "talk to it"),
            (f"{program()} agents edit{options} {made['agent']}", "change what it is told, or its model"),
            (f"{program()} agents show{options} {made['agent']}", "see its definition"),
            (f"{program()} agents publish{options} {made['agent']}", "freeze a version of it"),
        ],
    )
