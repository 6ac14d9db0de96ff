"""Authorisation, declared on the route: `requires("write:agents")`, or `public()` for all the world."""

from typing import Any, Literal, cast, get_args

from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from porch.contract.errors import Forbidden, NotFound, Unauthenticated
from porch.contract.ids import format_id
from porch.contract.principal import STRONGER, Principal, Verb
from porch.http.state import authenticate

HOW_TO = "Send the header 'Authorization: Bearer porch_pat_…'; the operator's token is in credentials.json."


class Requires(SecurityBase):
    """The dependency behind `requires`; the walk over the route table finds it by its type.

    A path with `{ws}` is answered for the credential's own workspace alone, named by handle or id.
    """

    def __init__(self, scope: str | None, on: Literal["object"] | None = None) -> None:
        verb, _, kind = (scope or "read:any").partition(":")
        if verb not in get_args(Verb) or not kind.isidentifier():
            raise ValueError(f"a scope is verb:kind, not {scope!r}")
        self.scope = scope
        self.verb: Verb = cast("Verb", verb)
        self.kind = kind
        self.on_object = on == "object"
        self.model = HTTPBearer(
            description="A personal access token: `porch_pat_…`.", bearerFormat="porch_pat"
        )
        self.scheme_name = "bearer"
        held = (self.verb, *STRONGER[self.verb])
        self._narrowed = tuple(f"{verb}:{named}:" for verb in held for named in (kind, "*"))

    async def __call__(self, request: Request) -> Principal:
        client = request.client
        principal = await authenticate(request)(bearer_token(request), client.host if client else None)
        check_workspace(principal, request.path_params.get("ws"))
        if self.scope and not principal.allows(self.verb, self.kind) and not self._has_narrowed(principal):
            raise Forbidden(f"This credential lacks the scope {self.scope!r}; use a token that has it.")
        return principal

    def _has_narrowed(self, principal: Principal) -> bool:
        return self.on_object and any(scope.startswith(self._narrowed) for scope in principal.scopes)


class Public:
    """The dependency behind `public`: it asks nothing."""

    async def __call__(self) -> None:
        return


def requires(scope: str | None = None, *, on: Literal["object"] | None = None) -> Any:
    """The principal of a request, which must hold `verb:kind`. For `Annotated[Principal, requires(…)]`.

    Without a scope any credential will do. With `on="object"` a credential narrowed to single objects
    (`verb:kind:id`) passes too; the service then checks the object it has loaded.
    """
    return Depends(Requires(scope, on))


def public() -> Any:
    """Declares that a route needs no credential. For `dependencies=[public()]`."""
    return Depends(_PUBLIC)


def bearer_token(request: Request) -> str:
    """The token of the Authorization header. Raises Unauthenticated."""
    sent = request.headers.get("authorization")
    if not sent:
        raise Unauthenticated(f"This needs a credential and none was sent. {HOW_TO}")
    scheme, _, token = sent.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated(f"The Authorization header is not of the form 'Bearer …'. {HOW_TO}")
    return token.strip()


def check_workspace(principal: Principal, named: str | None) -> None:
    """Raise NotFound where a path names a workspace that is not the principal's."""
    if named is None or named in (principal.workspace_handle, format_id("ws", principal.workspace)):
        return
    raise NotFound(
        f"There is no workspace {named[:80]!r} for this credential; it reaches {principal.workspace_handle!r}."
    )


_PUBLIC = Public()
