"""People: how somebody becomes one of them, and signs in with a password."""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from porch.contract.errors import Conflict, Forbidden, InvalidInput, RateLimited, Unauthenticated
from porch.contract.ids import new_uuid
from porch.contract.principal import Principal
from porch.identity import invitations, people_store, session_store
from porch.identity.doors import Doors
from porch.identity.limits import network_of
from porch.identity.passwords import check_password, hash_password, is_outdated, matches
from porch.identity.service import check_name
from porch.identity.sessions import begin_session
from porch.storage.database import Database
from porch.storage.retrying import retried

LOGIN = re.compile(r"[a-z0-9][a-z0-9._-]{1,39}")
NOBODY = "-"  # what no login can be
HANDLES_TRIED = 20
# (at once, then one more each): for one network at one account, for one network, for one account from anywhere.
PAIR = 5, timedelta(minutes=1)
NETWORK = 30, timedelta(seconds=10)
ACCOUNT = 50, timedelta(minutes=1)
SIGN_UPS = 10, timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Caller:
    """Where somebody who is not signed in comes from: the address, and what their browser calls itself."""

    address: str | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class SignUp:
    """What somebody new says of themselves; `invitation` is the secret of theirs."""

    login: str
    name: str
    password: str = field(repr=False)
    invitation: str | None = field(default=None, repr=False)


async def sign_up(database: Database, doors: Doors, wanted: SignUp, caller: Caller) -> str:
    """The secret of a first session of somebody new, who gets a workspace of their own.

    Raises MultiUserOff, Forbidden, InvalidInput, Conflict, RateLimited, and NotFound for an invitation that was none.
    """
    doors.require_sign_up(invited=wanted.invitation is not None)
    hashed = None
    if wanted.invitation is not None:
        hashed = await invitations.check_open(database, wanted.invitation)
    await use_try(database, SIGN_UPS, "sign-up", network_of(caller.address))
    login, name = check_login(wanted.login), check_name(wanted.name or wanted.login, "Your name")
    password = check_password(wanted.password, (login, *re.split(r"[._-]|\s+", f"{login} {name}")))
    kept = await hash_password(password)
    user, workspace = await _create(database, login, name, kept, hashed)
    return await _begin(database, user, kept, caller, workspace)


@retried
async def _create(
    database: Database, login: str, name: str, kept: str, invitation: bytes | None
) -> tuple[UUID, UUID]:
    """Somebody new: who, and the workspace to begin in."""
    user, workspace = new_uuid(), new_uuid()
    for handle in handles_for(login):
        async with database.system() as connection:
            outcome, joined = await people_store.sign_up(
                connection, user, login, name, kept, workspace=workspace, handle=handle, invitation=invitation
            )
        if outcome == "made":
            return user, joined or workspace
        if outcome == "gone":
            raise invitations.gone()
        if outcome == "login_taken":
            break
    raise Conflict(f"{login!r} is somebody's here already. Choose another name to sign in with, or sign in.")


async def sign_in(database: Database, doors: Doors, login: str, password: str, caller: Caller) -> str:
    """The secret of a new session. Raises MultiUserOff, Unauthenticated, RateLimited.

    Whoever does not know the password learns nothing, not whether there is such a login either.
    """
    doors.require()
    login = login.strip().lower()
    login = login if LOGIN.fullmatch(login) else NOBODY
    network = network_of(caller.address)
    async with database.system() as connection:
        found = await people_store.find_login(connection, login, network)
    user, kept, familiar = found or (None, None, False)
    await use_try(database, NETWORK, "network", network)
    await use_try(database, PAIR, "pair", login, network)
    if not familiar:
        # Whoever guesses from everywhere must not lock out who was here lately.
        await use_try(database, ACCOUNT, "account", login)
    if not await matches(password, kept) or user is None or kept is None:
        raise _wrong()
    if is_outdated(kept):
        again = await hash_password(password)
        async with database.system() as connection:
            if await people_store.rehash(connection, user, kept, again):
                kept = again
    return await _begin(database, user, kept, caller)


