"""The audit trail over HTTP, and as a page."""

from datetime import datetime
from typing import Annotated, Any, cast

from fastapi import Query, Request
from pydantic import Field
from starlette.responses import Response

from porch.contract.errors import InvalidInput, NotFound
from porch.contract.ids import format_id, parse_id
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.body_model import BodyModel
from porch.http.pages import page_router, render
from porch.http.pagination import Page, Paging, cut, encode_cursor
from porch.http.routing import api_router
from porch.http.state import database
from porch.identity import audit
from porch.identity.audit import AuditEvent
from porch.identity.browsers import describe_browser

router = api_router("/api/v1", "audit")
pages = page_router("audit")

Keeper = Annotated[Principal, requires("admin:workspaces")]
ROWS = 50
WORDS = {
    "agent:create": "made an agent",
    "agent:delete": "deleted an agent",
    "agent:publish": "published an agent",
    "access:deny": "was refused",
    "conversation:open": "opened a conversation to members",
    "conversation:close": "closed a conversation to members",
    "identity:link": "added a provider to sign in with",
    "identity:unlink": "took away a provider to sign in with",
    "invitation:create": "made an invitation",
    "invitation:revoke": "revoked an invitation",
    "invitation:accept": "used an invitation",
    "member:join": "joined",
    "member:change": "changed a member's role",
    "member:remove": "removed a member",
    "member:leave": "left",
    "password:set": "set a password",
    "recovery:set": "made recovery codes",
    "recovery:use": "used a recovery code",
    "session:begin": "signed in",
    "session:end": "ended a session",
    "share:create": "shared a conversation by a link",
    "share:revoke": "revoked a shared link",
    "site:add": "let a site embed an agent",
    "site:remove": "took a site off an agent's list",
    "token:create": "made a token",
    "token:revoke": "revoked a token",
    "token:rotate": "rotated a token",
    "token:end": "ended a token with its membership or agent",
    "workspace:create": "made this workspace",
    "workspace:change": "changed this workspace",
}


class AuditEventBody(BodyModel):
    """Something that was done in the workspace, or refused."""

    id: str
    at: datetime
    tag: str = Field(examples=["api:token:create"], description="Where it came from, to what, and what.")
    outcome: str = Field(description="`done`, `failed` for a way in that did not open, or `denied`.")
    actor: str | None = Field(
        examples=["usr_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b"], description="Who; null for Porch itself."
    )
    actor_name: str
    credential: str | None = Field(description="The token or session that was used.")
    credential_hash: str | None = Field(description="The SHA-256 under which that is kept; never the token.")
    address: str | None
    object: str | None = Field(description="What it was done to.")
    detail: dict[str, Any]


@router.get(
    "/workspaces/{ws}/audit", operation_id="listAuditEvents", summary="Read the workspace's audit trail"
)
async def list_audit_events(
    request: Request,
    principal: Keeper,
    paging: Paging,
    kind: Annotated[str, Query(max_length=40, description="Only what was done to these: `token`…")] = "",
    actor: Annotated[str, Query(max_length=80, description="Only what they did: `usr_…`.")] = "",
) -> Page[AuditEventBody]:
    """Sign-ins, grants, tokens, members and refusals, newest first; nobody who serves can change or remove one."""
    rows = await audit.list_events(
        principal,
        database(request),
        kind=kind,
        actor=actor,
        before=paging.after_id("audit"),
        limit=paging.limit + 1,
    )
    shown, last = cut(rows, paging.limit)
    return Page[AuditEventBody](
        items=[_body(event) for event in shown], next_cursor=encode_cursor("audit", last.id) if last else None
    )


@pages.get("/audit")
async def show_audit(
    request: Request,
    principal: Keeper,
    kind: Annotated[str, Query(max_length=40)] = "",
    actor: Annotated[str, Query(max_length=80)] = "",
    after: Annotated[str | None, Query(max_length=80)] = None,
) -> Response:
    """What happened in the workspace, newest first."""
    problem, rows = "", list[AuditEvent]()
    try:
        before = parse_id("aud", after) if after else None
        rows = await audit.list_events(
            principal, database(request), kind=kind, actor=actor, before=before, limit=ROWS + 1
        )
    except (InvalidInput, NotFound) as error:
        problem = error.message
    shown, last = cut(rows, ROWS)
    return render(
        request,
        "identity/audit.html",
        422 if problem else 200,
        nav="audit",
        events=[_view(event) for event in shown],
        kinds=[("", "Everything"), *((each, each) for each in audit.KINDS)],
        kind=kind,
        actor=actor,
        problem=problem,
        first=after is None,
        next_after=format_id("aud", last.id) if last else None,
        sheets=["people"],
    )


def _body(event: AuditEvent) -> AuditEventBody:
    return AuditEventBody(
        id=format_id("aud", event.id),
        at=event.at,
        tag=event.tag,
        outcome=event.outcome,
        actor=event.actor,
        actor_name=event.actor_name,
        credential=event.credential,
        credential_hash=event.credential_hash,
        address=event.address,
        object=event.object,
        detail=event.detail,
    )


def _view(event: AuditEvent) -> dict[str, Any]:
    what = event.tag.partition(":")[2]
    words = "could not sign in" if event.outcome == "failed" else WORDS.get(what, what.replace(":", " "))
    detail = {**event.detail}
    if browser := detail.get("browser"):
        detail["browser"] = describe_browser(browser)
    told = [f"{key.replace('_', ' ')}: {_plain(value)}" for key, value in detail.items() if value is not None]
    who = event.actor_name or ("Whoever joined" if what == "invitation:accept" else "Porch")
    return {"event": event, "words": words, "told": "; ".join(told), "who": who}


def _plain(value: Any) -> str:
    return " ".join(cast("list[str]", value)) if isinstance(value, list) else str(value)
