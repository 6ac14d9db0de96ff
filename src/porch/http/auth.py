"""Authorisation, declared on the route: `requires("write:agents")`, or `public()` for all the world.

Guests, the visitors of a site that embeds an agent, are let in by no route that does not say so: `guests=True`. So it
is with agents that come by tokens of their own: `agents=True`.
"""

import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Literal, cast, get_args
from uuid import UUID

from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from porch.contract.errors import Forbidden, NotFound, Unauthenticated
from porch.contract.ids import format_id, parse_id
from porch.contract.principal import STRONGER, Principal, Verb
from porch.http.addresses import caller_address
from porch.http.cookies import session_secret
from porch.http.forgery import check_forgery, sent_token
from porch.http.state import authenticate, database, doors
from porch.identity.authentication import Place
from porch.identity.lifecycle import follow_handle
from porch.identity.origins import OriginNotAllowed
from porch.identity.sessions import csrf_token, csrf_workspace
from porch.identity.tokens import GUEST_HEAD
from porch.storage.acting import act_as

# What ids in paths are called, and how they begin: by them a session finds the workspace they lie in.
OBJECTS = (("conversation", "conv"), ("run", "run"), ("approval", "apr"))
# What a workspace can be called, by handle or id, and what none is.
SAFE = {"GET", "HEAD", "OPTIONS"}
NAMED, NOWHERE = re.compile(r"[a-z0-9-]{1,40}|ws_[0-9a-f]{32}"), "-"
HOW_TO = "Send the header 'Authorization: Bearer porch_pat_…'; the operator's token is in credentials.json."


class Requires(SecurityBase):
    """The dependency behind `requires`; the walk over the route table finds it by its type.

    A path with `{ws}` is answered for the credential's own workspace alone, named by handle or id.
    """

    def __init__(
        self,
        scope: str | None,
        on: Literal["object"] | None = None,
        *,
        guests: bool = False,
        agents: bool = False,
        home: bool = False,
        anywhere: bool = False,
    ) -> None:
        verb, _, kind = (scope or "read:any").partition(":")
        if verb not in get_args(Verb) or not (kind.isidentifier() or kind == "*"):
            raise ValueError(f"a scope is verb:kind, not {scope!r}")
        self.scope = scope
        self.verb: Verb = cast("Verb", verb)
        self.kind = kind
        self.on_object = on == "object"
        self.guests = guests
        self.agents = agents or guests
        self.home = home
        self.anywhere = anywhere
        self.model = HTTPBearer(
            description="A personal access token: `porch_pat_…`.", bearerFormat="porch_pat"
        )
        self.scheme_name = "bearer"
        held = (self.verb, *STRONGER[self.verb])
        self._narrowed = tuple(f"{verb}:{named}:" for verb in held for named in (kind, "*"))

    async def __call__(self, request: Request) -> Principal:
        principal = await self._admit(request)
        if principal.kind == "agent" and not self.agents:
            raise Forbidden("An agent's token is good for talking to that agent, and for nothing else here.")
        named = request.path_params.get("ws")
        if named is not None and not _is_called(principal, named):
            principal = await self._by_former_handle(request, principal, named)
        if self.scope and not principal.allows(self.verb, self.kind) and not self._has_narrowed(principal):
            raise Forbidden(f"This credential lacks the scope {self.scope!r}; use a token that has it.")
        if self.home:
            check_home(principal, request.app.state.home)
        return principal

    async def _admit(self, request: Request) -> Principal:
        principal = await self._authenticate(request)
        if request.method not in SAFE:
            act_as(
                principal, "api" if request.url.path.startswith("/api/") else "page", caller_address(request)
            )
        # What request.state reads, without building it for the many requests that never look.
        request.scope.setdefault("state", {})["principal"] = principal
        return principal

    async def _by_former_handle(self, request: Request, principal: Principal, named: str) -> Principal:
        """The principal in the workspace that was called so once, where that is one of theirs. Raises NotFound."""
        if led := await follow_handle(database(request), named):
            workspace, handle = led
            request.path_params["ws"] = handle
            if principal.workspace != workspace:
                principal = await self._admit(request)
        check_workspace(principal, request.path_params["ws"], named)
        return principal

    async def _authenticate(self, request: Request) -> Principal:
        address = caller_address(request)
        sent = request.headers.get("authorization")
        if not sent and (secret := await session_secret(request)):
            return await authenticate_session(request, secret, address, anywhere=self.anywhere)
        token = bearer_token(sent)
        if not token.startswith(GUEST_HEAD):
            return await authenticate(request)(token, address)
        if not self.guests:
            raise Forbidden(
                "A guest's token is good for the guest's own conversations with one agent, and for nothing else here."
            )
        return await authenticate(request).guest(token, sent_origin(request))

    def _has_narrowed(self, principal: Principal) -> bool:
        return self.on_object and any(scope.startswith(self._narrowed) for scope in principal.scopes)


class Public:
    """The dependency behind `public`: it asks nothing. With `guests` it is where guests get their tokens."""

    def __init__(self, *, guests: bool = False) -> None:
        self.guests = guests

    async def __call__(self) -> None:
        return


