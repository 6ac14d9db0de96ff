"""Whose access ended or shrank, anywhere: what the database noted since it was last asked."""

from uuid import UUID

from porch.storage.database import Database


class AccessChanges:
    """Asks for what is new. One asker sees each change once, however its transactions overlapped."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: str | None = None

    async def look(self) -> frozenset[UUID]:
        """Ids of tokens, sessions, people, agents and conversations; nothing the first time.

        Raises DatabaseUnavailable; the next look then tells of this time too.
        """
        async with self._database.system() as connection:
            row = await connection.fetchrow(
                "SELECT seen, subjects FROM porch.access_changes_since($1)", self._seen
            )
        assert row is not None
        self._seen = row["seen"]
        return frozenset(row["subjects"])
