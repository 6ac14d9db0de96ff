"""The page of an agent's embedding: the sites, what to put into their pages, and the way to end it."""

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Request
from starlette.responses import Response

from porch.agents.embedding import Embedding, NotPublished
from porch.agents.embedding_routes import change_origins
from porch.agents.legible import legible
from porch.agents.views import View, agent_path, agents_of, heading, may_write, show
from porch.contract.errors import InvalidInput
from porch.contract.principal import Principal
from porch.http.auth import requires
from porch.http.hosts import LOCAL, outer_url
from porch.http.pages import form, page_router, redirect
from porch.http.state import database

router = page_router("embedding")

AgentReader = Annotated[Principal, requires("read:agents", on="object")]
AgentWriter = Annotated[Principal, requires("write:agents", on="object")]


@router.get("/agents/{agent}/embed")
async def show_embedding(request: Request, principal: AgentReader, agent: str) -> Response:
    """Where the agent is embedded, and how."""
    _, origins = await Embedding(database(request)).read(principal, agent)
    return await _page(request, principal, agent, origins, "\n".join(origins))


@router.post("/agents/{agent}/embed")
async def change_embedding(request: Request, principal: AgentWriter, agent: str) -> Response:
    """Keeps the sites, one a line, or with `off` none; what cannot be kept comes back as it was typed."""
    sent = await form(request)
    off, typed = "off" in sent, sent.get("origins", "")
    # Copied from the address bar, a site's name ends in a slash.
    wanted = [] if off else [line.strip().removesuffix("/") for line in typed.split("\n") if line.strip()]
    try:
        kept = await change_origins(request, principal, agent, wanted)
    except (InvalidInput, NotPublished) as error:
        _, origins = await Embedding(database(request)).read(principal, agent)
        return await _page(request, principal, agent, origins, typed, error)
    found = await agents_of(request).read(principal, agent)
    if not kept:
        said = "No site embeds it any more: its visitors there are out." if off else "No site embeds it."
    else:
        said = f"It may be embedded in {len(kept)} site{'' if len(kept) == 1 else 's'}."
    return redirect(request, f"{agent_path(found)}/embed", flash=said)


async def _page(
    request: Request,
    principal: Principal,
    agent: str,
    origins: Sequence[str],
    typed: str,
    error: InvalidInput | NotPublished | None = None,
) -> Response:
    found = await agents_of(request).read(principal, agent)
    base = outer_url(request)
    return show(
        request,
        "embed",
        error.status if error else 200,
        agent=await heading(request, principal, found),
        origins=[legible(origin) for origin in origins],
        typed=typed,
        errors=_errors(error) if error else [],
        snippet=_snippet(base, f"@{principal.workspace_handle}/{found.handle}"),
        server=base,
        near=urlsplit(base).hostname in {name.strip("[]") for name in LOCAL},
        plain=base.startswith("http:"),
        may_write=may_write(principal, found),
    )


def _snippet(base: str, address: str) -> str:
    return (
        f'<script type="module" src="{base}/embed.js"></script>\n<porch-chat agent="{address}"></porch-chat>'
    )


def _errors(error: InvalidInput | NotPublished) -> list[View]:
    listed = error.errors if isinstance(error, InvalidInput) else []
    sentences = [each["detail"] for each in listed if "detail" in each and each["detail"].endswith(".")]
    return [
        {"field": "origins", "label": "Sites", "text": legible(text)} for text in sentences or [error.message]
    ]
