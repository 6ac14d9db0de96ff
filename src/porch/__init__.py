"""Porch: an open, self-hosted platform for public AI agents."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str


def __getattr__(name: str) -> str:
    # Reading the version costs as much as starting Python; most commands never look at it.
    if name == "__version__":
        from importlib.metadata import version

        globals()[name] = version("porch")
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
