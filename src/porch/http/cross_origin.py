"""Answers that pages of other sites may read (CORS), from the routes for guests and no others.

No cookie ever takes part: `Access-Control-Allow-Credentials` is never sent. Source: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from porch.http.auth import Public, Requires
from porch.http.forgery import is_own
from porch.http.state import sites
from porch.identity.origins import OriginNotAllowed, is_sent_origin

# What a route for guests leaves in the scope when its refusal is for the owner of any site to read.
TELL_ANYBODY = "porch.tell_anybody"
_PREFLIGHT = "porch.preflight"
# A removed site is refused by its token, so that a browser may remember this for a while.
PREFLIGHT_SECONDS = 600
REQUEST_HEADERS = "Authorization, Content-Type, Accept, Idempotency-Key, Last-Event-ID, X-Request-Id"
ANSWER_HEADERS = b"Location, Retry-After, Porch-Run, Idempotency-Replayed, X-Request-Id"


@dataclass(frozen=True, slots=True)
class GuestRoute:
    """A route that guests may call. `is_door` is where they get their tokens, and anybody may ask."""

    pattern: re.Pattern[str]
    path: str
    methods: frozenset[str]
    is_door: bool


def guest_routes(app: FastAPI) -> list[GuestRoute]:
    """The app's routes for guests, as they are declared."""
    found: list[GuestRoute] = []
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute):
            for declared in (dependency.call for dependency in route.dependant.dependencies):
                if isinstance(declared, Requires | Public) and declared.guests:
                    is_door = isinstance(declared, Public)
                    found.append(
                        GuestRoute(route.path_regex, route.path, frozenset(route.methods or ()), is_door)
                    )
    return found


class GuestRoutes:
    """Which of an app's routes for guests answers a request. Most requests are for none of them: one look tells."""

    def __init__(self, routes: Sequence[GuestRoute]) -> None:
        self._routes = routes
        paths = (re.sub(r"\?P<\w+>", "?:", route.pattern.pattern) for route in routes)
        self._any = re.compile("|".join(paths) or "(?!)")

    def find(self, method: str, path: str) -> GuestRoute | None:
        """The route for guests of this method and path."""
        if self._any.match(path):
            for route in self._routes:
                if method in route.methods and route.pattern.match(path):
                    return route
        return None


class CrossOrigin:
    """ASGI middleware, outside of all others, so that their refusals can be read too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = _asked(scope) if scope["type"] == "http" else None
        if asked is None:
            await self.app(scope, receive, send)
            return
        preflight, route = asked
        origin = _origin(scope)
        # A preflight lets a browser ask and gives nothing; at the door the answer itself tells who is refused.
        anybody = preflight and route.is_door
        known = origin is not None and (anybody or await sites(HTTPConnection(scope)).knows(origin))
        if preflight:
            scope[_PREFLIGHT] = route if known else None

        async def send_readable(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = _varying(message.get("headers", ()))
                if origin is not None and (known or scope.get(TELL_ANYBODY)):
                    headers.append((b"access-control-allow-origin", origin.encode()))
                    headers.append((b"access-control-expose-headers", ANSWER_HEADERS))
                message["headers"] = headers
            await send(message)

        await self.app(scope, receive, send_readable)


class Preflight:
    """ASGI middleware, inside of the common checks: answers what a browser asks before it asks."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _PREFLIGHT not in scope:
            await self.app(scope, receive, send)
            return
        route: GuestRoute | None = scope[_PREFLIGHT]
        if route is None:
            raise OriginNotAllowed("No agent of this server is embedded in the site that asks.")
        headers = {
            "Access-Control-Allow-Methods": ", ".join(sorted(route.methods)),
            "Access-Control-Allow-Headers": REQUEST_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
            "Vary": "Access-Control-Request-Method, Access-Control-Request-Headers",
        }
        await Response(status_code=204, headers=headers)(scope, receive, send)


def _varying(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers, saying that another Origin may get another answer."""
    varies = [value for name, value in headers if name.lower() == b"vary"]
    kept = [pair for pair in headers if pair[0].lower() != b"vary"]
    return [*kept, (b"vary", b", ".join([*varies, b"Origin"]))]


def _asked(scope: Scope) -> tuple[bool, GuestRoute] | None:
    """The route for guests that is asked, and whether by a preflight; None for all others."""
    path: str = scope["path"]
    if not path.startswith(("/api/", "/@")):
        return None
    method: str = scope["method"]
    preflight = False
    if method == "OPTIONS":
        wanted = [value for name, value in scope["headers"] if name == b"access-control-request-method"]
        if len(wanted) != 1:
            return None
        preflight, method = True, wanted[0].decode("latin-1")
    state = scope["app"].state
    if not hasattr(state, "guest_routes"):
        state.guest_routes = GuestRoutes(guest_routes(scope["app"]))
    route = state.guest_routes.find(method, path)
    return (preflight, route) if route else None


def _origin(scope: Scope) -> str | None:
    """The other site that asks, None where it is none, or cannot be told."""
    sent = [value for name, value in scope["headers"] if name == b"origin"]
    if len(sent) != 1:
        return None
    origin = sent[0].decode("latin-1")
    if not is_sent_origin(origin) or is_own(HTTPConnection(scope).headers, origin):
        return None
    return origin
