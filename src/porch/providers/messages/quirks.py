"""How the models and servers of this dialect differ, as data.

Sources, read in November 2026: platform.claude.com, pages "Adaptive thinking", "Effort", "Structured outputs",
"Models overview", the migration guides of 4.6, 4.7, 5 and 5.5, and "Prompting Claude Haiku 5.5".
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

_NAME = re.compile(
    r"claude-(?:(?P<old>\d)(?:[-.](?P<point>\d))?-)?(?P<family>[a-z]+)"
    r"(?:-(?P<new>\d{1,2})(?:[-.](?P<minor>\d{1,2}))?)?(?!\d)"
)


@dataclass(frozen=True, slots=True)
class Quirks:
    """What a model, or the server it is asked at, wants said differently.

    `max_tokens` is sent where the settings name none, since the API insists on one. `thinking` is how a model is
    told to reason, `at_rest` what it does untold: nothing, think unless `disabled`, think always, or whatever it
    likes where nobody knows. `structured` says that it takes a JSON Schema for its answer, `sampling` how many of
    temperature and top_p it takes.
    """

    max_tokens: int = 8192
    thinking: Literal["none", "budget", "adaptive"] = "budget"
    at_rest: Literal["silent", "thinks", "always", "unknown"] = "silent"
    display: str | None = None
    structured: bool = False
    sampling: Literal[0, 1, 2] = 2
    auth: Literal["x-api-key", "bearer"] = "x-api-key"
    version: str = "2023-06-01"
    betas: tuple[str, ...] = ()
    path: str = "/messages"


FindQuirks = Callable[[str], Quirks]

# Each entry holds from that version of Claude on; the last that fits decides.
_BY_VERSION: tuple[tuple[tuple[int, int], Quirks], ...] = (
    ((0, 0), Quirks(max_tokens=4096, thinking="none")),
    ((3, 5), Quirks(max_tokens=8192, thinking="none")),
    ((3, 7), Quirks(max_tokens=32_000)),
    ((4, 1), Quirks(max_tokens=32_000, sampling=1)),
    ((4, 5), Quirks(max_tokens=32_000, sampling=1, structured=True)),
    ((4, 6), Quirks(max_tokens=32_000, sampling=1, structured=True, thinking="adaptive")),
    (
        (4, 7),
        Quirks(max_tokens=32_000, sampling=0, structured=True, thinking="adaptive", display="summarized"),
    ),
    (
        (5, 0),
        Quirks(
            max_tokens=32_000,
            sampling=0,
            structured=True,
            thinking="adaptive",
            display="summarized",
            at_rest="thinks",
        ),
    ),
    (
        (5, 5),
        Quirks(
            max_tokens=32_000,
            sampling=0,
            structured=True,
            thinking="adaptive",
            display="summarized",
            at_rest="always",
        ),
    ),
)
# What a family does at rest, whatever its version; Haiku may be told not to think, as its larger kin no longer may.
_ALWAYS = frozenset({"fable", "mythos"})
_RESTS = frozenset({"haiku"})
_NO_CLAUDE = Quirks(at_rest="unknown")


def find_quirks(model: str) -> Quirks:
    """A model's quirks by its name, whatever a gateway writes around it. Of what is no Claude nothing is known."""
    match = _NAME.search(model.lower())
    if match is None:
        return _NO_CLAUDE
    major, minor = match["old"] or match["new"], match["point"] or match["minor"]
    if major is None:
        # Names without a number have come with the newest families only.
        return replace(_BY_VERSION[-1][1], at_rest="always")
    version = (int(major), int(minor or 0))
    found = [quirks for since, quirks in _BY_VERSION if since <= version][-1]
    if match["family"] in _ALWAYS:
        return replace(found, at_rest="always")
    rests = match["family"] in _RESTS and found.at_rest == "always"
    return replace(found, at_rest="thinks") if rests else found
