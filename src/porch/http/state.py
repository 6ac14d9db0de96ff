"""What the assembled application keeps for its routes, by type. The assembly sets `app.state` once."""

from typing import Protocol, cast

from starlette.requests import HTTPConnection

from porch.contract.principal import Principal
from porch.storage.database import Database


class Authenticate(Protocol):
    """How an application tells who a token stands for."""

    async def __call__(self, token: str, address: str | None = None) -> Principal:
        """From a bearer token and the caller's address to the principal. Raises Unauthenticated."""
        ...

    def forget(self) -> None:
        """Remember nothing of tokens seen before: one was revoked."""
        ...


def database(request: HTTPConnection) -> Database:
    """The pool of connections."""
    return cast("Database", request.app.state.database)


def authenticate(request: HTTPConnection) -> Authenticate:
    """How this application tells who a token stands for."""
    return cast("Authenticate", request.app.state.authenticate)
