"""A desk of runs for the streams, and the whole application for the doors."""

from tests.runs.conftest import desk
from tests.web.conftest import house

__all__ = ["desk", "house"]
