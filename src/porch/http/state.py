"""What the assembled application keeps for its routes, by type. The assembly sets `app.state` once."""

from typing import Protocol, cast

from starlette.requests import HTTPConnection

from porch.contract.principal import Principal
from porch.identity.authentication import ANYWHERE, Place
from porch.identity.doors import CLOSED, Doors
from porch.identity.sites import Sites
from porch.storage.database import Database


class Authenticate(Protocol):
    """How an application tells who a credential stands for."""

    async def __call__(self, token: str, address: str | None = None) -> Principal:
        """From a bearer token and the caller's address to the principal. Raises Unauthenticated."""
        ...

    async def session(self, secret: str, address: str | None = None, place: Place = ANYWHERE) -> Principal:
        """From a session's secret, the caller's address and the workspace meant to the principal.

        Raises Unauthenticated.
        """
        ...

    async def guest(self, token: str, origin: str | None = None) -> Principal:
        """From a guest's token and the site that asks with it to the principal. Raises Unauthenticated, Forbidden."""
        ...

    def forget(self) -> None:
        """Remember nothing of credentials seen before: one was revoked."""
        ...


def database(request: HTTPConnection) -> Database:
    """The pool of connections."""
    return cast("Database", request.app.state.database)


def authenticate(request: HTTPConnection) -> Authenticate:
    """How this application tells who a credential stands for."""
    return cast("Authenticate", request.app.state.authenticate)


def doors(request: HTTPConnection) -> Doors:
    """Who may come in here at all."""
    return cast("Doors", getattr(request.app.state, "doors", CLOSED))


def sites(request: HTTPConnection) -> Sites:
    """Which sites embed anything here."""
    state = request.app.state
    if not hasattr(state, "sites"):
        state.sites = Sites(database(request))
    return cast("Sites", state.sites)


def public_url(request: HTTPConnection) -> str:
    """The address that people open in their browsers, without a slash at its end."""
    known: str | None = getattr(request.app.state, "url", None)
    return known or str(request.base_url).rstrip("/")
