"""Pages that belong to no room: home, the mark, and what a phone's home screen asks for."""

from typing import Annotated

import msgspec
from fastapi import Request
from starlette.responses import Response

from porch.agents.conversation_views import conversation_view
from porch.agents.conversations import Conversations
from porch.agents.model import Hit
from porch.agents.views import agent_view, agents_of
from porch.contract.principal import Principal
from porch.http.auth import public, requires
from porch.http.pages import page_router, render
from porch.http.state import database
from porch.web.home import first_run

router = page_router("home")

RECENT, CARDS = 6, 6
A_DAY = {"Cache-Control": "public, max-age=86400"}
# Drawn for 16 pixels as for 512, and for both of a browser's colour schemes.
FAVICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><style>
.h{stroke:#1d4f4a}.l{fill:#d08a1e}@media(prefers-color-scheme:dark){.h{stroke:#e6efe9}.l{fill:#f2b24c}}</style>
<path class="h" d="M3.5 14.5 16 5l12.5 9.5M7 12.5V28M25 12.5V28M3.5 28h25" fill="none" stroke-width="3"
 stroke-linecap="round" stroke-linejoin="round"/><circle class="l" cx="16" cy="18" r="4.5"/></svg>
"""
MANIFEST = msgspec.json.encode(
    {
        "name": "Porch",
        "short_name": "Porch",
        "description": "Public AI agents, on your own porch.",
        "start_url": "/",
        "display": "minimal-ui",
        "background_color": "#f7f4ec",
        "theme_color": "#1d4f4a",
        "icons": [{"src": "/favicon.svg", "sizes": "any", "type": "image/svg+xml", "purpose": "any"}],
    }
)


@router.get("/")
async def get_home(request: Request, principal: Annotated[Principal, requires("read:agents")]) -> Response:
    """What one was last doing; where nothing is there yet, the way to a first agent."""
    agents = agents_of(request)
    found = await agents.page(principal, before=None, limit=CARDS + 1)
    if not found and principal.allows("write", "agents"):
        return render(request, "web/first.html", nav="home", **await first_run(request, principal.workspace))
    published = await agents.published(principal, found[:CARDS])
    recent: list[Hit] = []
    if principal.allows("read", "conversations"):
        recent = await Conversations(database(request)).own(principal, limit=RECENT + 1, begun=True)
    return render(
        request,
        "web/home.html",
        nav="home",
        agents=[agent_view(principal, agent, published.get(agent.id)) for agent in found[:CARDS]],
        more_agents=len(found) > CARDS,
        conversations=[conversation_view(principal, hit.conversation) for hit in recent[:RECENT]],
        more_conversations=len(recent) > RECENT,
        may_write=principal.allows("write", "agents"),
    )


@router.get("/favicon.svg", dependencies=[public()])
async def get_favicon() -> Response:
    """The mark."""
    return Response(FAVICON, headers=A_DAY, media_type="image/svg+xml")


@router.get("/manifest.webmanifest", dependencies=[public()])
async def get_manifest() -> Response:
    """How Porch stands on a home screen."""
    return Response(MANIFEST, headers=A_DAY, media_type="application/manifest+json")
