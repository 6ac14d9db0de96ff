"""The assembled app, as the tests of the common layers have it."""

from tests.http.conftest import ada, eve, world

__all__ = ["ada", "eve", "world"]
