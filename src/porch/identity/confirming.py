"""Showing again who one is."""

from porch.contract.errors import Forbidden, InvalidInput
from porch.contract.principal import Principal
from porch.identity import people_store
from porch.identity.passwords import matches
from porch.identity.people import PAIR, use_try
from porch.storage.database import Database


async def confirm(principal: Principal, database: Database, password: str) -> None:
    """Note that the person of a session showed their password. Raises Forbidden, InvalidInput, RateLimited."""
    if principal.via != "session":
        raise Forbidden("There is nothing to confirm for a token.")
    async with database.system() as connection:
        _, kept = await people_store.read_login(connection, principal.id)
    if kept is None:
        raise Forbidden("You have no password. Sign out and in again, the way you did: that confirms it too.")
    await use_try(database, PAIR, "password", principal.id.hex)
    done = await matches(password, kept)
    if done:
        async with database.system() as connection:
            done = await connection.fetchval(
                "SELECT porch.confirm_session($1, $2, $3)", principal.id, principal.credential, kept
            )
    if not done:
        raise InvalidInput(
            "That is not your present password. Check it and try again.",
            errors=[{"pointer": "/confirm_password", "detail": "does not match"}],
        )
