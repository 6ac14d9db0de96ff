"""What is known of each model, from a dated table beside this file."""

import datetime
import re
import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, cast

UNKNOWN_CONTEXT = 8192


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model's limits in tokens, and what it can do. `known` is False for one the table does not have.

    `shared` marks what the table says of all of a provider's models that have no card of their own.
    """

    context_tokens: int = UNKNOWN_CONTEXT
    max_output_tokens: int | None = None
    tools: bool = True
    vision: bool = False
    reasoning: bool = False
    known: bool = False
    shared: bool = False

    @property
    def may_see(self) -> bool:
        """Whether to show it a picture: unless the table has this very model, as one that cannot look."""
        return self.vision or self.shared or not self.known


UNKNOWN = ModelCard()


# Who stands in this table under another name than a router's.
_MAKERS = {"x-ai": "xai", "mistralai": "mistral", "moonshotai": "moonshot", "z-ai": "zai"}
_SAME = {"openai-responses": "openai"}


@lru_cache(maxsize=4096)
def find_card(provider: str, model: str) -> ModelCard:
    """The card of a provider's model: by the longest name in the table that the model's name begins with.

    A router's models ("maker/model") that it has no card of its own for have their maker's.
    """
    cards = _table()[1].get(_SAME.get(provider, provider), {})
    fits = [name for name in cards if name == "" or re.match(re.escape(name) + r"(?=$|[-:@])", model)]
    if fits:
        return cards[max(fits, key=len)]
    maker, slash, bare = model.partition("/")
    if provider != "openrouter" or not slash:
        return UNKNOWN
    own = _MAKERS.get(maker, maker)
    found = find_card(own, bare)
    # Anthropic's own names have no dots.
    return found if found.known or "." not in bare else find_card(own, bare.replace(".", "-"))


def as_of() -> datetime.date:
    """The date of the table."""
    return _table()[0]


def known_models(provider: str) -> list[str]:
    """The names in the table, of what the provider has not ended."""
    names = _table()[1].get(_SAME.get(provider, provider), {})
    return [name for name in names if name and not is_gone(provider, name)]


def is_gone(provider: str, model: str) -> bool:
    """Whether the provider itself has ended a model of the table, as its own page says; others may have it still."""
    day = _table()[2].get((_SAME.get(provider, provider), model))
    return day is not None and _today() >= day


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


@cache
def _table() -> tuple[datetime.date, dict[str, dict[str, ModelCard]], dict[tuple[str, str], datetime.date]]:
    """Its date, the cards, and the days on which models end, by provider and name."""
    raw = tomllib.loads(files("porch.models").joinpath("catalogue.toml").read_text("utf-8"))
    date = cast("datetime.date", raw.pop("as_of"))
    cards = {
        provider: {name: _card(name, entry) for name, entry in models.items()}
        for provider, models in raw.items()
    }
    gone = {
        (provider, name): cast("datetime.date", entry["gone"])
        for provider, models in raw.items()
        for name, entry in models.items()
        if "gone" in entry
    }
    return date, cards, gone


def _card(name: str, entry: dict[str, Any]) -> ModelCard:
    return ModelCard(
        context_tokens=entry["context"],
        max_output_tokens=entry.get("output"),
        tools=entry.get("tools", False),
        vision=entry.get("vision", False),
        reasoning=entry.get("reasoning", False),
        known=True,
        shared=name == "",
    )
