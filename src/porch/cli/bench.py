"""`porch bench`: this installation's own figures, measured through the whole way from client to model and back."""

import json
import statistics
import sys
from dataclasses import asdict, dataclass

import click

from porch.agents.templates import BUNDLED
from porch.cli.attach import Link, reached
from porch.cli.invocation import common, current
from porch.cli.prose import Prose
from porch.cli.start import QuietStart
from porch.cli.tables import print_table
from porch.client import AsyncPorch
from porch.contract.errors import PorchError, Unavailable
from porch.contract.events import RunFailed, RunFinished
from porch.contract.ids import new_id

SCRIPTED = "scripted:fast"
QUESTIONS = {SCRIPTED: "[[tokens 256]]"}
QUESTION = "Why do people like to sit on a porch?"


@dataclass(frozen=True)
class Round:
    """One answer: seconds, and tokens as the model counted them."""

    first_token_seconds: float
    end_to_end_seconds: float
    tokens: int
    tokens_per_second: float | None


@click.command(epilog="Example: porch bench --rounds 10 --json")
@click.option(
    "--rounds", type=click.IntRange(1, 1000), default=5, show_default=True, help="Answers to measure."
)
@click.option(
    "--model", "models", multiple=True, metavar="PROVIDER:MODEL", help="Measure this one; may repeat."
)
@common(json=True)
def bench(rounds: int, models: tuple[str, ...]) -> None:
    """Measure time to first token, tokens per second and end to end, over HTTP and the database.

    Without --model: the scripted model, which answers at once and so shows Porch's own share, and the bundled
    one. Each model answers once before it is measured.
    """
    invocation = current()
    aside = Prose(sys.stderr)
    measured: dict[str, list[Round]] = {}
    with reached(invocation.resolve(), QuietStart()) as link:
        for model in models or (SCRIPTED, BUNDLED):
            aside.wait(f"Measuring {model} …")
            try:
                measured[model] = link.run(_measure(link, model, rounds))
            except PorchError as error:
                if models:
                    raise
                aside.line(f"{model} is left out: {error.message}", "yellow")
            aside.rest()
    if invocation.json:
        found = [
            {"model": model, "rounds": [asdict(one) for one in all_]} for model, all_ in measured.items()
        ]
        print(json.dumps({"items": found}))
        return
    columns = ("model", "first token p50", "worst", "tokens/s", "end to end p50", "rounds")
    print_table(
        columns, [_row(model, all_) for model, all_ in measured.items()], empty="Nothing was measured."
    )


async def _measure(link: Link, model: str, rounds: int) -> list[Round]:
    client, workspace = link.client, link.server.workspace
    name = "bench-" + new_id("agt")[-12:]
    definition = {
        "name": name,
        "instructions": "You are a helpful assistant. Answer briefly.",
        "model": model,
    }
    await client.agents.create(workspace, definition)
    try:
        await _ask(client, workspace, name, model)
        return [await _ask(client, workspace, name, model) for _ in range(rounds)]
    finally:
        await client.agents.delete(workspace, name)


async def _ask(client: AsyncPorch, workspace: str, agent: str, model: str) -> Round:
    conversation = await client.conversations.create(workspace, agent)
    stream = client.stream(conversation["id"], QUESTIONS.get(model, QUESTION))
    tokens = 0
    async for item in stream:
        if isinstance(item, RunFailed):
            raise Unavailable(item.error.message)
        if isinstance(item, RunFinished):
            tokens = item.usage.output_tokens if item.usage else 0
    timings = stream.timings
    first, whole = timings.to_first_text, timings.end_to_end
    if first is None or whole is None:
        raise Unavailable(f"{model} gave no answer to measure.")
    return Round(first, whole, tokens, timings.tokens_per_second)


def _row(model: str, rounds: list[Round]) -> tuple[object, ...]:
    firsts = [one.first_token_seconds for one in rounds]
    paces = [one.tokens_per_second for one in rounds if one.tokens_per_second]
    return (
        model,
        _ms(statistics.median(firsts)),
        _ms(max(firsts)),
        f"{statistics.median(paces):,.0f}" if paces else "",
        _ms(statistics.median(one.end_to_end_seconds for one in rounds)),
        len(rounds),
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"
