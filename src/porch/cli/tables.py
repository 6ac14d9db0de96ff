"""Lists as tables on a terminal, as tab-separated lines elsewhere."""

import sys
from collections.abc import Sequence

from porch.cli.terminal import console, is_terminal, neutral, plain


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str, headed: bool = False
) -> None:
    """Print rows under their columns; `empty` is said where there are none.

    Lines for programs have no heading unless they are `headed`, as where a second table follows a first.
    """
    cells = [["" if cell is None else neutral(str(cell)) for cell in row] for row in rows]
    if not is_terminal(sys.stdout):
        if headed and cells:
            print("\t".join(columns))
        for row in cells:
            print("\t".join(" ".join(cell.split()) for cell in row))
        return
    if not cells:
        print(f"  {plain(empty, sys.stdout)}")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=True, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("")
    for number, column in enumerate(columns):
        table.add_column(column, style="cyan" if number == 0 else "", overflow="fold")
    for row in cells:
        table.add_row("", *map(Text, row))
    console().print(table)
