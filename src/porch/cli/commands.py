"""Commands that a person may run next, shown so that they can be copied."""

import shutil

from porch.cli.prose import Prose
from porch.cli.terminal import paint, plain

TWO_COLUMNS = 66
WHY_COLUMNS = 34


def tell_commands(prose: Prose, commands: list[tuple[str, str]]) -> None:
    """Commands with what they do: side by side, or one above the other where it is narrow."""
    longest = max(len(command) for command, _ in commands)
    columns = shutil.get_terminal_size().columns
    wide = not prose.terminal or columns >= max(TWO_COLUMNS, longest + WHY_COLUMNS)
    for command, why in commands:
        shown = paint(command, "cyan", prose.file)
        if wide:
            prose.raw(
                f"  {shown}{' ' * (longest - len(command))}   {paint(plain(why, prose.file), 'dim', prose.file)}"
            )
        else:
            prose.line(f"{why}:", "dim")
            prose.raw(f"  {shown}")
