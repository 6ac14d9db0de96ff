"""Every door of the app, with another tenant's objects in hand; and no door that the matrix does not know."""

from collections import Counter

import pytest

from porch.conformance.isolation import doors as kit_doors
from porch.conformance.isolation.callers import NOT_FOUND, Caller, due, nobody
from porch.conformance.isolation.doors import Door, read_doors
from porch.conformance.isolation.kit import Case, check
from porch.conformance.isolation.people import People
from porch.conformance.isolation.shapes import PAGES, PUBLIC, SHAPES
from porch.http.application import describe
from porch.http.auth import Public, Requires
from porch.http.routing import declarations
from tests.isolation.conftest import Inside
from tests.web.conftest import House


def table(house: House) -> dict[str, Requires | Public]:
    """The route table, with one name for each method."""
    found: dict[str, Requires | Public] = {}
    for name, declared in declarations(house.world.app):
        methods, _, path = name.partition(" ")
        assert declared is not None
        found |= {f"{method} {path}": declared for method in methods.split(",")}
    return found


def known(house: House) -> dict[str, Door]:
    """The doors of the matrix, by the names of the route table."""
    doors, _ = read_doors(describe(house.world.app))
    plain = {name.replace(":path", ""): name for name in table(house)}
    return {plain[door.name.replace(":path", "")]: door for door in doors}


async def test_every_route_is_in_the_matrix_or_public_for_a_reason(standing: House) -> None:
    routes, doors = table(standing), known(standing)
    assert {name for name, declared in routes.items() if isinstance(declared, Public)} == set(PUBLIC)
    assert set(routes) == {*doors, *PUBLIC}
    assert all(len(reason) > 10 for reason in PUBLIC.values())
    assert {name: door.unknown for name, door in doors.items() if door.unknown} == {}
    assert {line.partition(" ")[0] + " " + line.split()[1] for line in PAGES.strip().splitlines()} <= set(
        routes
    )


async def test_the_matrix_expects_what_the_routes_declare(standing: House) -> None:
    routes = table(standing)
    for name, door in known(standing).items():
        declared = routes[name]
        assert isinstance(declared, Requires)
        assert (door.scope, door.home) == (declared.scope, declared.home), name
        assert door.anywhere == declared.anywhere, name
        if not door.page:
            assert (door.guests, door.agents) == (declared.guests, declared.agents), name


async def test_what_is_sent_is_sent_to_routes_that_are_there(standing: House) -> None:
    plain = {name.replace(":path", "") for name in table(standing)}
    assert {name for name in SHAPES if name not in plain} == set()


async def test_a_new_route_with_an_object_that_nobody_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kit_doors, "PAGES", "GET /rockets/{rocket} read:agents")
    doors, _ = read_doors({"paths": {"/api/v1/rockets/{rocket}": {"get": {"x-porch-scope": "read:agents"}}}})
    assert [door.unknown for door in doors] == [["rocket"], ["rocket"]]


async def test_every_door_is_tried_by_strangers_and_by_nobody(standing: House) -> None:
    stranger = Caller("stranger", "a stranger", "elsewhere")
    for name, door in known(standing).items():
        for caller in nobody():
            found = due(caller, door)
            assert found is not None, name
            assert found.statuses == {401}, name
        found = due(stranger, door)
        assert found is not None, name
        if {"conversation", "run", "approval", "agent", "ws"} & set(door.parameters):
            assert found.statuses == NOT_FOUND, name


async def test_nobody_gets_through_a_door_that_is_not_theirs(standing: House) -> None:
    web = Inside(standing.world.app)
    report = await check(Case(web, People(web), remembered=0.0))
    assert [cell.why for cell in report.breaches] == []
    assert report.unchecked == []
    assert [cell for cell in report.cells if cell.verdict != "ok"] == []
    tried = Counter(cell.caller for cell in report.cells)
    assert len(tried) >= 21, tried
    assert sum(tried.values()) > 4000, tried
    doors, _ = read_doors(describe(standing.world.app))
    assert {door.kind for door in doors} <= {kind for kind, _ in report.by_kind()}
    assert len(report.left) == 3
