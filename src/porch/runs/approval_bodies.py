"""Approvals as the API shows them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from porch.contract.ids import format_id
from porch.contract.principal import Principal
from porch.http.body_model import BodyModel
from porch.runs.approvals import Approval
from porch.runs.inbox import may_decide
from porch.runs.record import RunRecord

APPROVAL_ID = "apr_0199f3a1c2d47e10a5b6c7d8e9f00112"


class ApprovalBody(BodyModel):
    """A call that waits for a person, or what was decided about it."""

    id: str = Field(examples=[APPROVAL_ID])
    run: str
    conversation: str
    agent: str = Field(examples=["@home/hello"])
    call: str
    name: str = Field(examples=["clock"], description="The tool.")
    arguments: dict[str, Any] = Field(description="What the tool is called with, exactly.")
    canonical: str = Field(
        examples=['{"timezone":"Europe/Paris"}'],
        description="The same as one text: JSON with sorted keys. This is what runs; show this to people.",
    )
    arguments_hash: str = Field(examples=["sha256:…"], description="Of `canonical` in UTF-8.")
    reason: str
    requested_at: datetime
    expires_at: datetime = Field(description="Without a decision until then the call is denied.")
    decision: Literal["approve", "deny"] | None
    decided_by: str | None = Field(description="`user:usr_…`, `guest:gst_…`, or `system:expiry`.")
    decided_at: datetime | None
    note: str | None
    may_decide: bool = Field(description="Whether you may decide about it.")


class ResolveInput(BodyModel):
    """A decision about a call."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"decision": "approve"}]})
    decision: Literal["approve", "deny"]
    note: str | None = Field(default=None, description="What the model reads beside a denial.")


class Waits(BodyModel):
    """What a paused run waits for."""

    reason: Literal["approval", "quota"]
    since: datetime
    until: datetime | None = Field(description="When it goes on by itself: what is not approved is denied.")
    approvals: list[ApprovalBody] = Field(description="What nobody has decided; in `GET` of one run alone.")


def approval_body(principal: Principal, approval: Approval) -> ApprovalBody:
    """An approval as this principal sees it."""
    return ApprovalBody(
        id=format_id("apr", approval.id),
        run=format_id("run", approval.run),
        conversation=format_id("conv", approval.conversation),
        agent=f"@{principal.workspace_handle}/{approval.handle}",
        call=approval.call,
        name=approval.name,
        arguments=approval.arguments,
        canonical=approval.canonical,
        arguments_hash=approval.hash,
        reason=approval.reason,
        requested_at=approval.requested_at,
        expires_at=approval.expires_at,
        decision=approval.decision,
        decided_by=approval.decided_by,
        decided_at=approval.decided_at,
        note=approval.note,
        may_decide=approval.decision is None and may_decide(principal, approval),
    )


def waits_of(record: RunRecord) -> Waits | None:
    """What a paused run waits for, without its approvals."""
    if record.paused_for is None or record.paused_at is None:
        return None
    return Waits(reason=record.paused_for, since=record.paused_at, until=record.wake_at, approvals=[])
