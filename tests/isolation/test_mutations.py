"""The matrix goes red: each check is taken out by itself, and somebody who must not gets through."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from asyncpg.pool import PoolConnectionProxy

from porch.conformance.isolation import callers, forging, matrix
from porch.conformance.isolation.belongings import Belongings, furnish
from porch.conformance.isolation.callers import Caller
from porch.conformance.isolation.doors import Door, read_doors
from porch.conformance.isolation.people import People
from porch.conformance.isolation.report import Cell, Report
from porch.http.application import describe
from porch.http.auth import Requires
from porch.http.routing import declarations
from porch.identity.doors import Doors
from porch.storage.connection import connected
from tests.isolation.conftest import Inside
from tests.postgres import TestServer
from tests.web.conftest import House, furnished


@dataclass
class Scene:
    """Two tenants and everybody who must not, ready to try doors."""

    house: House
    web: Inside
    doors: list[Door]
    treasure: Belongings
    hers: Belongings
    callers: dict[str, Caller] = field(default_factory=dict[str, Caller])

    async def breaches(self, key: str, only: Callable[[Door], bool]) -> list[Cell]:
        """What this caller gets that they must not, at some of the doors."""
        self.house.world.app.state.authenticate.forget()
        report = Report()
        if key == "links":
            await forging.try_links(self.web, self.treasure, self.hers, report)
        else:
            some = [door for door in self.doors if only(door)]
            assert some
            await matrix.try_caller(self.web, self.callers[key], some, self.treasure, report)
        assert report.cells
        return report.breaches


async def set_scene(house: House) -> Scene:
    """Everybody, with what they need."""
    house.world.app.state.doors = Doors(multi_user=True, sign_up="open")
    web = Inside(house.world.app)
    people = People(web)
    ada, eve = await people.owner("ada"), await people.owner("eve")
    treasure, hers = await furnish(ada), await furnish(eve)
    treasure.values["user"], hers.values["user"] = [ada.user], [eve.user]
    scene = Scene(house, web, read_doors(describe(house.world.app))[0], treasure, hers)
    bob = await people.invited("bob", ada, "runner")
    token = await people.token_in(bob, ada)
    revoked, number = await callers.minted(ada, ["admin:*"])
    await ada.must("DELETE", f"{ada.path}/tokens/{number}")
    found = [
        *callers.nobody(),
        *callers.strangers(eve, hers),
        *await callers.member("member", "another member", bob, token, ada.handle),
        await callers.narrowed(ada, treasure),
        await callers.limited(ada, treasure),
        await callers.reading(ada),
        await callers.guest(ada, treasure, "guest", "a guest of another agent"),
        callers.forged(ada),
        callers.unsigned(ada),
        Caller("revoked", "a revoked token", "nobody", callers.bearer(revoked)),
    ]
    scene.callers = {caller.key: caller for caller in found}
    return scene


@pytest.fixture(scope="module")
async def scene(postgres: TestServer) -> AsyncIterator[Scene]:
    """The scene for all of this module: nothing here destroys anything of it."""
    urls = await postgres.create()
    async with furnished(urls, {}) as house:
        yield await set_scene(house)
    await postgres.drop(urls)


@pytest.fixture(scope="module")
async def unwalled(postgres: TestServer) -> AsyncIterator[Scene]:
    """The same where the serving role passes by row-level security."""
    urls = await postgres.create()
    async with furnished(replace(urls, app=urls.admin), {}) as house:
        yield await set_scene(house)
    await postgres.drop(urls)


def reads(door: Door) -> bool:
    return door.method == "GET"


def at(*names: str) -> Callable[[Door], bool]:
    return lambda door: door.name in names


def nothing(*_: object, **__: object) -> None:
    """A check that checks nothing."""


def yes(*_: object, **__: object) -> bool:
    """A question that everybody passes."""
    return True


def guests_everywhere(scene: Scene, patch: pytest.MonkeyPatch) -> None:
    for _, declared in declarations(scene.house.world.app):
        if isinstance(declared, Requires):
            patch.setattr(declared, "guests", True)


def patched(name: str, instead: Any) -> Callable[[Scene, pytest.MonkeyPatch], None]:
    return lambda _, patch: patch.setattr(name, instead)


IN_CODE = {
    "the workspace of a path": (patched("porch.http.auth.check_workspace", nothing), "stranger", reads),
    "the scope of a token": (patched("porch.contract.principal.Principal.allows", yes), "reading", reads),
    "the agent of a narrowed token": (
        patched("porch.contract.principal.Principal.allows", yes),
        "narrowed",
        at("GET /api/v1/workspaces/{ws}/agents/{agent}"),
    ),
    "the home workspace": (patched("porch.http.auth.check_home", nothing), "stranger", at("GET /metrics")),
    "where a request comes from": (patched("porch.http.auth.check_forgery", nothing), "forged", reads),
    "the CSRF token": (
        patched("porch.http.auth.check_forgery", nothing),
        "unsigned",
        at("POST /conversations/{conversation}/audience"),
    ),
    "agents that a token is for": (
        patched("porch.contract.principal.Principal.reaches", yes),
        "limited",
        at("GET /api/v1/conversations/{conversation}"),
    ),
    "guests where they are not named": (guests_everywhere, "guest", reads),
    "whose a conversation is": (patched("porch.agents.conversations.may_see", yes), "member", reads),
    "whose a run is": (
        patched("porch.agents.together.is_keeper", yes),
        "member",
        at("GET /api/v1/runs/{run}"),
    ),
}


@pytest.mark.parametrize("check", IN_CODE)
async def test_a_check_that_is_taken_out_of_the_code_is_noticed(
    scene: Scene, check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate, caller, only = IN_CODE[check]
    assert await scene.breaches(caller, only) == []
    mutate(scene, monkeypatch)
    assert await scene.breaches(caller, only)


IN_FUNCTIONS = {
    "a token's revocation": ("authenticate_credential", r"\(t\.revoked_at IS NULL\)", "revoked"),
    "a membership": ("authenticate_session_in", r"\(m\.user_id = u\.id\)", "stranger-session"),
    "a link's revocation": ("open_share", r"\(s\.revoked_at IS NULL\)", "links"),
}


@pytest.mark.parametrize("check", IN_FUNCTIONS)
async def test_a_check_that_is_taken_out_of_a_function_is_noticed(scene: Scene, check: str) -> None:
    name, pattern, caller = IN_FUNCTIONS[check]
    assert await scene.breaches(caller, reads) == []
    async with connected(scene.house.world.urls.admin) as connection:
        text: str = await connection.fetchval(
            "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = $1", name
        )
        mutated, count = re.subn(pattern, "true", text)
        assert count == 1, text
        await connection.execute(mutated)
        try:
            assert await scene.breaches(caller, reads)
        finally:
            await connection.execute(text)
            scene.house.world.app.state.authenticate.forget()


def forget_workspaces(patch: pytest.MonkeyPatch) -> None:
    """Every statement finds the rows of all workspaces, as far as the database lets it."""

    def forgetful(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def ask(self: Any, query: str, *args: Any, **options: Any) -> Any:
            loose = re.sub(r"\b(?:\w+\.)?workspace_id = \$1\b", "$1::uuid IS NOT NULL", query)
            return await method(self, loose, *args, **options)

        return ask

    for name in ("fetch", "fetchrow", "fetchval"):
        patch.setattr(PoolConnectionProxy, name, forgetful(getattr(PoolConnectionProxy, name)))


async def test_either_wall_holds_alone_and_without_both_it_is_noticed(
    scene: Scene, unwalled: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await unwalled.breaches("stranger", reads) == []
    forget_workspaces(monkeypatch)
    assert await scene.breaches("stranger", reads) == []
    told = await unwalled.breaches("stranger", reads)
    assert {cell.path.split("/")[3] for cell in told if cell.path.startswith("/api/v1/")} & {
        "conversations",
        "runs",
    }
