"""Pages of versions: publishing a draft, the list, one version, and the difference between two."""

import re
from typing import Annotated

from fastapi import Request
from starlette.responses import Response

from porch.agents.editor import read_revision
from porch.agents.legible import legible
from porch.agents.model import Agent, StaleRevision, Version
from porch.agents.service import Agents
from porch.agents.views import (
    agent_path,
    agents_of,
    definition_view,
    difference_view,
    heading,
    may_write,
    show,
    values_of,
    version_view,
    warnings_of,
)
from porch.contract.definition import Definition, content_hash
from porch.contract.errors import Conflict, InvalidInput, NotFound
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.pages import form, page_router, redirect
from porch.http.pagination import PageRequest, cut, encode_cursor

router = page_router("versions")

AgentReader = Annotated[Principal, requires("read:agents", on="object")]
AgentWriter = Annotated[Principal, requires("write:agents", on="object")]

VERSIONS = 50
SPAN = re.compile(r"(\d{1,9}|draft)\.\.(\d{1,9}|draft)", re.ASCII)


@router.get("/agents/{agent}/publish")
async def review_draft(request: Request, principal: AgentWriter, agent: str) -> Response:
    """What a publication would change, and its form."""
    found, latest = await _with_latest(request, principal, agent)
    return await _review(request, principal, found, latest)


@router.post("/agents/{agent}/versions")
async def publish_draft(request: Request, principal: AgentWriter, agent: str) -> Response:
    """Makes the draft a version, if it is still the one that was looked at."""
    sent = await form(request)
    try:
        found, version, new, _ = await agents_of(request).publish(
            principal, agent, note=sent.get("note", "").strip(), revision=read_revision(sent)
        )
    except (InvalidInput, Conflict) as error:
        found, latest = await _with_latest(request, principal, agent)
        return await _review(request, principal, found, latest, note=sent.get("note", ""), error=error)
    said = (
        f"Version {version.number} is published; it answers from the next message on."
        if new
        else f"The draft is version {version.number} already; nothing was published."
    )
    return redirect(request, agent_path(found), flash=said)


@router.get("/agents/{agent}/versions")
async def list_versions(
    request: Request, principal: AgentReader, agent: str, cursor: str | None = None
) -> Response:
    """Published versions, newest first."""
    before = PageRequest(VERSIONS, cursor).after_number("versions")
    agents = agents_of(request)
    found, rows = await agents.versions(principal, agent, before=before, limit=VERSIONS + 1)
    shown, last = cut(rows, VERSIONS)
    return show(
        request,
        "versions",
        agent=await heading(request, principal, found),
        versions=[version_view(version) for version in shown],
        next_cursor=encode_cursor("versions", last.number) if last else None,
    )


@router.get("/agents/{agent}/versions/{span}")
async def show_versions(request: Request, principal: AgentReader, agent: str, span: str) -> Response:
    """One version (`3`), or the difference of two (`2..3`, `3..draft`)."""
    agents = agents_of(request)
    if re.fullmatch(r"\d{1,9}", span, re.ASCII):
        found, version = await agents.version(principal, agent, int(span))
        return show(
            request,
            "version",
            agent=await heading(request, principal, found),
            published=version_view(version),
            fields=definition_view(version.definition),
            is_draft=version.content_hash == content_hash(found.draft),
            may_write=may_write(principal, found),
        )
    match = SPAN.fullmatch(span)
    if match is None:
        raise NotFound(
            f"{span[:60]!r} names no versions. Write two numbers such as 1..2, or 2..draft for the draft."
        )
    found, old = await _side(agents, principal, agent, match[1])
    _, new = await _side(agents, principal, agent, match[2])
    return show(
        request,
        "difference",
        agent=await heading(request, principal, found),
        old=match[1],
        new=match[2],
        differences=difference_view(old, new),
    )


@router.post("/agents/{agent}/versions/{number}/restore")
async def restore_version(request: Request, principal: AgentWriter, agent: str, number: int) -> Response:
    """Makes a version's definition the draft again, under the agent's present handle."""
    agents = agents_of(request)
    sent = await form(request)
    found, version = await agents.version(principal, agent, max(0, min(number, 10**9)))
    definition = {**values_of(version.definition), "name": found.handle}
    if read_revision(sent) != found.revision:
        said = "The draft was changed since you looked, so it was left alone. This is the difference now."
        return redirect(request, f"{agent_path(found)}/versions/draft..{version.number}", flash=said)
    found, _ = await agents.replace(principal, agent, definition, found.revision)
    said = f"Version {version.number} is the draft again. Publish it to let it answer."
    return redirect(request, agent_path(found), flash=said)


async def _review(
    request: Request,
    principal: Principal,
    agent: Agent,
    latest: Version | None,
    *,
    note: str = "",
    error: InvalidInput | Conflict | None = None,
) -> Response:
    return show(
        request,
        "publish",
        error.status if error else 200,
        agent=await heading(request, principal, agent),
        note=note,
        error=legible(error.message) if error else "",
        stale=isinstance(error, StaleRevision),
        latest=version_view(latest) if latest else None,
        differences=difference_view(latest.definition, agent.draft) if latest else [],
        fields=[] if latest else definition_view(agent.draft),
        warnings=warnings_of(request, principal, agent.draft),
    )


async def _with_latest(request: Request, principal: Principal, agent: str) -> tuple[Agent, Version | None]:
    agents = agents_of(request)
    found = await agents.read(principal, agent)
    if found.latest_version is None:
        return found, None
    return await agents.version(principal, agent, found.latest_version)


async def _side(agents: Agents, principal: Principal, agent: str, named: str) -> tuple[Agent, Definition]:
    """One side of a difference: a version's definition or the draft."""
    if named == "draft":
        found = await agents.read(principal, agent)
        return found, found.draft
    found, version = await agents.version(principal, agent, int(named))
    return found, version.definition
