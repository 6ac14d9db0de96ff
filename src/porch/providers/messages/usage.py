"""Token counts as Messages spells them: cumulative, and the cache counted apart."""

from typing import Any

import msgspec

from porch.contract.events import Usage
from porch.providers.messages.wire import as_object
from porch.providers.usage import read_usage

_APART = ("cache_read_input_tokens", "cache_creation_input_tokens")
_NAMES = frozenset({"input_tokens", "output_tokens", "output_tokens_details", "cost", *_APART})


class Counts:
    """The newest value of every count, since each event repeats only some of them."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def add(self, value: object) -> None:
        """The `usage` of one more event."""
        counts = as_object(value) or {}
        self._known.update((name, counts[name]) for name in _NAMES if counts.get(name) is not None)

    def usage(self) -> Usage | None:
        """What they come to. `input_tokens` is the whole prompt, cache or not, as with every other provider."""
        usage = read_usage(self._known)
        if usage is None:
            return None
        details = as_object(self._known.get("output_tokens_details")) or {}
        thought: object = details.get("thinking_tokens")
        return msgspec.structs.replace(
            usage,
            input_tokens=usage.input_tokens + sum(_count(self._known.get(name)) for name in _APART),
            reasoning_tokens=_count(thought) if isinstance(thought, int) else usage.reasoning_tokens,
        )


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0
