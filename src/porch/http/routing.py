"""Routes as all rooms make them: JSON bodies read with care, and none without a declared authorisation."""

import functools
import typing
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, ClassVar, cast

import msgspec
from fastapi import APIRouter, FastAPI, Request
from fastapi._compat import shared
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel, ValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from porch.contract.errors import SetupError
from porch.http.auth import Public, Requires
from porch.http.body import BODY_LIMIT, check_json_type, decode_json
from porch.http.problem import PROBLEMS

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def _never(_: object) -> bool:
    return False


# FastAPI asks of every parameter whether it is a model of pydantic 1, and loads all of that first, for 0.1 s.
if hasattr(shared, "is_pydantic_v1_model_class"):
    shared.is_pydantic_v1_model_class = _never


class JsonRoute(APIRoute):
    """A route that reads its body once, as JSON, and says where a wrong one is wrong.

    `await request.json()` gives the value afterwards; an empty body gives None.
    """

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        declared = _declaration(self)

        async def read_and_handle(request: Request) -> Response:
            if request.method in {"POST", "PUT", "PATCH"}:
                if isinstance(declared, Requires):
                    await declared(request)  # a stranger's body is not read
                body = await request.body()
                if body:
                    check_json_type(request.headers)
                request._json = decode_json(body) if body else None  # pyright: ignore[reportPrivateUsage]  # where Request.json() keeps what it has read
            return await handle(request)

        return read_and_handle


class DirectRoute(JsonRoute):
    """A JsonRoute on the way to the first token, called without FastAPI's search for its arguments (0.3 ms).

    Its function takes `request`, `principal`, the path's parameters as text and, if it reads one, `body` (a pydantic
    model), all by these names, and answers a Response. For `add_api_route(…, route_class_override=DirectRoute)`.
    One that takes larger bodies than other routes is a subclass with `max_body_bytes`.
    """

    max_body_bytes: ClassVar[int] = 0

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        response = await self.respond(scope, receive, send)
        await response(scope, receive, send)

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> Response:
        """What the route answers, unsent."""
        # Held by nobody once it is answered: a stream would keep its body for as long as it lasts.
        return await self.call(Request(scope, receive, send))

    async def call(self, request: Request) -> Response:
        """Read the request, and let the route's function answer it."""
        values: dict[str, Any] = {"request": request, **request.path_params}
        values["principal"] = await self._requires(request)
        request.scope[BODY_LIMIT] = self.max_body_bytes  # only now: a stranger's body is not read
        body = await request.body()
        if body:
            check_json_type(request.headers)
        if self.body_field is not None:
            values["body"] = _validated(self._model, decode_json(body) if body else None)
        return await self.endpoint(**values)

    @functools.cached_property
    def _requires(self) -> Requires:
        declared = _declaration(self)
        if not isinstance(declared, Requires) or len(self.dependant.dependencies) != 1:
            raise SetupError(
                f"{self.path!r} is a DirectRoute, which declares one requires(…) and nothing else."
            )
        return declared

    @functools.cached_property
    def _model(self) -> type[BaseModel]:
        return typing.get_type_hints(self.endpoint)["body"]


def _validated(model: type[BaseModel], value: Any) -> BaseModel:
    """The body as FastAPI would read it. Raises RequestValidationError as it would."""
    if value is None:
        raise RequestValidationError([{"type": "missing", "loc": ("body",), "msg": "Field required"}])
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise RequestValidationError(
            [
                {**item, "loc": ("body", *_place(item["loc"], value))}
                for item in error.errors(include_url=False)
            ]
        ) from None


def _place(steps: tuple[str | int, ...], value: Any) -> list[str | int]:
    """A place in the body itself: pydantic names the member of a union that it tried as one more step."""
    found: list[str | int] = []
    for at, step in enumerate(steps):
        if isinstance(value, dict):
            items = cast("dict[str | int, Any]", value)
            if at + 1 < len(steps) and not isinstance(items.get(step), dict | list):
                continue
            value = items.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            entries = cast("list[Any]", value)
            value = entries[step] if step < len(entries) else None
        else:
            continue
        found.append(step)
    return found


def api_router(prefix: str, tag: str) -> APIRouter:
    """A router of JsonRoutes whose OpenAPI knows the problems that all routes may answer."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=JsonRoute, responses=PROBLEMS)


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer from Structs and plain values, encoded once."""
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def declarations(app: FastAPI) -> Iterator[tuple[str, Requires | Public | None]]:
    """Every route of the app as `GET /path`, with its declaration or None; what is no route has none."""
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        name = f"{','.join(sorted(getattr(route, 'methods', None) or ['*']))} {context.path}"
        yield name, _declaration(route) if isinstance(route, APIRoute) else None


def check_declared(app: FastAPI) -> None:
    """Raise SetupError unless every route says who may call it. Called when the app is assembled."""
    open_routes = [name for name, declared in declarations(app) if declared is None]
    if open_routes:
        raise SetupError(
            f"These routes declare neither requires(…) nor public(): {', '.join(open_routes)}. "
            "Declare one on each."
        )


def _declaration(route: APIRoute) -> Requires | Public | None:
    found = [d.call for d in route.dependant.dependencies if isinstance(d.call, Requires | Public)]
    return found[0] if len(found) == 1 else None
