"""A home workspace for tests that have none in a database, and keys that serve it alone, or everybody."""

from uuid import UUID

from porch.models.sharing import ALL, Sharing

HOME = UUID("0197c000-0000-7000-8000-000000000001")
AT_HOME = Sharing(HOME)
EVERYBODY = Sharing(HOME, frozenset({ALL}))