async def set_password(
    principal: Principal, database: Database, doors: Doors, *, login: str | None, before: str, password: str
) -> None:
    """Gives the principal a password, and a login if they have none; their other sessions and open links end.

    Who has a password shows it as `before`. Raises MultiUserOff, Forbidden, InvalidInput, Conflict, RateLimited.
    Whoever serves must make its `Authenticator` forget afterwards.
    """
    doors.require()
    if principal.via != "session":
        raise Forbidden("A password is set in a signed-in browser, not with a token.")
    async with database.system() as connection:
        if await session_store.session_bound(connection, principal.credential):
            raise Forbidden(
                "This browser was signed in with a token that ends, and what it does ends with it. Set a password from "
                "one that was signed in another way."
            )
        known, kept = await people_store.read_login(connection, principal.id)
    login = known or check_login(login or "")
    password = check_password(password, (login, *re.split(r"[._-]|\s+", f"{login} {principal.name}")))
    if kept is not None:
        await use_try(database, PAIR, "password", principal.id.hex)
        if not await matches(before, kept):
            raise InvalidInput(
                "That is not your present password. Check it and try again.",
                errors=[{"pointer": "/before", "detail": "does not match"}],
            )
    outcome = await _set(database, principal, login, kept, await hash_password(password))
    if outcome == "taken":
        raise Conflict(f"{login!r} is somebody's here already. Choose another name to sign in with.")
    if outcome == "moved":
        raise Conflict("Your password or this session was changed elsewhere meanwhile. Sign in again.")


@retried
async def _set(database: Database, principal: Principal, login: str, before: str | None, after: str) -> str:
    async with database.system() as connection:
        return await people_store.set_password(
            connection, principal.id, login, before, after, principal.credential
        )


@retried
async def _begin(
    database: Database, user: UUID, kept: str, caller: Caller, workspace: UUID | None = None
) -> str:
    """A session, unless the password was changed since it was looked at."""
    secret = await begin_session(
        database, user, password=kept, workspace=workspace, address=caller.address, agent=caller.agent
    )
    if secret is None:
        raise _wrong()
    return secret


def _wrong() -> Unauthenticated:
    return Unauthenticated("That name and password do not belong together. Check both and try again.")


async def read_login(principal: Principal, database: Database) -> tuple[str | None, bool]:
    """What the principal signs in with, None without one, and whether they have a password."""
    async with database.system() as connection:
        login, kept = await people_store.read_login(connection, principal.id)
    return login, kept is not None


def check_login(text: str) -> str:
    """A name to sign in with, in small letters. Raises InvalidInput."""
    login = text.strip().lower()
    if not LOGIN.fullmatch(login):
        raise InvalidInput(
            f"{text[:60]!r} cannot be a name to sign in with: use 2 to 40 letters from a to z, digits, dots, hyphens "
            "and underscores, with a letter or digit first.",
            errors=[{"pointer": "/login", "detail": "not a login"}],
        )
    return login


def handles_for(login: str) -> list[str]:
    """What somebody's workspace may be called, the best first."""
    stem = re.sub(r"[^a-z0-9]+", "-", login).strip("-") or "home"
    return [
        stem,
        *(f"{stem[:36]}-{number}" for number in range(2, HANDLES_TRIED)),
        f"{stem[:20]}-{new_uuid().hex[-8:]}",
    ]


@retried
async def use_try(database: Database, limit: tuple[int, timedelta], *subject: str) -> None:
    """Take one of the tries that a subject has. Raises RateLimited."""
    at_once, every = limit
    key = hashlib.sha256("\0".join(subject).encode()).digest()
    async with database.system() as connection:
        wait = await people_store.use_sign_in_limit(connection, key, every, at_once)
    if wait:
        raise RateLimited(
            f"There were too many tries just now. Try again in {max(1, round(wait))} seconds.",
            retry_after=wait,
        )
