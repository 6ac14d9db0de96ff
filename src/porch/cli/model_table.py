"""Models side by side: what each can do, how much it reads and writes, and what a million tokens cost."""

import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from porch.cli.terminal import console, is_terminal, neutral

ABLE = (("tools", "tools"), ("vision", "images"), ("reasoning", "thinking"))
HEADS = ("model", "can", "reads", "writes", "per 1M in", "per 1M out", "as of")
NARROW = 110

Record = dict[str, Any]


def print_models(records: Sequence[Record]) -> None:
    """Print model records (`abilities.model_record`): a table on a terminal, else lines with tabs between the cells.

    A narrow terminal has the prices' dates below the table.
    """
    if not records:
        return
    rows = [_cells(record) for record in records]
    if not is_terminal(sys.stdout):
        for row in rows:
            print("  " + "\t".join(row))
        return
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    narrow = console().width < NARROW
    heads = HEADS[:-1] if narrow else HEADS
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1 if narrow else 2, 0, 0))
    for head in heads:
        figures = head in HEADS[2:6]
        table.add_column(
            head.removeprefix("per 1M ") if narrow else head,
            style="cyan" if head == "model" else "",
            justify="right" if figures else "left",
            overflow="fold",
            no_wrap=head != "model",
        )
    for row in rows:
        table.add_row(*map(Text, row[: len(heads)]))
    console().print(Padding(table, (0, 0, 0, 4)))
    days = sorted({row[-1] for row in rows if row[-1]})
    if narrow and days:
        said = Text(f"in, out: prices of a million tokens, as of {', '.join(days)}", style="dim")
        console().print(Padding(said, (0, 0, 0, 4)))


def _cells(record: Record) -> list[str]:
    from porch.models.abilities import amount_words
    from porch.models.catalogue import UNKNOWN_CONTEXT

    able = " ".join(word for field, word in ABLE if record[field]) or "text"
    assumed = not record["known"] and record["context_tokens"] == UNKNOWN_CONTEXT
    price = record["price"]
    read, written = (
        amount_words(Decimal(price[way]), price["currency"]) if price else "" for way in ("input", "output")
    )
    return [
        neutral(record["name"]),
        able if record["known"] else "not known",
        "" if assumed else _size(record["context_tokens"]),
        _size(record["max_output_tokens"]) if record["max_output_tokens"] else "",
        read,
        written,
        price["priced_at"] if price else "",
    ]


def _size(tokens: int) -> str:
    """Tokens in a few signs: 8,192, 128k, 1.05M."""
    if tokens >= 1_000_000:
        return f"{tokens / 1_000_000:.3g}M"
    return f"{tokens // 1000}k" if tokens >= 10_000 else f"{tokens:,}"
