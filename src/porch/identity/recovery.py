"""Recovery codes: ten of them, each of which lets its person in once, with a new password."""

import base64
import os
import re

from porch.contract.errors import Forbidden, InvalidInput, Unauthenticated
from porch.contract.ids import new_uuid
from porch.contract.principal import Principal
from porch.identity import people_store, session_store
from porch.identity.doors import Doors
from porch.identity.limits import network_of
from porch.identity.passwords import check_password, hash_password, matches
from porch.identity.people import ACCOUNT, LOGIN, NETWORK, NOBODY, PAIR, Caller, use_try
from porch.identity.sessions import IDLE_LIFETIME, WHOLE_LIFETIME, printable_agent
from porch.identity.tokens import digest, mint
from porch.storage.database import Database
from porch.storage.retrying import retried

CODES = 10
CODE_BYTES = 10  # 80 bits, in 16 letters and digits
_CODE = re.compile(r"[a-z2-7]{16}")


async def make_codes(principal: Principal, database: Database, doors: Doors, password: str) -> list[str]:
    """Ten new codes, shown this once; those from before do nothing any more. Who has a password shows it.

    Raises MultiUserOff, Forbidden, InvalidInput, RateLimited.
    """
    doors.require()
    if principal.via != "session":
        raise Forbidden("Recovery codes are made in a signed-in browser, not with a token.")
    async with database.system() as connection:
        if await session_store.session_bound(connection, principal.credential):
            raise _ended()
        login, kept = await people_store.read_login(connection, principal.id)
    if login is None:
        raise Forbidden(
            "Set a name to sign in with and a password first: a recovery code is used with the name."
        )
    if kept is not None:
        await use_try(database, PAIR, "password", principal.id.hex)
        if not await matches(password, kept):
            raise InvalidInput(
                "That is not your present password. Check it and try again.",
                errors=[{"pointer": "/password", "detail": "does not match"}],
            )
    codes = [_spelled(os.urandom(CODE_BYTES)) for _ in range(CODES)]
    if not await _keep(principal, database, kept, [digest(_plain(code)) for code in codes]):
        raise _ended()
    return codes


@retried
async def _keep(principal: Principal, database: Database, kept: str | None, hashes: list[bytes]) -> bool:
    async with database.system() as connection:
        outcome = await connection.fetchval(
            "SELECT porch.set_recovery_codes($1, $2, $3, $4)",
            principal.id,
            kept,
            hashes,
            principal.credential,
        )
    return outcome == "done"


async def count_codes(principal: Principal, database: Database) -> int:
    """How many codes the principal has left."""
    async with database.system() as connection:
        return await connection.fetchval("SELECT porch.count_recovery_codes($1)", principal.id)


async def recover(
    database: Database, doors: Doors, caller: Caller, *, login: str, code: str, password: str
) -> str:
    """The secret of a new session of whoever has this code, whose password this is from now on.

    Raises MultiUserOff, Unauthenticated, RateLimited, InvalidInput for a password that cannot be one.
    """
    doors.require()
    login = login.strip().lower()
    login = login if LOGIN.fullmatch(login) else NOBODY
    network = network_of(caller.address)
    await use_try(database, NETWORK, "network", network)
    await use_try(database, PAIR, "recover", login, network)
    await use_try(database, ACCOUNT, "recover", login)
    plain = _plain(code)
    hashed = digest(plain if _CODE.fullmatch(plain) else "")
    async with database.system() as connection:
        found = await connection.fetchrow(
            "SELECT user_id, name FROM porch.find_recovery_code($1, $2)", login, hashed
        )
    if found is None:
        raise _wrong()
    # Only whoever has a code learns what is wrong with the password, and has the code still.
    password = check_password(password, (login, *re.split(r"[._-]|\s+", f"{login} {found['name']}")))
    kept, minted = await hash_password(password), mint("ses")
    async with database.system() as connection:
        done = await connection.fetchval(
            "SELECT porch.recover($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            found["user_id"],
            hashed,
            kept,
            new_uuid(),
            minted.digest,
            IDLE_LIFETIME,
            WHOLE_LIFETIME,
            caller.address,
            printable_agent(caller.agent),
        )
    if not done:
        raise _wrong()
    return minted.text


def _spelled(code: bytes) -> str:
    plain = base64.b32encode(code).decode().lower()
    return "-".join(plain[at : at + 4] for at in range(0, 16, 4))


def _plain(code: str) -> str:
    """The code without what people put between its parts."""
    return re.sub(r"[\s-]+", "", code[:100]).lower()


def _wrong() -> Unauthenticated:
    return Unauthenticated(
        "That name and code do not belong together, or the code was used already. Check both and try again."
    )


def _ended() -> Forbidden:
    return Forbidden("This session has ended, or ends with a token. Sign in again, and do it from there.")
