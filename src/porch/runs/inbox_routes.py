"""What waits for a person, and for quota, over HTTP."""

from datetime import datetime
from typing import Annotated, Literal, cast

from fastapi import Query, Request
from pydantic import ConfigDict, Field

from porch.contract.ids import parse_id
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.body_model import BodyModel
from porch.http.pagination import Page, Paging, cut, encode_cursor
from porch.http.routing import api_router
from porch.runs.approval_bodies import ApprovalBody, ResolveInput, approval_body
from porch.runs.quota import Quota
from porch.runs.service import Runs

router = api_router("/api/v1", "approvals")
Decider = Annotated[Principal, requires("run:agents", on="object", guests=True)]
Reader = Annotated[Principal, requires("read:conversations", guests=True)]
Admin = Annotated[Principal, requires("admin:workspaces")]


class QuotaBody(BodyModel):
    """How many tokens the workspace may use."""

    tokens: int | None = Field(description="In each period; null for no limit.", examples=[1_000_000])
    period: Literal["day", "month"]
    used: int = Field(description="Of this period, input and output together.")
    resets_at: datetime = Field(description="When the next period begins (UTC).")
    waiting: int = Field(description="How many runs wait for it.")


class QuotaInput(BodyModel):
    """A quota to set."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"tokens": 1_000_000, "period": "day"}]}
    )
    tokens: Annotated[int, Field(strict=True)] | None
    period: Literal["day", "month"] = "month"


@router.get("/approvals", operation_id="listApprovals", summary="List what waits for you")
async def list_approvals(
    request: Request,
    principal: Reader,
    paging: Paging,
    state: Annotated[
        Literal["waiting", "decided"], Query(description="What waits, or what was decided.")
    ] = "waiting",
) -> Page[ApprovalBody]:
    """Calls that wait for a person, newest first: those of your conversations, an admin's are all of the workspace."""
    before = paging.after_id("approvals")
    rows = await _runs(request).inbox.list_approvals(
        principal, before, paging.limit + 1, decided=state == "decided"
    )
    shown, last = cut(rows, paging.limit)
    cursor = encode_cursor("approvals", last.id) if last else None
    return Page(items=[approval_body(principal, one) for one in shown], next_cursor=cursor)


@router.get("/approvals/{approval}", operation_id="getApproval")
async def get_approval(request: Request, principal: Reader, approval: str) -> ApprovalBody:
    """One call that waits, or what was decided about it."""
    return approval_body(principal, await _runs(request).inbox.get(principal, parse_id("apr", approval)))


@router.post("/runs/{run}/approvals/{approval}", operation_id="resolveApproval")
async def resolve_approval(
    request: Request, principal: Decider, run: str, approval: str, body: ResolveInput
) -> ApprovalBody:
    """Approve or deny a call. The run goes on once the last of its calls is decided.

    The same decision again answers the same; another one than the first is a conflict that says who decided.
    """
    decided = await _runs(request).inbox.resolve(
        principal, parse_id("run", run), parse_id("apr", approval), body.decision, body.note
    )
    return approval_body(principal, decided)


@router.get("/workspaces/{ws}/quota", operation_id="getQuota")
async def get_quota(request: Request, principal: Admin, ws: str) -> QuotaBody:
    """The workspace's quota, and what was used of it."""
    return _quota(await _runs(request).quotas.get(principal))


@router.put("/workspaces/{ws}/quota", operation_id="putQuota")
async def put_quota(request: Request, principal: Admin, ws: str, body: QuotaInput) -> QuotaBody:
    """Set the quota. Runs that wait for it go on, oldest first, once there is some; the next period does so too."""
    return _quota(await _runs(request).quotas.put(principal, body.tokens, body.period))


def _runs(request: Request) -> Runs:
    return cast("Runs", request.app.state.runs)


def _quota(quota: Quota) -> QuotaBody:
    return QuotaBody(
        tokens=quota.tokens,
        period=quota.period,
        used=quota.used,
        resets_at=quota.resets_at,
        waiting=quota.waiting,
    )
