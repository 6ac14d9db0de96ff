"""`--model`: one model, or several that are tried in order."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
Chain = str | list[str]
HELP = "Who answers; porch models lists what there is. Given again: who is asked where the one before fails."


def model_option(about: str = HELP) -> Callable[[F], F]:
    """Gives a command `--model`, which may be repeated; it gets one name, a list of several, or None."""
    return click.option("--model", multiple=True, metavar="PROVIDER:MODEL", help=about, callback=_chain)


def spell_chain(model: Chain) -> str:
    """A chain in words: "a:b, then c:d"."""
    return model if isinstance(model, str) else ", then ".join(model)


def _chain(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> Chain | None:
    return list(names) if len(names) > 1 else next(iter(names), None)
