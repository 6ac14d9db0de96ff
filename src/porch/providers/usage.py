"""Token counts and costs as each server spells them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from porch.contract.events import Cost, Usage

_INPUT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens")
_CACHED = ("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")
_TICKS = Decimal("1e-10")  # xAI: dollars in a tick, https://docs.x.ai/developers/cost-tracking


def read_usage(value: object, created: object = None) -> Usage | None:
    """The counts of a `usage` object, or None when it holds none.

    `created` is the answer's own Unix time, the date of the price that a server names.
    """
    if not isinstance(value, dict):
        return None
    counts = cast("dict[str, Any]", value)
    came, went = _first(counts, _INPUT), _first(counts, _OUTPUT)
    if came is None and went is None:
        return None
    cached = _detail(counts, ("prompt_tokens_details", "input_tokens_details"), "cached_tokens")
    thought = _detail(counts, ("completion_tokens_details", "output_tokens_details"), "reasoning_tokens")
    return Usage(
        input_tokens=came or 0,
        output_tokens=went or 0,
        cached_input_tokens=_first(counts, _CACHED) if cached is None else cached,
        reasoning_tokens=_first(counts, ("reasoning_tokens",)) if thought is None else thought,
        cost=_cost(counts, created),
    )


def _cost(counts: dict[str, Any], created: object) -> Cost | None:
    """What a server says it charged: OpenRouter's `cost` in dollars, Perplexity's sum in it, xAI's ticks."""
    dollars, ticks = counts.get("cost"), _first(counts, ("cost_in_usd_ticks",))
    if isinstance(dollars, dict):
        dollars = cast("dict[str, Any]", dollars).get("total_cost")
    if isinstance(dollars, int | float) and not isinstance(dollars, bool) and 0 <= dollars < 1e9:
        amount = Decimal(repr(dollars))
    elif ticks is not None:
        amount = ticks * _TICKS
    else:
        return None
    amount = amount.quantize(Decimal("1e-12")) if amount < Decimal("1e9") else amount
    text = f"{amount:f}".rstrip("0").rstrip(".") or "0"
    return Cost(amount=text, currency="USD", priced_at=_day(created))


def _day(created: object) -> str:
    if isinstance(created, int | float) and 0 < created < 1e11:
        return datetime.fromtimestamp(created, UTC).date().isoformat()
    return datetime.now(UTC).date().isoformat()


def _detail(counts: dict[str, Any], groups: tuple[str, ...], name: str) -> int | None:
    for group in groups:
        details = counts.get(group)
        if isinstance(details, dict):
            return _first(cast("dict[str, Any]", details), (name,))
    return None


def _first(counts: dict[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = counts.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53:
            return value
    return None
