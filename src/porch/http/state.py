"""What the assembled application keeps for its routes, by type. The assembly sets `app.state` once."""

from collections.abc import Awaitable, Callable
from typing import cast

from starlette.requests import HTTPConnection

from porch.contract.principal import Principal
from porch.storage.database import Database

Authenticate = Callable[[str, str | None], Awaitable[Principal]]
"""From a bearer token and the caller's address to the principal. Raises Unauthenticated."""


def database(request: HTTPConnection) -> Database:
    """The pool of connections."""
    return cast("Database", request.app.state.database)


def authenticate(request: HTTPConnection) -> Authenticate:
    """How this application tells who a token stands for."""
    return cast("Authenticate", request.app.state.authenticate)
