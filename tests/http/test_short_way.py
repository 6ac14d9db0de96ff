"""The short way past FastAPI: it leads where the long one would."""

import re

import pytest
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Message, Receive, Scope, Send

from porch.http.application import create_app
from porch.http.routing import DirectRoute
from porch.http.short_way import ShortWay
from porch.web.app import FACES, PAGES, agents, door, identity, models, runs


def scope_of(path: str, method: str) -> Scope:
    return {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}


async def receive() -> Message:
    raise AssertionError("nothing is read")


async def send(_: Message) -> None:
    pass


async def test_whoever_takes_the_short_way_comes_to_the_route_that_the_long_one_would_find_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    routes: list[BaseRoute] = create_app([runs, *FACES, agents, door, identity, models, *PAGES]).routes
    taken: list[str] = []

    async def respond(route: DirectRoute, *_: object) -> Response:
        taken.append(route.path)
        return Response()

    async def long_way(scope: Scope, receive: Receive, send: Send) -> None:
        taken.append("the long way")

    monkeypatch.setattr(DirectRoute, "respond", respond)
    short_way = ShortWay(long_way, routes)
    due: list[str] = []
    paths = sorted({re.sub(r"\{\w+(:path)?\}", "x", str(getattr(route, "path", "/"))) for route in routes})
    for path in paths:
        for method in ("POST", "GET"):
            scope = scope_of(path, method)
            found = next((route for route in routes if route.matches(scope)[0] is Match.FULL), None)
            short = method == "POST" and isinstance(found, DirectRoute) and ":path}" not in found.path
            due.append(found.path if short and isinstance(found, DirectRoute) else "the long way")
            await short_way(scope, receive, send)
    assert taken == due
    assert len(set(due)) > 6
