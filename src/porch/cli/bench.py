"""`porch bench`: this installation's own figures, measured through the whole way from client to model and back."""

import asyncio
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from porch.agents.templates import BUNDLED
from porch.cli.attach import Link, reached
from porch.cli.baseline import (
    Baseline,
    Comparison,
    Figures,
    compare,
    read_baseline,
    this_machine,
    write_baseline,
)
from porch.cli.invocation import common, current
from porch.cli.prose import Prose
from porch.cli.start import QuietStart
from porch.cli.tables import print_table
from porch.client import AsyncPorch
from porch.contract.errors import PorchError, Unavailable
from porch.contract.events import RunFailed, RunFinished
from porch.contract.ids import new_id

if TYPE_CHECKING:
    from porch.cli.walls import Cost

SCRIPTED = "scripted:fast"
QUESTIONS = {SCRIPTED: "[[tokens 256]]"}
FILE = click.Path(dir_okay=False, path_type=Path)
QUESTION = "Why do people like to sit on a porch?"


@dataclass(frozen=True)
class Round:
    """One answer: seconds, and tokens as the model counted them."""

    first_token_seconds: float
    end_to_end_seconds: float
    tokens: int
    tokens_per_second: float | None


@click.command(epilog="Example: porch bench --save before.json, and later: porch bench --compare before.json")
@click.option(
    "--rounds", type=click.IntRange(1, 1000), default=5, show_default=True, help="Answers to measure."
)
@click.option(
    "--model", "models", multiple=True, metavar="PROVIDER:MODEL", help="Measure this one; may repeat."
)
@click.option("--save", type=FILE, metavar="FILE", help="Keep the figures in a file.")
@click.option("--compare", "before", type=FILE, metavar="FILE", help="Set them against those of a file.")
@click.option(
    "--at-most",
    type=click.FloatRange(min=0, min_open=True),
    metavar="RATIO",
    help="With --compare: fail where the first token takes more than so many times as long.",
)
@click.option("--walls", is_flag=True, help="Measure what credentials and the wall between workspaces cost.")
@click.option(
    "--size",
    type=(click.IntRange(1, 100_000), click.IntRange(1, 100_000_000)),
    metavar="WORKSPACES MESSAGES",
    help="With --walls: so many, instead of 1000 and 1000000.",
)
@common(json=True)
def bench(
    rounds: int,
    models: tuple[str, ...],
    save: Path | None,
    before: Path | None,
    at_most: float | None,
    walls: bool,
    size: tuple[int, int] | None,
) -> None:
    """Measure time to first token, tokens per second and end to end, over HTTP and the database.

    Without --model: the scripted model, which answers at once and so shows Porch's own share, and the bundled
    one. Each model answers once before it is measured. Machines differ, and so does their load: figures of two
    files tell something of Porch when they come from one machine that did nothing else.

    With --walls: what it adds to a request to find out who asks and what they may, and what row-level security
    adds to the queries that are asked most. In a database of its own, which takes about a minute and 2 GB of disk.
    """
    if at_most is not None and before is None:
        raise click.UsageError("--at-most needs --compare FILE.")
    if (walls or size) and (models or save or before or not walls):
        raise click.UsageError("--walls goes with --size alone, and --size with --walls.")
    if walls:
        _bench_walls(*(size or (1000, 1_000_000)))
    else:
        _bench_models(models or (SCRIPTED, BUNDLED), bool(models), rounds, save, before, at_most)


def _bench_models(
    models: tuple[str, ...],
    named: bool,
    rounds: int,
    save: Path | None,
    before: Path | None,
    at_most: float | None,
) -> None:
    invocation = current()
    old = read_baseline(before) if before else None
    aside = Prose(sys.stderr)
    measured: dict[str, list[Round]] = {}
    with reached(invocation.resolve(), QuietStart()) as link:
        for model in models:
            aside.wait(f"Measuring {model} …")
            try:
                measured[model] = link.run(_measure(link, model, rounds))
            except PorchError as error:
                if named:
                    raise
                aside.line(f"{model} is left out: {error.message}", "yellow")
            aside.rest()
    now = Baseline([_sum_up(model, all_) for model, all_ in measured.items()], this_machine())
    compared = compare(old, now.items) if old else []
    if save:
        write_baseline(save, now)
        aside.line(f"The figures are in {str(save)!r}.")
    if invocation.json:
        _print_json(measured, now, compared)
    else:
        _print_tables(now, old, compared)
    if old:
        _check_known({figures.model for figures in now.items} - {one.model for one in compared}, at_most)
    slower = [one.model for one in compared if at_most is not None and one.first_token > at_most]
    if slower:
        raise Unavailable(
            f"The first token of {', '.join(slower)} takes more than {at_most:g} times as long."
        )


