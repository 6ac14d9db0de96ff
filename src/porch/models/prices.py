"""What models cost, from a dated table beside this file. What it does not have is unknown, never free."""

import datetime
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, cast

from porch.contract.events import Cost, Usage, UsageReported

_MILLION = Decimal(1_000_000)
# A model's dated form costs what the model does; what else begins alike (-pro, -audio) does not.
_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})")


@dataclass(frozen=True, slots=True)
class Price:
    """Of a million tokens: read, read from the cache (None where unknown), and written.

    `up_to`: a longer prompt costs more, how much is not in the table. `writes`: what is written into the cache
    costs more, and the counts do not tell how much that was.
    """

    input: Decimal
    output: Decimal
    cached: Decimal | None
    currency: str
    priced_at: str
    up_to: int | None = None
    writes: bool = False

    def cost(self, usage: Usage | UsageReported, *, cache_written: bool = False) -> Cost | None:
        """What these tokens cost, None where the table does not say."""
        cached = min(usage.cached_input_tokens or 0, usage.input_tokens)
        if (self.up_to is not None and usage.input_tokens > self.up_to) or (self.writes and cache_written):
            return None
        if cached and self.cached is None:
            return None
        amount = (
            self.input * (usage.input_tokens - cached)
            + (self.cached or 0) * cached
            + self.output * usage.output_tokens
        ) / _MILLION
        return Cost(amount=spell(amount), currency=self.currency, priced_at=self.priced_at)


def spell(amount: Decimal) -> str:
    """A decimal as text, without an exponent and without zeros at its end."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@lru_cache(maxsize=1024)
def find_price(provider: str, model: str) -> Price | None:
    """The price of a provider's model, or of what it is a dated form of; None where unknown."""
    prices = _table().get(provider, {})
    return prices.get(model) or prices.get(_DATED.sub("", model))


def priced_models(provider: str) -> list[str]:
    """The names that have a price."""
    return list(_table().get(provider, {}))


@cache
def _table() -> dict[str, dict[str, Price]]:
    raw = tomllib.loads(files("porch.models").joinpath("prices.toml").read_text("utf-8"))
    date = cast("datetime.date", raw.pop("priced_at"))
    currency = cast("str", raw.pop("currency"))
    table = {
        provider: _prices(cast("dict[str, Any]", entry), date, currency) for provider, entry in raw.items()
    }
    return table | {"openai-responses": table["openai"]}


def _prices(entry: Mapping[str, Any], date: datetime.date, currency: str) -> dict[str, Price]:
    day = cast("datetime.date", entry.get("priced_at", date)).isoformat()
    return {
        name: Price(
            input=Decimal(price["input"]),
            output=Decimal(price["output"]),
            cached=Decimal(price["cached"]) if "cached" in price else None,
            currency=entry.get("currency", currency),
            priced_at=day,
            up_to=price.get("up_to"),
            writes=entry.get("writes", False),
        )
        for name, price in cast("dict[str, dict[str, Any]]", entry["models"]).items()
    }
