"""What is known of each model, from a dated table beside this file."""

import datetime
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, cast

UNKNOWN_CONTEXT = 8192


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model's limits in tokens, and what it can do. `known` is False for one the table does not have."""

    context_tokens: int = UNKNOWN_CONTEXT
    max_output_tokens: int | None = None
    tools: bool = True
    vision: bool = False
    reasoning: bool = False
    known: bool = False


UNKNOWN = ModelCard()


def find_card(provider: str, model: str) -> ModelCard:
    """The card of a provider's model: by the longest name in the table that the model's name begins with."""
    cards = _table()[1].get(provider, {})
    fits = [name for name in cards if name == "" or re.match(re.escape(name) + r"(?=$|[-:@])", model)]
    return cards[max(fits, key=len)] if fits else UNKNOWN


def as_of() -> datetime.date:
    """The date of the table."""
    return _table()[0]


def known_models(provider: str) -> list[str]:
    """The names in the table."""
    return [name for name in _table()[1].get(provider, {}) if name]


@cache
def _table() -> tuple[datetime.date, dict[str, dict[str, ModelCard]]]:
    raw = tomllib.loads(files("porch.models").joinpath("catalogue.toml").read_text("utf-8"))
    date = cast("datetime.date", raw.pop("as_of"))
    return date, {
        provider: {name: _card(entry) for name, entry in models.items()} for provider, models in raw.items()
    }


def _card(entry: dict[str, Any]) -> ModelCard:
    return ModelCard(
        context_tokens=entry["context"],
        max_output_tokens=entry.get("output"),
        tools=entry.get("tools", False),
        vision=entry.get("vision", False),
        reasoning=entry.get("reasoning", False),
        known=True,
    )