def _bench_walls(workspaces: int, messages: int) -> None:
    # It brings the web's libraries along, which no other figure needs.
    from porch.cli.walls import TIMES, measure_walls

    aside = Prose(sys.stderr)
    found = asyncio.run(measure_walls(workspaces, messages, aside.wait))
    aside.rest()
    if current().json:
        print(msgspec.json.encode(found).decode())
        return
    aside.line(
        f"{found.workspaces:,} workspaces, {found.messages:,} messages; milliseconds, the median of "
        f"{TIMES:,} each way, in turns."
    )
    columns = ("a request with a", "anybody", "checked", "added")
    print_table(columns, [_cost(one)[:4] for one in found.credentials], empty="", headed=True)
    columns = ("a transaction that reads or makes", "no wall", "walled", "added", "ratio")
    print_table(columns, [_cost(one) for one in found.queries], empty="", headed=True)
    read = f"read {', '.join(found.scanned)} whole" if found.scanned else "no table was read whole"
    aside.line(f"The plans: {read}.", "yellow" if found.scanned else "")


def _cost(one: "Cost") -> tuple[str, ...]:
    return one.name, *(f"{ms:.3f}" for ms in (one.without, one.with_it, one.added)), f"{one.ratio:.2f}"


def _check_known(unknown: set[str], at_most: float | None) -> None:
    """Say of which models the file has no figures: what is not compared is not within a bound either."""
    if not unknown:
        return
    names = ", ".join(sorted(unknown))
    sentence = (
        f"The file has no figures of {names}, so there is nothing to compare. Measure and --save them first."
    )
    if at_most is not None:
        raise Unavailable(sentence)
    Prose(sys.stderr).line(sentence, "yellow")


def _print_json(measured: dict[str, list[Round]], now: Baseline, compared: list[Comparison]) -> None:
    found = [{"model": model, "rounds": [asdict(one) for one in all_]} for model, all_ in measured.items()]
    told = {"items": found, "machine": now.machine, "version": now.version, "compared": compared}
    print(msgspec.json.encode(told).decode())


def _print_tables(now: Baseline, old: Baseline | None, compared: list[Comparison]) -> None:
    columns = ("model", "first token p50", "worst", "tokens/s", "end to end p50", "rounds")
    rows = [_row(one) for one in now.items]
    print_table(columns, rows, empty="Nothing was measured.", headed=old is not None)
    if old is None:
        return
    aside = Prose(sys.stderr)
    aside.line(f"Before: Porch {old.version}, {old.at:%Y-%m-%d}, {old.machine.sentence}")
    if old.machine != now.machine:
        aside.line("That was another machine, or another Python: the ratios tell little.", "yellow")
    columns = ("model", "first token, ratio", "end to end, ratio", "tokens/s, ratio")
    rows = [
        (one.model, _ratio(one.first_token), _ratio(one.end_to_end), _ratio(one.tokens_per_second))
        for one in compared
    ]
    print_table(columns, rows, empty="The file has figures of none of these models.", headed=True)


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


def _sum_up(model: str, rounds: list[Round]) -> Figures:
    firsts = [one.first_token_seconds for one in rounds]
    paces = [one.tokens_per_second for one in rounds if one.tokens_per_second]
    return Figures(
        model=model,
        rounds=len(rounds),
        first_token_p50=statistics.median(firsts),
        first_token_worst=max(firsts),
        end_to_end_p50=statistics.median(one.end_to_end_seconds for one in rounds),
        tokens_per_second_p50=statistics.median(paces) if paces else None,
    )


def _row(figures: Figures) -> tuple[object, ...]:
    pace = figures.tokens_per_second_p50
    return (
        figures.model,
        _ms(figures.first_token_p50),
        _ms(figures.first_token_worst),
        f"{pace:,.0f}" if pace else "",
        _ms(figures.end_to_end_p50),
        figures.rounds,
    )


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f} ×"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"
