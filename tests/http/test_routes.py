"""The route table: every route says who may call it, and the OpenAPI document describes it."""

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from porch.contract.errors import SetupError
from porch.contract.principal import Principal
from porch.http.application import create_app, describe
from porch.http.auth import Public, Requires, public, requires
from porch.http.routing import api_router, check_declared, declarations
from porch.identity.policy import KINDS
from tests.http.app import ROUTERS


def an_app() -> FastAPI:
    return create_app(ROUTERS)


def routes(app: FastAPI) -> Iterator[APIRoute]:
    for context in iter_route_contexts(app.routes):
        assert isinstance(context.original_route, APIRoute)
        yield context.original_route


def test_every_route_declares_who_may_call_it() -> None:
    declared = dict(declarations(an_app()))
    assert len(declared) > 20
    assert [name for name, declaration in declared.items() if declaration is None] == []


def test_only_the_documents_are_public() -> None:
    found = [name for name, declaration in declarations(an_app()) if isinstance(declaration, Public)]
    assert found == ["GET /openapi.json"]


def test_every_scope_is_of_a_kind_that_policy_knows() -> None:
    needed = {d.scope for _, d in declarations(an_app()) if isinstance(d, Requires) and d.scope}
    assert {scope.partition(":")[2] for scope in needed} - {"*"} == {*KINDS} - {"models"}


def test_what_changes_something_needs_more_than_read() -> None:
    for name, declaration in declarations(an_app()):
        if not name.startswith("GET"):
            assert isinstance(declaration, Requires)
            assert declaration.verb != "read", name


def test_no_dependency_outlives_its_route_function() -> None:
    def walk(dependant: Dependant) -> Iterator[Any]:
        for sub in dependant.dependencies:
            yield sub
            yield from walk(sub)

    for route in routes(an_app()):
        for dependant in walk(route.dependant):
            call = dependant.call
            yields = inspect.isasyncgenfunction(call) or inspect.isgeneratorfunction(call)
            assert not yields or dependant.scope == "function", route.path


def test_no_middleware_is_a_base_http_middleware() -> None:
    from starlette.middleware.base import BaseHTTPMiddleware

    for middleware in an_app().user_middleware:
        assert not issubclass(middleware.cls, BaseHTTPMiddleware)  # pyright: ignore[reportArgumentType, reportGeneralTypeIssues]  # a class, here


def undeclared() -> APIRouter:
    router = api_router("/open", "test")

    @router.get("")
    async def anybody() -> str:
        return "hello"

    return router


def declared_twice() -> APIRouter:
    router = api_router("/twice", "test")

    @router.get("", dependencies=[public()])
    async def both(principal: Annotated[Principal, requires("read:agents")]) -> str:
        return principal.name

    return router


@pytest.mark.parametrize("router", [undeclared(), declared_twice()])
def test_a_route_without_exactly_one_declaration_keeps_the_app_from_starting(router: APIRouter) -> None:
    with pytest.raises(SetupError, match="requires"):
        create_app([*ROUTERS, router])


def test_a_declaration_on_the_router_is_none_on_the_route() -> None:
    outer = APIRouter(dependencies=[requires("read:agents")])
    outer.include_router(undeclared())
    with pytest.raises(SetupError, match="/open"):
        create_app([outer])


def test_a_route_behind_the_routers_back_is_undeclared() -> None:
    app = an_app()

    async def raw(request: Request) -> Response:
        return Response(request.method)

    app.routes.append(Route("/raw", endpoint=raw))
    with pytest.raises(SetupError, match="/raw"):
        check_declared(app)


@pytest.mark.parametrize("scope", ["agents:write", "read", "read:", "read:a:b", "fly:agents"])
def test_a_misspelt_scope_fails_where_it_is_written(scope: str) -> None:
    with pytest.raises(ValueError):
        requires(scope)


def test_every_operation_is_described() -> None:
    document = describe(an_app())
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    seen: set[str] = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["tags"], where
            assert operation["summary"], where
            assert operation["description"], where
            assert operation["security"] == [{"bearer": []}], where
            assert "application/problem+json" in operation["responses"]["422"]["content"], where
            names = [parameter["name"] for parameter in operation.get("parameters", [])]
            assert len(names) == len(set(names)), where
            assert {part[1:-1] for part in path.split("/") if part.startswith("{")} <= set(names), where
            if method == "post":
                assert "Idempotency-Key" in names, where
            seen.add(operation["operationId"])
    assert len(seen) == sum(len(operations) for operations in document["paths"].values())
    assert {
        "createAgent",
        "publishVersion",
        "createConversation",
        "listMessages",
        "createToken",
        "getMe",
    } <= seen


def test_every_body_has_an_example() -> None:
    document = describe(an_app())
    schemas = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for media in operation.get("requestBody", {}).get("content", {}).values():
                reference = next(iter(_references(media["schema"])), None)
                schema = schemas[reference] if reference else media["schema"]
                assert "example" in media or "examples" in schema, f"{method} {path}"


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():  # pyright: ignore[reportUnknownVariableType]  # JSON
            if key == "$ref":
                yield str(value).rpartition("/")[2]  # pyright: ignore[reportUnknownArgumentType]  # JSON
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:  # pyright: ignore[reportUnknownVariableType]  # JSON
            yield from _references(value)


def test_the_document_refers_to_nothing_that_is_not_there() -> None:
    document = describe(an_app())
    assert set(_references(document)) <= set(document["components"]["schemas"])


async def _held() -> AsyncIterator[None]:
    yield


def test_the_walk_over_dependencies_sees_a_yield() -> None:
    router = APIRouter()

    @router.get("/held", dependencies=[public(), Depends(_held)])
    async def held() -> None: ...

    (route,) = [route for route in routes(create_app([router])) if route.path == "/held"]
    assert any(inspect.isasyncgenfunction(d.call) for d in route.dependant.dependencies)
