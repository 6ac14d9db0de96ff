"""`porch hello`: everything started, one question, its answer as it comes, and what to do next."""

import sys

import click

from porch.cli.attach import reached
from porch.cli.chain import Chain, model_option
from porch.cli.invocation import INTERRUPTED, common, current
from porch.cli.prose import Prose
from porch.cli.start import Start
from porch.cli.terminal import is_terminal, speak_safely

QUESTION = "Why do people like to sit on a porch?"


@click.command(epilog='Example: porch hello --once "What is a porch?"')
@click.option("--once", metavar="QUESTION", help="Print the answer alone to stdout, and leave.")
@model_option("Who answers, such as openai:gpt-6-luna; given again: who is asked next.")
@common(json=True)
def hello(once: str | None, model: Chain | None) -> None:
    """Start everything, ask a question, and watch the answer come.

    Needs no key and no account: a small model is bundled. What was started is stopped at the end.
    """
    invocation = current()
    speak_safely()
    if once is not None and not once.strip():
        raise click.UsageError("The question is empty; say something.")
    resolved = invocation.resolve()
    alone = once is not None or invocation.json
    aside = Prose(sys.stderr if alone else sys.stdout)
    start = Start(aside.file)
    with reached(resolved, start) as link:
        from porch.cli.story import Story

        story = Story(invocation, link, aside, start)
        story.prepare(model, resolved.settings.default_model)
        outcome = story.ask(once or QUESTION, Prose(sys.stdout, margin=0) if alone else aside)
        if outcome.status == "finished" and not alone:
            story.tell_what_next()
            if is_terminal(sys.stdin) and is_terminal(sys.stdout):
                story.talk_on()
        elif invocation.json:
            story.print_json(outcome)
    if outcome.status in ("cancelled", "open"):
        raise click.exceptions.Exit(INTERRUPTED)
    if outcome.status != "finished":
        raise click.exceptions.Exit(1)
