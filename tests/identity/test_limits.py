"""Limits that all processes share: what is at once, what comes back, and what it costs to look."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from porch.contract.errors import RateLimited
from porch.contract.ids import new_uuid
from porch.identity.limits import Limit, network_of, use_limit
from porch.storage.database import Database
from tests.http.app import Tenant, World

HOUR = timedelta(hours=1)
THREE = Limit("test", 3, HOUR, "You did it too often.")


async def use(database: Database, workspace: UUID, limit: Limit = THREE, *subject: UUID | str) -> bool:
    """Whether there was one left."""
    try:
        async with database.tenant(workspace) as connection:
            await use_limit(connection, workspace, limit, *subject)
    except RateLimited:
        return False
    return True


async def pass_(world: World, tenant: Tenant, by: timedelta) -> None:
    """As if so much time had passed."""
    async with world.database.tenant(tenant.workspace) as connection:
        await connection.execute("UPDATE porch.rate_limits SET free_at = free_at - $1::interval", by)


async def test_so_many_at_once_and_then_one_every_so_often(world: World, ada: Tenant) -> None:
    assert [await use(world.database, ada.workspace) for _ in range(5)] == [True] * 3 + [False] * 2
    await pass_(world, ada, HOUR)
    assert [await use(world.database, ada.workspace) for _ in range(2)] == [True, False]
    await pass_(world, ada, 100 * HOUR)
    assert [await use(world.database, ada.workspace) for _ in range(4)] == [True] * 3 + [False]


async def test_who_is_refused_hears_when_to_come_again(world: World, ada: Tenant) -> None:
    one = replace(THREE, at_once=1)
    assert await use(world.database, ada.workspace, one)
    await pass_(world, ada, timedelta(minutes=10))
    with pytest.raises(RateLimited) as caught:
        async with world.database.tenant(ada.workspace) as connection:
            await use_limit(connection, ada.workspace, one)
    assert 2900 < caught.value.retry_after <= 3000
    assert caught.value.message == "You did it too often. Try again in 50 minutes."


async def test_what_counts_for_several_takes_several(world: World, ada: Tenant) -> None:
    async def take(cost: int) -> bool:
        try:
            async with world.database.tenant(ada.workspace) as connection:
                await use_limit(connection, ada.workspace, replace(THREE, at_once=6), cost=cost)
        except RateLimited:
            return False
        return True

    assert [await take(3), await take(3), await take(1)] == [True, True, False]
    await pass_(world, ada, 2 * HOUR)
    assert [await take(3), await take(2), await take(1)] == [False, True, False]
    await pass_(world, ada, 100 * HOUR)
    assert [await take(9), await take(1)] == [True, False], "more than there ever is waits for all of it"


async def test_a_refusal_takes_nothing(world: World, ada: Tenant) -> None:
    """Neither from this limit nor from those that the same transaction took from before."""
    other = replace(THREE, name="other", at_once=1)
    assert await use(world.database, ada.workspace, other)

    async def use_both() -> None:
        async with world.database.tenant(ada.workspace) as connection:
            await use_limit(connection, ada.workspace, THREE)
            await use_limit(connection, ada.workspace, other)

    for _ in range(5):
        with pytest.raises(RateLimited):
            await use_both()
    assert [await use(world.database, ada.workspace) for _ in range(4)] == [True] * 3 + [False]


async def test_each_limit_subject_and_workspace_is_counted_by_itself(
    world: World, ada: Tenant, eve: Tenant
) -> None:
    one, guest = replace(THREE, at_once=1), new_uuid()
    used = [
        (ada.workspace, one, guest),
        (ada.workspace, one, new_uuid()),
        (ada.workspace, one, guest, "192.0.2.7"),
        (ada.workspace, replace(one, name="second"), guest),
        (eve.workspace, one, guest),
    ]
    for workspace, limit, *subject in used:
        assert await use(world.database, workspace, limit, *subject)
    for workspace, limit, *subject in used:
        assert not await use(world.database, workspace, limit, *subject)


async def test_of_many_at_the_same_moment_no_more_come_through(world: World, ada: Tenant) -> None:
    found = await asyncio.gather(*(use(world.database, ada.workspace) for _ in range(8)))
    assert sorted(found) == [False] * 5 + [True] * 3


async def test_no_address_is_kept(world: World, ada: Tenant) -> None:
    await use(world.database, ada.workspace, THREE, "192.0.2.7")
    async with world.database.tenant(ada.workspace) as connection:
        (row,) = await connection.fetch("SELECT * FROM porch.rate_limits")
    assert len(row["subject"]) == 32
    assert b"192" not in row["subject"]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        (None, "unknown"),
        ("testclient", "unknown"),
    ],
)
def test_a_visitor_is_known_by_the_network_that_a_line_gets(address: str | None, network: str) -> None:
    assert network_of(address) == network
