"""What a model can do and cost, in the few words that pages have room for."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from porch.contract.errors import InvalidInput
from porch.models.catalogue import UNKNOWN_CONTEXT, ModelCard
from porch.models.prices import Price, spell
from porch.models.service import Models

MAX_NAMES = 8
SIGNS = {"USD": "$", "EUR": "€", "GBP": "£"}

View = dict[str, Any]


def ability_words(card: ModelCard) -> list[str]:
    """What a model can do besides writing text; nothing is said of one that the catalogue does not have."""
    if not card.known:
        return []
    able = (("tools", card.tools), ("images", card.vision), ("thinking", card.reasoning))
    return [word for word, has in able if has]


def model_view(name: str, card: ModelCard, price: Price | None) -> View:
    """A model for a page: its whole name, abilities, limits, and its price where that is known."""
    return {
        "name": name if name.isprintable() else ascii(name),
        "able": ability_words(card),
        "context": card.context_tokens,
        "output": card.max_output_tokens,
        "known": card.known,
        "told": card.known or card.context_tokens != UNKNOWN_CONTEXT,
        "price": price_words(price) if price else "",
    }


def model_record(name: str, card: ModelCard, price: Price | None) -> View:
    """A model for programs: its whole name, abilities, limits in tokens, and what a million cost."""
    return {
        "name": name,
        "known": card.known,
        "context_tokens": card.context_tokens,
        "max_output_tokens": card.max_output_tokens,
        "tools": card.tools,
        "vision": card.vision,
        "reasoning": card.reasoning,
        "price": price
        and {
            "input": spell(price.input),
            "cached": None if price.cached is None else spell(price.cached),
            "output": spell(price.output),
            "currency": price.currency,
            "priced_at": price.priced_at,
            "up_to_tokens": price.up_to,
        },
    }


def price_words(price: Price) -> str:
    """What a million tokens cost, and as of when: "$0.15 in, $0.60 out per million, as of 2026-11-05"."""
    read, written = (amount_words(amount, price.currency) for amount in (price.input, price.output))
    return f"{read} in, {written} out per million, as of {price.priced_at}"


def amount_words(amount: Decimal, currency: str) -> str:
    """An amount of money: "$0.15"."""
    # At least two places, as people write prices, and more where the price has them.
    _, _, cents = spell(amount).partition(".")
    return f"{SIGNS.get(currency, currency + ' ')}{amount:,.{max(2, len(cents))}f}"


def chain_view(models: Models, names: Sequence[str], workspace: UUID, *, uses_tools: bool) -> View:
    """The models that an agent tries in turn: what each can do, what keeps it from being asked, and warnings.

    A name that is no name yet says so; nobody has finished typing it.
    """
    rows: list[View] = []
    toolless: list[str] = []
    for name in names[:MAX_NAMES]:
        card = models.card_of(name, workspace)
        row = model_view(name, card, models.price_of(name, workspace))
        row["fault"] = _fault(models, name, workspace)
        rows.append(row)
        if uses_tools and card.known and not card.tools:
            toolless.append(row["name"])
    return {"models": rows, "toolless": toolless}


def _fault(models: Models, name: str, workspace: UUID) -> str:
    try:
        models.resolve(name, workspace)
    except InvalidInput as error:
        return error.message
    return ""
