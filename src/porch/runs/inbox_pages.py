"""`/inbox`: what waits for a person's word. Every form works without scripts."""

from typing import Annotated, Any, cast

from fastapi import Path, Query, Request
from starlette.responses import Response

from porch.contract.errors import PorchError
from porch.contract.events import Decision
from porch.contract.ids import format_id, parse_id
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.pages import form, page_router, redirect, render
from porch.http.pagination import cut
from porch.runs.approvals import Approval
from porch.runs.inbox import may_decide
from porch.runs.service import Runs

router = page_router("inbox")
Reader = Annotated[Principal, requires("read:conversations")]
Decider = Annotated[Principal, requires("run:agents", on="object")]
ROWS = 30
SHOWN_CHARACTERS = 20_000
SAID = {"approve": "Approved. The answer goes on.", "deny": "Denied. The agent is told, and goes on."}


@router.get("/inbox")
async def show_inbox(
    request: Request,
    principal: Reader,
    state: str = "waiting",
    cursor: Annotated[str | None, Query(max_length=80)] = None,
) -> Response:
    """The calls that wait for a decision, or those that were decided, newest first."""
    return await _page(request, principal, decided=state == "decided", cursor=cursor)


@router.post("/inbox/{approval}")
async def decide(request: Request, principal: Decider, approval: Annotated[str, Path()]) -> Response:
    """Approves or denies one; of what is too late or not allowed the page says so."""
    sent = await form(request)
    decision: Decision = "approve" if sent.get("decision") == "approve" else "deny"
    inbox = _runs(request).inbox
    try:
        found = await inbox.get(principal, parse_id("apr", approval))
        await inbox.resolve(principal, found.run, found.id, decision, sent.get("note", "").strip() or None)
    except PorchError as error:
        if not principal.allows("read", "conversations"):
            raise  # the page lists what waits, and this credential may decide without reading
        return await _page(
            request, principal, decided=False, cursor=None, status=error.status, problem=error.message
        )
    return redirect(request, "/inbox", flash=SAID[decision])


async def _page(
    request: Request,
    principal: Principal,
    *,
    decided: bool,
    cursor: str | None,
    status: int = 200,
    problem: str = "",
) -> Response:
    before = parse_id("apr", cursor) if cursor else None
    rows = await _runs(request).inbox.list_approvals(principal, before, ROWS + 1, decided=decided)
    shown, last = cut(rows, ROWS)
    return render(
        request,
        "inbox/list.html",
        status,
        nav="inbox",
        decided=decided,
        first=cursor is None,
        approvals=[_view(principal, approval) for approval in shown],
        next_cursor=format_id("apr", last.id) if last else None,
        problem=problem,
    )


def _view(principal: Principal, approval: Approval) -> dict[str, Any]:
    return {
        "id": format_id("apr", approval.id),
        "name": approval.name,
        "agent": f"@{principal.workspace_handle}/{approval.handle}",
        "chat": f"/chat/{format_id('conv', approval.conversation)}",
        "shown": approval.canonical[:SHOWN_CHARACTERS],
        "left_out": max(0, len(approval.canonical) - SHOWN_CHARACTERS),
        "reason": approval.reason,
        "requested_at": approval.requested_at,
        "expires_at": approval.expires_at,
        "decision": approval.decision,
        "decided_by": "you" if approval.decided_by == principal.label else approval.decided_by,
        "decided_at": approval.decided_at,
        "note": approval.note,
        "may_decide": approval.decision is None and may_decide(principal, approval),
    }


def _runs(request: Request) -> Runs:
    return cast("Runs", request.app.state.runs)
