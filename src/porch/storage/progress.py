"""How long work tells a person what it is doing."""

from collections.abc import Callable

Progress = Callable[[str], None]


def silence(_: str) -> None:
    """Tells nobody."""
