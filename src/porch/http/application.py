"""The application that all doors share: rooms bring routers, this puts the common layers around them."""

from collections.abc import Iterable
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.middleware import Middleware
from starlette.responses import Response

from porch import __version__
from porch.http.auth import Requires, public
from porch.http.body import MAX_BODY_BYTES, BodyLimit
from porch.http.cross_origin import CrossOrigin, Preflight
from porch.http.door import Door
from porch.http.hosts import HostCheck
from porch.http.pages import add_page_handlers
from porch.http.pressure import Pressure
from porch.http.problem import add_problem_handlers
from porch.http.rendering import StaticUrl, plain_static
from porch.http.routing import check_declared
from porch.http.short_way import Application, ShortWay

DESCRIPTION = (
    "Agents, their conversations and their runs. Every failure is `application/problem+json` with a stable "
    "`code`; lists come in pages; writes take an `Idempotency-Key`. `x-porch-scope` names the scope an "
    "operation needs, `x-porch-home` that its credential must be of the installation's first workspace; those with "
    "`x-porch-guests` also take the tokens of embedded agents' guests, with `x-porch-agents` those of agents. What has "
    "`x-porch-anywhere` concerns the person, in whichever workspace."
)


def create_app(
    routers: Iterable[APIRouter],
    *,
    hosts: Iterable[str] = (),
    max_body_bytes: int = MAX_BODY_BYTES,
    static: StaticUrl = plain_static,
    pressure: Pressure | None = None,
) -> FastAPI:
    """An app with the routes of these routers, tried in that order.

    Set `app.state.database` and `app.state.authenticate` before it serves. `hosts` are the names it answers to
    besides the local ones; `static` gives pages the URLs of their files; under `pressure` large bodies are not
    taken. Raises SetupError when a route
    declares no authorisation.
    """
    routes = [route for router in (*routers, _documents) for route in router.routes]
    app = Application(
        title="Porch",
        version=__version__,
        description=DESCRIPTION,
        openapi_url=None,
        middleware=[
            Middleware(CrossOrigin),
            Middleware(Door),
            Middleware(HostCheck, names=tuple(hosts)),
            Middleware(Preflight),
            Middleware(BodyLimit, max_bytes=max_body_bytes, pressure=pressure),
            Middleware(ShortWay, routes=routes),
        ],
    )
    app.state.static = static
    add_problem_handlers(app)
    add_page_handlers(app)
    # Not include_router, whose routes are matched slowly; ours carry their prefixes themselves.
    app.router.routes.extend(routes)
    check_declared(app)
    return app


_documents = APIRouter(tags=["about"])


@_documents.get("/openapi.json", operation_id="getOpenapi", dependencies=[public()], include_in_schema=False)
async def get_openapi(request: Request) -> Response:
    """This interface as OpenAPI 3.1."""
    app: FastAPI = request.app
    if not hasattr(app.state, "openapi_bytes"):
        app.state.openapi_bytes = msgspec.json.encode(describe(app))
    return Response(app.state.openapi_bytes, media_type="application/json")


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the scope that each operation needs and the workspace of its path."""
    document = app.openapi()
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        path = str(context.path_format)
        needed = [d.call for d in route.dependant.dependencies if isinstance(d.call, Requires)]
        for method in route.methods or ():
            operation = document["paths"][path][method.lower()]
            if "{ws}" in path:
                operation.setdefault("parameters", []).insert(0, _WORKSPACE)
            if needed and needed[0].scope:
                operation["x-porch-scope"] = needed[0].scope
            if needed and needed[0].home:
                operation["x-porch-home"] = True
            if needed and needed[0].anywhere:
                operation["x-porch-anywhere"] = True
            if needed and needed[0].agents:
                operation["x-porch-agents"] = True
            if needed and needed[0].guests:
                operation["x-porch-guests"] = True
    return document


_WORKSPACE = {
    "name": "ws",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "The workspace, by handle or id.",
    "example": "ada",
}
