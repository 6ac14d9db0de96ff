"""Whether a session's person has shown lately that it is theirs: what a found browser must not do asks for that."""

from datetime import timedelta

from porch.contract.errors import Forbidden
from porch.contract.principal import Principal
from porch.storage.database import Database

LASTS = timedelta(minutes=10)


class ConfirmationNeeded(Forbidden):
    """Raised for an act of a session whose person has not shown for a while that it is theirs."""

    code = "confirmation_needed"


async def require_confirmed(principal: Principal, database: Database) -> None:
    """Raise ConfirmationNeeded where a session's person signed in, or confirmed it, more than ten minutes ago.

    A token has what its scopes say: whoever holds it has shown no less.
    """
    if principal.via != "session":
        return
    async with database.system() as connection:
        confirmed = await connection.fetchval(
            "SELECT porch.is_confirmed($1, $2)", principal.credential, LASTS
        )
    if not confirmed:
        raise ConfirmationNeeded(
            "Show again that it is you, since you signed in a while ago: at /confirm, or by signing in again. Then do "
            "it once more."
        )
