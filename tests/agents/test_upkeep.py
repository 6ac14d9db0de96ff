"""What goes for good by itself: drafts that nobody went on with."""

from datetime import timedelta

import pytest

from porch.agents import upkeep
from porch.agents.upkeep import Upkeep
from porch.contract.ids import format_id, parse_id
from tests.agents.test_conversation_care import of, text
from tests.agents.test_conversations import add_messages, add_run, begin
from tests.http.app import DEFINITION, Tenant, World

WEEK = timedelta(days=7)


@pytest.fixture
async def conversations(world: World, ada: Tenant) -> str:
    await Upkeep(world.database).purge()  # what other tests have left there
    await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    return f"{ada.path}/agents/helper/conversations"


async def rest(world: World, tenant: Tenant, conversation: str, for_: timedelta) -> None:
    """As if nothing had happened in it for so long."""
    async with world.database.tenant(tenant.workspace) as connection:
        await connection.execute(
            "UPDATE porch.conversations SET updated_at = now() - $2::interval WHERE id = $1",
            parse_id("conv", conversation),
            for_,
        )


async def left(world: World, tenant: Tenant) -> set[str]:
    async with world.database.tenant(tenant.workspace) as connection:
        return {
            format_id("conv", row["id"])
            for row in await connection.fetch("SELECT id FROM porch.conversations")
        }


async def test_a_draft_goes_a_week_after_its_last_message_and_nothing_else_does(
    world: World, ada: Tenant, eve: Tenant, conversations: str
) -> None:
    await eve.client.post(f"{eve.path}/agents", json=DEFINITION)
    old = await begin(ada.client, conversations, draft=True)
    theirs = await begin(eve.client, f"{eve.path}/agents/helper/conversations", draft=True)
    fresh = await begin(ada.client, conversations, draft=True)
    kept = await begin(ada.client, conversations)
    (message, *_) = await add_messages(world, ada, old, text("a", "b"))
    await add_run(world, ada, old, message, "finished")
    for tenant, each in ((ada, old), (eve, theirs), (ada, kept)):
        await rest(world, tenant, each, WEEK + timedelta(minutes=1))
    await rest(world, ada, fresh, WEEK - timedelta(minutes=1))
    assert await Upkeep(world.database).purge() == 2
    assert await left(world, ada) == {fresh, kept}
    assert await left(world, eve) == set()
    async with world.database.tenant(ada.workspace) as connection:
        assert await connection.fetchval("SELECT count(*) FROM porch.messages") == 0
        assert await connection.fetchval("SELECT count(*) FROM porch.runs") == 0


@pytest.mark.parametrize("status", ["running", "paused"])
async def test_a_draft_in_which_a_run_is_open_stays(
    world: World, ada: Tenant, conversations: str, status: str
) -> None:
    made = await begin(ada.client, conversations, draft=True)
    (message,) = await add_messages(world, ada, made, text("a"))
    await add_run(world, ada, made, message, status)
    await rest(world, ada, made, 2 * WEEK)
    assert await Upkeep(world.database).purge() == 0
    assert await left(world, ada) == {made}


async def test_a_draft_just_deleted_can_still_be_restored(
    world: World, ada: Tenant, conversations: str
) -> None:
    made = await begin(ada.client, conversations, draft=True)
    await rest(world, ada, made, 2 * WEEK)
    await ada.client.delete(of(made))
    assert await Upkeep(world.database).purge() == 0
    assert (await ada.client.post(of(made, "/restore"))).status == 200


async def test_more_than_a_batch_goes_and_what_is_locked_waits(
    world: World, ada: Tenant, conversations: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "PURGE_BATCH", 2)
    made = [await begin(ada.client, conversations, draft=True) for _ in range(6)]
    for each in made:
        await rest(world, ada, each, 2 * WEEK)
    async with world.database.tenant(ada.workspace) as connection:
        await connection.execute(
            "SELECT FROM porch.conversations WHERE id = $1 FOR UPDATE", parse_id("conv", made[0])
        )
        gone = await Upkeep(world.database).purge()
        assert (gone, await left(world, ada)) == (5, {made[0]})
    assert await left(world, ada) == {made[0]}
    assert await Upkeep(world.database).purge() == 1
