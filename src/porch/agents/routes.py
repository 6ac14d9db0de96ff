"""Agents and their versions over HTTP."""

import re
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request
from starlette.responses import Response

from porch.agents.bodies import (
    AgentBody,
    ChangedAgentBody,
    Publication,
    PublishedVersionBody,
    VersionBody,
    agent_body,
    definition_body,
    patch_body,
    version_body,
)
from porch.agents.conversation_routes import router as conversations
from porch.agents.embedding_routes import router as embedding
from porch.agents.model import Agent
from porch.agents.views import agents_of
from porch.contract.errors import InvalidInput
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.idempotency import IDEMPOTENT, once
from porch.http.pagination import Page, Paging, cut, encode_cursor
from porch.http.routing import api_router

router: APIRouter = api_router("/api/v1", "agents")

AGENTS = "/workspaces/{ws}/agents"
AGENT = AGENTS + "/{agent}"
VERSIONS = AGENT + "/versions"

Reader = Annotated[Principal, requires("read:agents")]
AgentReader = Annotated[Principal, requires("read:agents", on="object")]
Writer = Annotated[Principal, requires("write:agents")]
AgentWriter = Annotated[Principal, requires("write:agents", on="object")]
AgentName = Annotated[str, Path(description="The agent, by handle or id.", examples=["helper"])]
IfMatch = Annotated[
    str | None, Header(description='The ETag of the draft you have read, such as `"3"`; another is 412.')
]


@router.post(
    AGENTS,
    status_code=201,
    response_model=ChangedAgentBody,
    operation_id="createAgent",
    summary="Create an agent",
    openapi_extra={**IDEMPOTENT, "requestBody": definition_body()},
)
async def create_agent(request: Request, principal: Writer) -> Response:
    """Takes a definition; it becomes the draft. An unknown key is an error, an unset key of a provider a warning."""

    async def write() -> Response:
        agent, warnings = await agents_of(request).create(principal, await request.json())
        return _changed(principal, agent, warnings, 201)

    return await once(request, principal, write)


@router.get(AGENTS, operation_id="listAgents", summary="List agents")
async def list_agents(request: Request, principal: Reader, paging: Paging) -> Page[AgentBody]:
    """The workspace's agents, newest first."""
    rows = await agents_of(request).page(principal, before=paging.after_id("agents"), limit=paging.limit + 1)
    shown, last = cut(rows, paging.limit)
    return Page[AgentBody](
        items=[agent_body(principal, row) for row in shown],
        next_cursor=encode_cursor("agents", last.id) if last else None,
    )


@router.get(AGENT, operation_id="getAgent", summary="Read an agent", response_model=AgentBody)
async def get_agent(request: Request, principal: AgentReader, agent: AgentName) -> Response:
    """The agent with its draft; the ETag is the draft's revision."""
    found = await agents_of(request).read(principal, agent)
    return _with_etag(found, agent_body(principal, found).model_dump_json(), 200)


@router.put(
    AGENT,
    response_model=ChangedAgentBody,
    operation_id="replaceAgent",
    summary="Replace an agent's draft",
    openapi_extra={"requestBody": definition_body()},
)
async def replace_agent(
    request: Request, principal: AgentWriter, agent: AgentName, if_match: IfMatch = None
) -> Response:
    """Takes a whole definition; another `name` renames the agent. Published versions stay as they are."""
    changed, warnings = await agents_of(request).replace(
        principal, agent, await request.json(), _revision(if_match)
    )
    return _changed(principal, changed, warnings)


@router.patch(
    AGENT,
    response_model=ChangedAgentBody,
    operation_id="changeAgent",
    summary="Change an agent's draft",
    openapi_extra={"requestBody": patch_body()},
)
async def change_agent(
    request: Request, principal: AgentWriter, agent: AgentName, if_match: IfMatch = None
) -> Response:
    """Takes the keys to change as a JSON merge patch."""
    changed, warnings = await agents_of(request).patch(
        principal, agent, await request.json(), _revision(if_match)
    )
    return _changed(principal, changed, warnings)


@router.delete(AGENT, status_code=204, operation_id="deleteAgent", summary="Delete an agent")
async def delete_agent(request: Request, principal: AgentWriter, agent: AgentName) -> None:
    """Removes it with its versions, conversations, messages and runs; 409 while a run is at work."""
    await agents_of(request).delete(principal, agent)


@router.post(
    VERSIONS,
    status_code=201,
    response_model=PublishedVersionBody,
    responses={
        200: {"model": PublishedVersionBody, "description": "The draft is the latest version already."}
    },
    operation_id="publishVersion",
    summary="Publish the draft",
    openapi_extra=IDEMPOTENT,
)
async def publish_version(
    request: Request,
    principal: AgentWriter,
    agent: AgentName,
    publication: Publication | None = None,
    if_match: IfMatch = None,
) -> Response:
    """Makes the draft an immutable version, which answers from the next message on."""

    async def write() -> Response:
        found, version, new, warnings = await agents_of(request).publish(
            principal, agent, note=publication.note if publication else "", revision=_revision(if_match)
        )
        record = version_body(principal, found.handle, version).model_dump()
        body = PublishedVersionBody(**record, warnings=warnings)
        return Response(body.model_dump_json(), 201 if new else 200, media_type="application/json")

    return await once(request, principal, write)


@router.get(VERSIONS, operation_id="listVersions", summary="List an agent's versions")
async def list_versions(
    request: Request, principal: AgentReader, agent: AgentName, paging: Paging
) -> Page[VersionBody]:
    """Published versions, newest first."""
    found, rows = await agents_of(request).versions(
        principal, agent, before=paging.after_number("versions"), limit=paging.limit + 1
    )
    shown, last = cut(rows, paging.limit)
    return Page[VersionBody](
        items=[version_body(principal, found.handle, row) for row in shown],
        next_cursor=encode_cursor("versions", last.number) if last else None,
    )


@router.get(VERSIONS + "/{number}", operation_id="getVersion", summary="Read a version")
async def get_version(
    request: Request,
    principal: AgentReader,
    agent: AgentName,
    number: Annotated[int, Path(ge=1, le=2**31 - 1, examples=[2])],
) -> VersionBody:
    """One immutable version."""
    found, version = await agents_of(request).version(principal, agent, number)
    return version_body(principal, found.handle, version)


router.routes.extend(conversations.routes)
router.routes.extend(embedding.routes)


def _changed(principal: Principal, agent: Agent, warnings: list[str], status: int = 200) -> Response:
    body = ChangedAgentBody(**agent_body(principal, agent).model_dump(), warnings=warnings)
    return _with_etag(agent, body.model_dump_json(), status)


def _with_etag(agent: Agent, body: str, status: int) -> Response:
    return Response(body, status, {"ETag": f'"{agent.revision}"'}, "application/json")


def _revision(if_match: str | None) -> int | None:
    """The revision that If-Match names, None for any (RFC 9110, section 13.1.1)."""
    if if_match is None or if_match.strip() == "*":
        return None
    match = re.fullmatch(r'\s*(?:W/)?"?(\d{1,9})"?\s*', if_match, re.ASCII)
    if not match:
        raise InvalidInput(
            f"If-Match is {if_match[:80]!r}; send the agent's ETag as it came, such as '\"3\"', or leave it out.",
            errors=[{"parameter": "If-Match", "detail": "not an ETag of an agent"}],
        )
    return int(match[1])
