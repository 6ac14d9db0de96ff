"""Embedding over HTTP: an agent's origins, and the door where visitors of such sites come in."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import ConfigDict, Field
from starlette.responses import Response

from porch.agents.embedding import Admitted, Embedding, NotEmbeddedThere
from porch.contract.errors import RateLimited
from porch.contract.ids import format_id
from porch.contract.principal import Principal
from porch.http.addresses import caller_address
from porch.http.auth import public, requires, sent_origin
from porch.http.body_model import BodyModel
from porch.http.cross_origin import TELL_ANYBODY
from porch.http.problem import PROBLEMS, documented
from porch.http.routing import api_router
from porch.http.state import authenticate, database, sites

router: APIRouter = api_router("/api/v1", "embedding")
# Not of JsonRoutes: nothing of a stranger's body is read.
door = APIRouter(tags=["embedding"], responses=PROBLEMS)

EMBEDDING = "/workspaces/{ws}/agents/{agent}/embedding"
AgentName = Annotated[str, Path(description="The agent, by handle or id.", examples=["helper"])]


class EmbeddingBody(BodyModel):
    """The sites that may embed an agent."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"origins": ["https://example.com"]}]}
    )

    origins: list[str] = Field(
        max_length=200,
        description="Scheme and name of each, `https://example.com`, with a port where it is not the usual one; 50 at "
        "most. Without TLS only localhost, 127.0.0.1 and [::1]. Empty: embedded nowhere.",
    )


class EmbeddedAgentBody(BodyModel):
    """What a visitor may know of an agent, as its latest version has it."""

    name: str = Field(examples=["@ada/helper"])
    title: str = Field(examples=["Helper"], description="Its handle where it has none.")
    description: str = Field(examples=["Answers short questions and knows what time it is."])
    suggestions: list[str] = Field(examples=[["What day is it?"]], description="First messages to offer.")


class VisitBody(BodyModel):
    """A guest's token, for an hour."""

    token: str = Field(
        examples=["porch_gst_4kQx9Z…"], description="Good for this agent, on pages of this site."
    )
    expires_at: datetime
    guest: str = Field(examples=["gst_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b"])
    agent: EmbeddedAgentBody


@router.get(EMBEDDING, operation_id="getEmbedding", summary="Read where an agent is embedded")
async def get_embedding(
    request: Request, principal: Annotated[Principal, requires("read:agents", on="object")], agent: AgentName
) -> EmbeddingBody:
    """The origins of the sites that may embed the agent."""
    _, origins = await Embedding(database(request)).read(principal, agent)
    return EmbeddingBody(origins=origins)


@router.put(EMBEDDING, operation_id="replaceEmbedding", summary="Embed an agent in sites")
async def replace_embedding(
    request: Request,
    principal: Annotated[Principal, requires("write:agents", on="object")],
    agent: AgentName,
    wanted: EmbeddingBody,
) -> EmbeddingBody:
    """Takes all origins at once; they come back as browsers spell them. The agent must be published: 409.

    Guests of a site that is left out have no access any more.
    """
    return EmbeddingBody(origins=await change_origins(request, principal, agent, wanted.origins))


@door.post(
    "/@{ws}/{agent}/guests",
    status_code=201,
    operation_id="admitGuest",
    summary="Come in as a visitor of a site",
    dependencies=[public(guests=True)],
    response_model=VisitBody,
    responses={429: documented(429, RateLimited.code, "Too many new visitors came just now.")},
)
async def admit_guest(request: Request, ws: str, agent: str) -> Response:
    """For pages of sites that embed the agent (`Origin`): a token for an hour. Takes no body and no cookie.

    With the last token in `Authorization`, until 30 days after its end, the guest stays the same. 403
    `origin_not_allowed` for another site; 404 for an agent that is not there, or embedded nowhere.
    """
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    known_by = sent.strip() if scheme.lower() == "bearer" else None
    try:
        admitted = await Embedding(database(request)).admit(
            ws, agent, sent_origin(request), known_by=known_by, address=caller_address(request)
        )
    except NotEmbeddedThere:
        request.scope[TELL_ANYBODY] = True
        raise
    return Response(_visit(admitted).model_dump_json(), 201, media_type="application/json")


async def change_origins(request: Request, principal: Principal, agent: str, origins: list[str]) -> list[str]:
    """Make these an agent's origins, from the next request on."""
    _, kept = await Embedding(database(request)).replace(principal, agent, origins)
    authenticate(request).forget()
    sites(request).forget()
    return kept


def _visit(admitted: Admitted) -> VisitBody:
    definition, visit = admitted.definition, admitted.visit
    return VisitBody(
        token=visit.token,
        expires_at=visit.expires_at,
        guest=format_id("gst", visit.guest),
        agent=EmbeddedAgentBody(
            name=f"@{admitted.workspace}/{admitted.agent.handle}",
            title=definition.title or admitted.agent.handle,
            description=definition.description or "",
            suggestions=definition.questions,
        ),
    )
