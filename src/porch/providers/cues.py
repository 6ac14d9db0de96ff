"""The cues that a scripted model obeys: `[[verb words]]` inside a message."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

VERBS = frozenset(
    {
        "say",
        "think",
        "call",
        "tokens",
        "pace",
        "stall",
        "fail",
        "cut",
        "empty",
        "refuse",
        "nul",
        "finish",
        "next",
    }
)
_OPEN = re.compile(r"\[\[([a-z]+)(?=[\s\]])[ \t]*")
_NAME = re.compile(r"[^\s\[\]{}]+")
_OPTION = re.compile(r"(after|itl|retry)=(\S+)")
_TIME = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)(ms|s|m)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}
MAX_TOKENS = 100_000


@dataclass(frozen=True, slots=True)
class Cue:
    """One thing to do: a verb, its words, and its options (`after=20`, `itl=5ms`, `retry=3`).

    `arguments` is a call's argument text.
    """

    verb: str
    text: str = ""
    options: dict[str, str] = field(default_factory=dict[str, str])
    arguments: str = "{}"

    def seconds(self, option: str, default: float) -> float:
        """An option as a time."""
        return read_seconds(self.options.get(option, ""), default)

    def count(self, default: int = 0) -> int:
        """How many tokens: `after=20`, or the first word."""
        words = self.options.get("after") or (self.text.split() or [""])[0]
        return (
            min(int(words), MAX_TOKENS)
            if words.isascii() and words.isdecimal() and len(words) < 10
            else default
        )


def read_seconds(text: str, default: float) -> float:
    """`5s`, `200ms`, `1m` or plain seconds."""
    match = _TIME.fullmatch(text)
    return float(match[1]) * _UNITS[match[2]] if match else default


def read_cues(text: str) -> list[Cue]:
    """The cues of a message, in order. What is in brackets but no cue is ordinary text."""
    return list(_cues(text))


def _cues(text: str) -> Iterator[Cue]:
    at = 0
    while match := _OPEN.search(text, at):
        at = match.end()
        verb = match[1]
        if verb == "call":
            cue, at = _call(text, at)
            if cue is not None:
                yield cue
            continue
        end = text.find("]]", at)
        if end < 0:
            return
        if verb in VERBS:
            yield _plain(verb, text[at:end])
        at = end + 2


def _plain(verb: str, words: str) -> Cue:
    if verb in ("say", "think", "refuse"):
        return Cue(verb, words)
    options: dict[str, str] = dict(_OPTION.findall(words))
    return Cue(verb, _OPTION.sub("", words).strip(), options)


def _call(text: str, at: int) -> tuple[Cue | None, int]:
    name = _NAME.match(text, at)
    if name is None:
        return None, at
    start = name.end() + len(text[name.end() :]) - len(text[name.end() :].lstrip())
    end = _json_end(text, start)
    end = text.find("]]", start) if end is None else text.find("]]", end)
    if end < 0:
        return None, at
    return Cue("call", name[0], arguments=text[start:end].strip() or "{}"), end + 2


def _json_end(text: str, start: int) -> int | None:
    """Where a JSON value ends, so that brackets in it do not end the cue."""
    try:
        value: tuple[Any, int] = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return value[1]
