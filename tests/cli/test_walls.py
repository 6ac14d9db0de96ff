"""`porch bench --walls`: that it measures what it says, not how fast that is."""

import pytest

from porch.cli import walls
from porch.cli.walls import measure_walls
from porch.cli.walls_scene import LENGTH, cluster, fill, scene_of
from porch.contract.ids import new_uuid
from porch.storage.connection import connected
from porch.storage.database import Database

COUNT = "SELECT count(*) FROM porch.messages"


async def test_one_side_lies_behind_the_wall_and_the_other_does_not() -> None:
    async with cluster() as urls, connected(urls.admin) as admin:
        await fill(admin, 3, 6)
        async with scene_of(urls, admin) as scene:
            seen: list[int] = []
            for url in scene.ways:
                database = await Database.connect(url, 1)
                for workspace in (scene.owner.workspace, new_uuid()):
                    async with database.tenant(workspace) as connection:
                        seen.append(await connection.fetchval(COUNT))
                await database.close()
            assert seen == [6 * LENGTH, 6 * LENGTH, 2 * LENGTH, 0]
            # Every query finds something for it to be measured by.
            for query in walls.QUERIES.values():
                for one in scene.conversations:
                    async with scene.database.tenant(one.workspace) as connection:
                        assert await query(connection, one)


async def test_both_are_measured_and_what_was_read_whole_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAIRS", "LAPS", "LAP", "WARM"):
        monkeypatch.setattr(walls, name, 1)
    said: list[str] = []
    found = await measure_walls(2, 100, said.append)
    assert (found.workspaces, found.messages) == (2, 100)
    assert [one.name for one in found.queries] == list(walls.QUERIES)
    assert len(found.credentials) == 4
    for one in (*found.credentials, *found.queries):
        assert one.without > 0
        assert one.with_it > 0
        assert one.added == one.with_it - one.without
    # So small a table is quickest read whole: the look at the plans sees that.
    assert "conversations" in found.scanned
    assert any("100 messages of 2 workspaces" in sentence for sentence in said)
