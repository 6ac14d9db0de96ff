"""The page of tokens: keys for programs, each with what it may do, until when, and where it was used last."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple

from fastapi import Path, Query, Request
from starlette.responses import Response

from porch.contract.errors import Conflict, Forbidden, InvalidInput, NotFound, PorchError
from porch.contract.ids import format_id, parse_id
from porch.contract.principal import Principal, Verb
from porch.http.auth import requires
from porch.http.forms import fields
from porch.http.pages import form, page_router, redirect, render
from porch.http.pagination import cut
from porch.http.state import authenticate, database, doors
from porch.identity import service, store
from porch.identity.confirmed import ConfirmationNeeded
from porch.identity.model import NamedAgent, Token
from porch.identity.tokens import MintedToken

router = page_router("tokens")

Reader = Annotated[Principal, requires("read:tokens")]
Writer = Annotated[Principal, requires("write:tokens")]

ROWS = 50
MOST_AGENTS = 200
LASTS = (("7", "7 days"), ("30", "30 days"), ("90", "90 days"), ("365", "a year"))
OVERLAPS = (("0", "ends at once"), ("3600", "goes on for an hour"), ("86400", "goes on for a day"))


class Choice(NamedTuple):
    """Something that a token may be allowed."""

    scope: str
    verb: Verb
    kind: str
    words: str
    usual: bool = False


CHOICES = (
    Choice("run:agents", "run", "agents", "Talk to agents", usual=True),
    Choice("read:agents", "read", "agents", "Look at agents", usual=True),
    Choice("read:conversations", "read", "conversations", "Read your conversations", usual=True),
    Choice("write:conversations", "write", "conversations", "Rename, share and delete your conversations"),
    Choice("write:agents", "write", "agents", "Make, change and publish agents"),
    Choice("write:tokens", "write", "tokens", "Make narrower tokens, which end with it"),
    Choice("admin:*", "admin", "*", "Everything that you may"),
)


@router.get("/tokens")
async def show_tokens(
    request: Request,
    principal: Reader,
    after: Annotated[str | None, Query(max_length=200)] = None,
    whose: Annotated[str, Query(max_length=20)] = "own",
) -> Response:
    """One's own tokens that still work, or with `whose=all` everybody's, for who administers them."""
    return await _page(request, principal, after=after, everybody=whose == "all")


@router.post("/tokens")
async def make_token(request: Request, principal: Writer) -> Response:
    """Makes a token, which is shown this once."""
    sent = await form(request)
    scopes = [value for name, value in await fields(request) if name == "scope"]
    agent, days = sent.get("agent", ""), sent.get("days", "")
    try:
        made = await service.create_token(
            principal,
            database(request),
            name=sent.get("name", ""),
            scopes=scopes,
            lifetime=timedelta(days=_chosen(days, LASTS, "A token lasts 7, 30, 90 or 365 days.")),
            agents=[agent] if agent and sent.get("as") != "agent" else None,
            agent=agent if agent and sent.get("as") == "agent" else None,
        )
    except ConfirmationNeeded:
        raise
    except (InvalidInput, Forbidden) as error:
        return await _page(request, principal, problem=error, sent=sent, chosen=scopes)
    return await _page(request, principal, made=made)


@router.post("/tokens/{token}/rotate")
async def rotate_token(request: Request, principal: Writer, token: Annotated[str, Path()]) -> Response:
    """Makes a token's successor, which is shown this once."""
    overlap = (await form(request)).get("overlap", "0")
    try:
        seconds = _chosen(overlap, OVERLAPS, "The token before ends at once, after an hour or after a day.")
        made = await service.rotate_token(
            principal, database(request), token, overlap=timedelta(seconds=seconds)
        )
    except (InvalidInput, Forbidden, Conflict, NotFound) as error:
        return await _page(request, principal, problem=error)
    authenticate(request).forget()
    return await _page(request, principal, made=made)


@router.post("/tokens/{token}/revoke")
async def revoke_token(request: Request, principal: Writer, token: Annotated[str, Path()]) -> Response:
    """Ends a token at once, and all below it."""
    try:
        await service.revoke_token(principal, database(request), token)
    except NotFound as error:
        return await _page(request, principal, problem=error)
    authenticate(request).forget()
    return redirect(request, "/tokens", flash="The token is revoked, with all that it made.")


def _words(scope: str, token: Token) -> str:
    """A scope without the ids of the agents, which are named beside it."""
    return scope.partition(":agt_")[0] if token.agents is not None else scope


def _chosen(sent: str, options: Sequence[tuple[str, str]], possible: str) -> int:
    if sent not in dict(options):
        raise InvalidInput(f"{possible} Choose one of these.")
    return int(sent)


async def _page(
    request: Request,
    principal: Principal,
    *,
    after: str | None = None,
    everybody: bool = False,
    made: tuple[Token, MintedToken] | None = None,
    problem: PorchError | None = None,
    sent: dict[str, str] | None = None,
    chosen: list[str] | None = None,
) -> Response:
    administers = principal.allows("admin", "tokens")
    everybody = everybody and administers
    before = parse_id("tok", after) if after else None
    rows = await service.list_tokens(
        principal, database(request), before=before, limit=ROWS + 1, own=not everybody
    )
    shown, last = cut(rows, ROWS)
    async with database(request).tenant(principal.workspace) as connection:
        agents = await store.list_agents(connection, principal.workspace, MOST_AGENTS)
    return render(
        request,
        "identity/tokens.html",
        problem.status if problem else 200,
        nav="tokens",
        tokens=[_view(principal, token, shown, agents, made) for token in shown],
        administers=administers and doors(request).multi_user,
        everybody=everybody,
        first=after is None,
        next_after=format_id("tok", last.id) if last else None,
        made=made[0] if made else None,
        secret=made[1].text if made else "",
        problem=problem.message if problem else "",
        sent=sent or {},
        choices=[
            (each, each.usual if chosen is None else each.scope in chosen)
            for each in CHOICES
            if principal.allows(each.verb, each.kind)
        ],
        agents=[
            ("", "All agents"),
            *((agent.handle, f"@{principal.workspace_handle}/{agent.handle}") for agent in agents),
        ],
        lasts=LASTS,
        overlaps=OVERLAPS,
        may_write=principal.allows("write", "tokens"),
        sheets=["people"],
    )


def _view(
    principal: Principal,
    token: Token,
    shown: Sequence[Token],
    agents: list[NamedAgent],
    made: tuple[Token, MintedToken] | None,
) -> dict[str, Any]:
    handles = {agent.id: f"@{principal.workspace_handle}/{agent.handle}" for agent in agents}
    above = next((each.name for each in shown if token.line and each.id == token.line[-1]), "another token")
    return {
        "id": format_id("tok", token.id),
        "token": token,
        "scopes": sorted({_words(scope, token) for scope in token.scopes}),
        "new": made is not None and made[0].id == token.id,
        "ended": token.expires_at is not None and token.expires_at <= datetime.now(UTC),
        "above": above if token.line else "",
        "stands_for": handles.get(token.agent_id, "an agent") if token.agent_id else "",
        "reaches": [handles.get(agent, format_id("agt", agent)) for agent in token.agents or ()],
        "own": token.user_id == principal.id,
        "rotates": token.user_id == principal.id and token.expires_at is not None and not token.replaced_by,
    }
