"""Token counts as each server spells them."""

from typing import Any, cast

from porch.contract.events import Usage

_INPUT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens")
_CACHED = ("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")


def read_usage(value: object) -> Usage | None:
    """The counts of a `usage` object, or None when it holds none."""
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
    )


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
