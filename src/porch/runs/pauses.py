"""Where a run stops to wait: which calls a person must approve, and whether there is quota for another step."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import msgspec

from porch.contract.canonical import canonical_hash, canonical_json
from porch.contract.definition import APPROVAL_SECONDS, Definition
from porch.contract.errors import InvalidInput
from porch.contract.events import AnyEvent, ApprovalRequested, RunPaused, ToolCallFinished
from porch.contract.ids import format_id, new_uuid
from porch.plugins.tool import Tool
from porch.runs.transcript import Transcript


class Gate(Protocol):
    """What the engine asks before it goes on."""

    async def closed(self, workspace: UUID) -> bool:
        """Whether the workspace has no quota for another step."""
        ...

    async def now(self) -> datetime:
        """The database's time, by which approvals expire."""
        ...


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that a person must approve: the canonical text of its arguments, and why it is asked for."""

    call: ToolCallFinished
    canonical: str
    reason: str


def find_asks(
    calls: Sequence[ToolCallFinished], tools: dict[str, Tool], definition: Definition, transcript: Transcript
) -> list[Ask]:
    """The calls that wait for a person and that nobody was asked about yet.

    One whose arguments do not fit its tool is none of them: it fails by itself.
    """
    named = definition.approval.tools if definition.approval else []
    asks: list[Ask] = []
    for call in calls:
        tool = tools.get(call.name)
        if tool is None or call.arguments is None or call.call in transcript.requests:
            continue
        if tool.approval or call.name in named:
            try:
                canonical = canonical_json(tool.settle(call.arguments))
            except InvalidInput:
                continue
            asks.append(Ask(call, canonical, _reason(call.name, by_tool=tool.approval)))
    return asks


def pause_for(
    asks: Sequence[Ask], definition: Definition, now: datetime
) -> tuple[list[AnyEvent], bytes, datetime]:
    """The events of a pause for approval, its rows as JSON, and when it expires."""
    terms = definition.approval
    seconds = (terms and terms.expires_in) or APPROVAL_SECONDS
    expires = now + timedelta(seconds=seconds)
    events: list[AnyEvent] = []
    rows: list[dict[str, object]] = []
    for ask in asks:
        identifier, digest = new_uuid(), canonical_hash(ask.canonical)
        events.append(
            ApprovalRequested(
                step=ask.call.step,
                approval=format_id("apr", identifier),
                call=ask.call.call,
                name=ask.call.name,
                arguments=msgspec.json.decode(ask.canonical),
                arguments_hash=digest,
                reason=ask.reason,
                expires=expires,
            )
        )
        rows.append(
            {
                "id": identifier,
                "call": ask.call.call,
                "name": ask.call.name,
                "arguments": ask.canonical,
                "arguments_hash": digest,
                "reason": ask.reason,
            }
        )
    events.append(RunPaused(reason="approval"))
    return events, msgspec.json.encode(rows), expires


def _reason(name: str, *, by_tool: bool) -> str:
    if by_tool:
        return f"The tool {name!r} asks before each call."
    return f"This agent asks before each call of {name!r}."