def requires(
    scope: str | None = None,
    *,
    on: Literal["object"] | None = None,
    guests: bool = False,
    agents: bool = False,
    home: bool = False,
    anywhere: bool = False,
) -> Any:
    """The principal of a request, which must hold `verb:kind`. For `Annotated[Principal, requires(…)]`.

    It comes from a bearer token, or else from a session's cookie, whose requests need a CSRF token besides.
    Without a scope any credential will do. With `on="object"` a credential narrowed to single objects
    (`verb:kind:id`) passes too; the service then checks the object it has loaded. With `guests=True` guests of
    embedded agents may come, from pages of their site, and with `agents=True` agents by their tokens, who come wherever
    guests do besides. With `home=True` it must be a credential of the home workspace:
    what lies behind is the whole installation's. With `anywhere=True` it concerns the person: a form of a workspace
    that they have left will do.
    """
    return Depends(Requires(scope, on, guests=guests, agents=agents, home=home, anywhere=anywhere))


def public(*, guests: bool = False) -> Any:
    """Declares that a route needs no credential. For `dependencies=[public()]`.

    `guests` is for those that pages of other sites ask: of all public routes, where guests come in.
    """
    return Depends(_DOOR if guests else _PUBLIC)


def recheck(declared: Requires, request: Request) -> Callable[[], Coroutine[Any, Any, Principal]]:
    """What asks again whether a request's credential still holds, and in the workspace that it was good for.

    Of the request's body it keeps nothing.
    """
    scope = request.scope
    workspace = cast("Principal", scope["state"]["principal"]).workspace

    async def again() -> Principal:
        principal = await declared(Request(scope))
        if principal.workspace != workspace:
            raise Forbidden("You no longer belong to the workspace of what is being read.")
        return principal

    return again


async def authenticate_session(
    request: Request, secret: str, address: str | None, *, anywhere: bool = False
) -> Principal:
    """Who a session stands for, once it is sure that one of our own pages asks.

    Leaves the session's CSRF token in `request.state.csrf`. With `anywhere` it does not matter whether the page's
    workspace is one of the person's still. Raises Unauthenticated, ForgedRequest, Forbidden.
    """
    sent, several = await sent_token(request), doors(request).multi_user
    given = csrf_workspace(sent) if several else None
    if given is not None:
        # Before anything is looked up for it: a workspace that nobody signed for is none.
        check_forgery(request, sent, csrf_token(secret, given))
    place = _place(request, given)
    principal = await authenticate(request).session(secret, address, place)
    check_forgery(request, sent, csrf_token(secret, given or principal.workspace if several else None))
    elsewhere = given not in (None, principal.workspace) and place.named is None and place.object is None
    if elsewhere and not anywhere:
        raise Forbidden("You no longer belong to the workspace of the page that sent this. Nothing was done.")
    request.state.csrf = csrf_token(secret, principal.workspace if several else None)
    return principal


def _place(request: Request, given: UUID | None) -> Place:
    """Which workspace a request is about: the one in its path, that of an object in it, or that of its page."""
    params = request.path_params
    if named := params.get("ws"):
        return Place(named=named if NAMED.fullmatch(named) else NOWHERE, given=given)
    for name, prefix in OBJECTS:
        if text := params.get(name):
            with suppress(NotFound):
                return Place(kind=prefix, object=parse_id(prefix, text), given=given)
    return Place(given=given)


def bearer_token(sent: str | None) -> str:
    """The token in an Authorization header. Raises Unauthenticated."""
    if not sent:
        raise Unauthenticated(f"This needs a credential and none was sent. {HOW_TO}")
    scheme, _, token = sent.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated(f"The Authorization header is not of the form 'Bearer …'. {HOW_TO}")
    return token.strip()


def check_workspace(principal: Principal, named: str, asked: str | None = None) -> None:
    """Raise NotFound where the workspace that is named, `asked` for by another handle, is not the principal's."""
    if not _is_called(principal, named):
        raise NotFound(
            f"There is no workspace {(asked or named)[:80]!r} for this credential; it reaches "
            f"{principal.workspace_handle!r}."
        )


def _is_called(principal: Principal, named: str) -> bool:
    return named in (principal.workspace_handle, format_id("ws", principal.workspace))


def check_home(principal: Principal, home: UUID) -> None:
    """Raise Forbidden unless the principal is of the home workspace, which is whoever's runs the installation."""
    if principal.workspace != home:
        raise Forbidden(
            "This is the whole installation's, and only whoever runs it can do it: use a credential of its first "
            "workspace."
        )


def sent_origin(request: Request) -> str | None:
    """The Origin that a browser sent, None without one. Raises OriginNotAllowed for several."""
    sent = request.headers.getlist("origin")
    if len(sent) > 1:
        raise OriginNotAllowed(f"This request names {len(sent)} origins; a browser sends one.")
    return sent[0] if sent else None


_PUBLIC, _DOOR = Public(), Public(guests=True)
