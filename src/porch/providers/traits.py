"""What single models take otherwise than their provider's other models do, as data.

Sources, read in November 2026: developers.openai.com, the models' own pages, "Models", "Deployment checklist" and the
reference of `reasoning_effort`; OpenAI's own refusals, as they stand in public reports; ai.google.dev, "Thinking" and
the models' own pages.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

_ORDER = ("none", "minimal", "low", "medium", "high")
_SOME = ("low", "medium", "high")
_ALL = ("none", *_SOME)


@dataclass(frozen=True, slots=True)
class Traits:
    """What a model takes. The defaults say that nothing is known of it.

    `efforts` are those it can be asked for, empty where its server's hold; `at_rest` is the one it takes unasked.
    `tools` says whether it takes them on Chat Completions: at any effort, at none alone, or in another dialect only.
    `sampling` says whether it takes temperature and top_p: at any effort, or at none alone.
    """

    efforts: tuple[str, ...] = ()
    at_rest: str | None = None
    tools: Literal["any", "unthinking", "elsewhere"] = "any"
    sampling: Literal["any", "unthinking"] = "any"

    def samples(self, effort: str | None) -> bool:
        """Whether it takes temperature and top_p beside this effort, None for what it does unasked."""
        return self.sampling == "any" or (effort or self.at_rest) == "none"


FindTraits = Callable[[str], Traits]


def nearest_effort(effort: str, known: Sequence[str]) -> str:
    """The one of `known` that is nearest to an effort. Some thinking becomes none only where nothing else is known."""
    if effort in known:
        return effort

    def distance(name: str) -> tuple[bool, int, int]:
        at = _ORDER.index(name)
        return name == "none", abs(at - _ORDER.index(effort)), at

    return min(known, key=distance)


def _finder(table: Mapping[str, Traits]) -> FindTraits:
    """By the longest name in the table that a model's name is, or begins with before a hyphen."""
    names = sorted(table, key=len, reverse=True)

    def find(model: str) -> Traits:
        known = next((name for name in names if f"{model}-".startswith(f"{name}-")), None)
        return Traits() if known is None else table[known]

    return find


_O = Traits(_SOME, "medium", sampling="unthinking")
_GPT_5_1 = Traits(_ALL, "none", sampling="unthinking")
_GPT_5_5 = Traits(_ALL, "medium", tools="unthinking", sampling="unthinking")
_ALWAYS = Traits(_SOME, "medium", tools="elsewhere", sampling="unthinking")

find_openai = _finder(
    {
        "o1": _O,
        "o3": _O,
        "o4-mini": _O,
        "gpt-5": Traits(("minimal", *_SOME), "medium", sampling="unthinking"),
        "gpt-5-pro": Traits(("high",), "high", sampling="unthinking"),
        "gpt-5-chat": Traits(at_rest="none"),
        "gpt-5.1": _GPT_5_1,
        "gpt-5.2": _GPT_5_1,
        "gpt-5.4": Traits(_ALL, "none", tools="unthinking", sampling="unthinking"),
        "gpt-5.5": _GPT_5_5,
        "gpt-5.6": _GPT_5_5,
        "gpt-6-luna": _GPT_5_5,
        "gpt-6-sol": _GPT_5_5,
        "gpt-6-astra": _ALWAYS,
        "gpt-6.1-sol": _ALWAYS,
        "gpt-6.1-terra": Traits(_ALL, "medium", tools="elsewhere", sampling="unthinking"),
        "gpt-6.2-astra": _ALWAYS,
        "gpt-6.2-sol": _ALWAYS,
    }
)
find_google = _finder(
    {
        "gemini-2.5-pro": Traits(_SOME),
        "gemini-3-pro": Traits(_SOME),
        "gemini-3.1-pro": Traits(_SOME),
        "gemini-3.8-flash": Traits(_SOME),
    }
)
find_none = _finder({})
