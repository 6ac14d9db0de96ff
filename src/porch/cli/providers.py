"""`porch providers test`: one short answer from each provider that is set up, with its times and its cost."""

import json
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
import msgspec

from porch.cli.invocation import as_invoked, common, current, program
from porch.cli.prose import Prose
from porch.cli.terminal import paint, plain
from porch.contract.errors import InvalidInput, ModelError, PorchError

if TYPE_CHECKING:
    from porch.contract.events import Usage
    from porch.models import Availability, Models, Trial

NAMED_ONLY = frozenset({"local", "scripted"})


@dataclass(slots=True)
class Result:
    """What came of asking one provider: a trial, or the error that kept it from answering."""

    provider: str
    model: str | None
    text: str = ""
    trial: "Trial | None" = None
    error: PorchError | None = None


@click.group(epilog="Example: porch providers test")
def providers() -> None:
    """The providers of models that are set up here."""


@providers.command("test", epilog="Example: porch providers test openai anthropic:claude-haiku-4-5")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@common(json=True)
@click.pass_context
def check_providers(context: click.Context, names: tuple[str, ...]) -> None:
    """Ask each provider that is set up for one short answer: does its key work, how soon does it speak?

    Asked without a NAME is whoever has a key or an address, and an Ollama that runs. Left out are Porch's own models
    (local, scripted), and openai-responses where OPENAI_BASE_URL leads to another server.

    NAME is a provider, or a whole model name. The answers cost what such a question costs, a fraction of a cent.
    """
    import asyncio

    invocation = current()
    settings = invocation.settings()
    results, left_out = asyncio.run(_ask_all(names, settings, quiet=invocation.json))
    if invocation.json:
        items = [_plain(result) for result in results]
        print(json.dumps({"items": items, "left_out": left_out}, ensure_ascii=False))
    elif left_out:
        _tell_left_out(left_out)
    if any(result.error for result in results):
        context.exit(1)


async def _ask_all(
    names: Sequence[str], settings: Any, *, quiet: bool
) -> tuple[list[Result], dict[str, str]]:
    """What came of each, and the providers that were not asked although they are ready, with why."""
    from porch.cli.models import OWN, opened
    from porch.egress import EgressSettings
    from porch.models.local.process import LocalModel

    prose = None if quiet else Prose(sys.stdout)
    local = LocalModel(settings.data_dir) if settings.local_model and _wants_local(names) else None
    try:
        async with opened(local, settings.data_dir, EgressSettings.read(settings)) as models:
            found = await models.available(OWN, seconds=3)
            results = [await _ask(models, result, prose) for result in _choose(names, found)]
            return results, {} if names else _left_out(found)
    finally:
        if local is not None:
            await local.stop()


def _wants_local(names: Sequence[str]) -> bool:
    return any(name.partition(":")[0] == "local" for name in names)


def _choose(names: Sequence[str], found: "Sequence[Availability]") -> list[Result]:
    """Whom to ask for what. Raises InvalidInput for a name of nobody, and where there is nobody to ask."""
    by_name = {item.provider: item for item in found}
    for name in names:
        if name.partition(":")[0] not in by_name:
            raise InvalidInput(f"There is no provider {name[:60]!r}. These are: {', '.join(by_name)}.")
    given = names or [item.provider for item in found if _is_set_up(item)]
    if not given:
        raise InvalidInput(f"No provider is set up here; {program()} models says what unlocks them.")
    chosen = [_first_model(name, by_name[name.partition(":")[0]]) for name in given]
    return list({(result.provider, result.model): result for result in chosen}.values())


def _is_set_up(found: "Availability") -> bool:
    """Whether to ask a provider that nobody named: each that somebody has given a key or an address."""
    if found.provider == "ollama":
        # One that is not there was not set up.
        return found.ready
    return not found.unset and not _is_lent(found) and found.provider not in NAMED_ONLY


