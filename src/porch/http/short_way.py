"""The way to the first token, past what FastAPI puts between its layers and its routes."""

from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from porch.contract.errors import PorchError
from porch.http.cross_origin import CrossOrigin
from porch.http.problem import problem_of, validation_error
from porch.http.routing import DirectRoute


class Application(FastAPI):
    """FastAPI without the layers outside of ours: the Door catches what they catch, and nobody asks for the rest."""

    def build_middleware_stack(self) -> ASGIApp:
        """Ours, from CrossOrigin inwards."""
        stack = super().build_middleware_stack()
        while not isinstance(stack, CrossOrigin):
            stack = getattr(stack, "app")  # noqa: B009 - no type says that a layer has one
        return stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or self.middleware_stack is None:
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        await self.middleware_stack(scope, receive, send)


class ShortWay:
    """ASGI middleware, innermost: calls direct routes itself, and answers their errors as the app's handlers would."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        """`routes` are all of the app's. One that takes any path behind its own is left to its place among them."""
        self.app = app
        direct = (route for route in routes if isinstance(route, DirectRoute))
        self._direct = [r for r in direct if "POST" in (r.methods or ()) and ":path}" not in r.path]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            for route in self._direct:
                match, found = route.matches(scope)
                if match is Match.FULL:
                    scope.update(found)
                    await _answer(route, scope, receive, send)
                    return
        await self.app(scope, receive, send)


async def _answer(route: DirectRoute, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        response = await route.respond(scope, receive, send)
    except PorchError as error:
        response = problem_of(error)
    except RequestValidationError as error:
        response = problem_of(validation_error(error))
    await response(scope, receive, send)
