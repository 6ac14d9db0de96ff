"""Porch: an open, self-hosted platform for public AI agents."""

from importlib.metadata import version

__version__ = version("porch")
