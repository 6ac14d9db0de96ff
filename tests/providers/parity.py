"""The parity table, feature by adapter, made from the tests that show each cell.

A test says what it shows: `@pytest.mark.parity("messages", "images in")`. `python -m tests.providers.parity`
writes the table into docs/streaming.md.
"""

import importlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ADAPTERS = {
    "chat_completions": "Chat Completions",
    "openrouter": "OpenRouter",
    "responses": "Responses",
    "messages": "Messages",
}
# A profile of another adapter has all that it has; its own tests show what is its own.
PROFILE_OF = {"openrouter": "chat_completions"}
FEATURES = (
    "text",
    "reasoning",
    "sealed reasoning kept",
    "sealed reasoning sent back unchanged",
    "tool calls in parallel",
    "tool results",
    "tool choice",
    "images in",
    "files in",
    "structured output",
    "system prompt",
    "limit on the answer's length",
    "caching hints",
    "citations",
    "refusals",
    "the provider's own tools",
    "finish reasons",
    "usage",
    "cached and reasoning tokens",
    "cost as charged",
    "errors instead of an answer",
    "errors inside the stream",
    "a stream cut off",
    "unknown events",
    "any split of the bytes",
    "compressed answers",
    "retries before the first event",
    "the provider's hint when to retry",
    "silence",
    "a cancelled call",
)
NOT_OFFERED = {
    ("chat_completions", "the provider's own tools"): "the API runs no tools of its own",
    ("messages", "cost as charged"): "the API names no price; the price table does",
}
DOCUMENT = Path(__file__).parents[2] / "docs" / "streaming.md"
BEGIN, END = "<!-- parity -->\n", "<!-- /parity -->"
Cells = dict[tuple[str, str], list[str]]


def find_cells() -> Cells:
    """The tests of each cell, by (adapter, feature)."""
    cells: Cells = defaultdict(list)
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"{__package__}.{path.stem}")
        for name, test in sorted(vars(module).items()):
            for adapter, feature in _shown(test) if name.startswith("test_") else ():
                cells[adapter, feature].append(f"{path.name}::{name}")
    return dict(cells)


def render(cells: Cells) -> str:
    """The table, and below it why something is not offered."""
    rows = [["", *ADAPTERS.values()]]
    reasons: list[str] = []
    for feature in FEATURES:
        row = [feature]
        for adapter in ADAPTERS:
            row.append(_cell(cells, adapter, feature, reasons))
        rows.append(row)
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|---|" + ":-:|" * len(ADAPTERS))
    return "\n".join([*lines, "", *(f"{at}. {reason}" for at, reason in enumerate(reasons, 1)), ""])


def _cell(cells: Cells, adapter: str, feature: str, reasons: list[str]) -> str:
    if cells.get((adapter, feature)):
        return "✓"
    whose = PROFILE_OF.get(adapter)
    if whose and (cells.get((whose, feature)) or (whose, feature) in NOT_OFFERED):
        return "←"
    why = NOT_OFFERED.get((adapter, feature))
    if why is None:
        return "**untested**"
    reasons.append(f"{ADAPTERS[adapter]}: {why}.")
    return f"not offered ({len(reasons)})"


def _shown(test: Any) -> Iterator[tuple[str, str]]:
    for mark in getattr(test, "pytestmark", ()):
        if mark.name == "parity":
            adapter, *features = mark.args
            for feature in features:
                yield adapter, feature


def write() -> None:
    """Put the table into the document."""
    text = DOCUMENT.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    DOCUMENT.write_text(head + BEGIN + render(find_cells()) + END + tail, "utf-8")


if __name__ == "__main__":
    write()