def _is_lent(found: "Availability") -> bool:
    """Whether another server stands in OpenAI's place: few of them have its other dialect too."""
    from porch.models.places import PLACES

    place = PLACES.get(found.provider)
    return place is not None and place.keeper != "" and found.elsewhere


def _left_out(found: "Sequence[Availability]") -> dict[str, str]:
    # Whether `local` is there is not looked at here; its own test will say.
    own = {item.provider: "comes with Porch" for item in found if item.provider in NAMED_ONLY}
    return own | {
        item.provider: "another server stands there, and few of them speak Responses"
        for item in found
        if _is_lent(item) and item.state != "not set up"
    }


def _tell_left_out(left_out: dict[str, str]) -> None:
    said = "; ".join(f"{provider} ({why})" for provider, why in left_out.items())
    prose = Prose(sys.stdout)
    prose.line(f"Asked only by name: {said}.", "dim")


def _first_model(name: str, found: "Availability") -> Result:
    from porch.models.offers import choice
    from porch.models.places import try_first

    if ":" in name:
        return Result(found.provider, name)
    names = choice(found)
    first = "" if found.elsewhere else try_first(name)
    model = first or (names[0] if names else None)
    if model:
        return Result(name, model)
    note = found.note.removesuffix(".")
    missing = f"Which of its models? Write {program()} providers test {name}:MODEL. {found.label}: {note}"
    said = missing if found.ready else f"{found.label} is not ready: {note}"
    return Result(name, None, error=InvalidInput(f"{as_invoked(said)}."))


async def _ask(models: "Models", result: Result, prose: Prose | None) -> Result:
    from porch.cli.models import OWN
    from porch.models import Trial

    if prose:
        prose.line(result.model or result.provider, "bold")
    if result.model and not result.error:
        try:
            async with aclosing(models.trial(result.model, OWN)) as items:
                async for item in items:
                    if isinstance(item, Trial):
                        result.trial = item
                        continue
                    result.text += item
                    if prose:
                        prose.text(item)
        except PorchError as error:
            result.error = error
    if prose:
        _tell(prose, result)
    return result


def _tell(prose: Prose, result: Result) -> None:
    prose.end()
    if result.error:
        sign = plain(paint("✗", "red", prose.file), prose.file)
        prose.hanging(f"{sign} ", 2, as_invoked(result.error.message))
    elif result.trial:
        sign = plain(paint("✓", "green", prose.file), prose.file)
        prose.hanging(f"{sign} ", 2, ", ".join(_figures(result.trial)), "dim")
    prose.line()


def _figures(trial: "Trial") -> list[str]:
    first = trial.first_token_seconds
    said = [f"first token after {first * 1000:,.0f} ms" if first is not None else "no token at all"]
    said.append(f"all of it after {trial.seconds * 1000:,.0f} ms")
    if usage := trial.usage:
        said.append(f"{usage.input_tokens:,} tokens read and {usage.output_tokens:,} written")
        said.append(_cost(usage))
    return [*said, f"by {trial.model}"]


def _cost(usage: "Usage") -> str:
    cost = usage.cost
    return f"{cost.amount} {cost.currency} (price of {cost.priced_at})" if cost else "cost unknown"


def _plain(result: Result) -> dict[str, Any]:
    trial, error = result.trial, result.error
    first = trial.first_token_seconds if trial else None
    return {
        "provider": result.provider,
        "model": result.model,
        "ok": error is None,
        "answered_by": trial.model if trial else None,
        "text": result.text,
        "first_token_ms": None if first is None else round(first * 1000),
        "total_ms": round(trial.seconds * 1000) if trial else None,
        "usage": msgspec.to_builtins(trial.usage) if trial and trial.usage else None,
        "error": _error(error) if error else None,
    }


def _error(error: PorchError) -> dict[str, Any]:
    if isinstance(error, ModelError):
        code, category, again = error.reason, error.kind, error.retryable
    else:
        code, category, again = error.code, error.category, False
    return {"code": code, "category": category, "message": as_invoked(error.message), "retryable": again}
