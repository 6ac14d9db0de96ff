"""Signing in with an OpenID Connect provider: an account is known by issuer and subject, and by nothing else.

No name and no e-mail address of a provider's leads to an account that is there: whoever could choose one would choose
somebody else's.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from porch.contract.errors import Conflict, Forbidden, InvalidInput, NotFound
from porch.contract.ids import new_uuid
from porch.contract.principal import Principal
from porch.identity import invitations, oidc_store
from porch.identity.confirmed import require_confirmed
from porch.identity.doors import Doors
from porch.identity.limits import network_of
from porch.identity.oidc_provider import Asked, Provider
from porch.identity.oidc_store import Linked
from porch.identity.oidc_tokens import Identity, OidcRefused
from porch.identity.people import HANDLES_TRIED, LOGIN, SIGN_UPS, Caller, handles_for, use_try
from porch.identity.sessions import IDLE_LIFETIME, WHOLE_LIFETIME, printable_agent
from porch.identity.tokens import digest, is_link, mint, mint_link
from porch.storage.database import Database
from porch.storage.retrying import retried

LIVES = timedelta(minutes=10)
BEGINS = 60, timedelta(seconds=5)
LONGEST_CODE = 4096
NAME_BYTES = 200


class BegunElsewhere(InvalidInput):
    """Raised for an answer to a sign-in that this browser did not begin, or not lately, or finished already."""

    code = "sign_in_not_begun"


class Going(NamedTuple):
    """A browser on its way: where to, and the secret that it keeps until it is back."""

    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider sends a browser back with, the `secret` that this browser kept, and the `uri` of coming back."""

    secret: str = field(repr=False)
    state: str
    code: str = field(repr=False)
    issuer: str | None
    error: str
    uri: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """Who came back: a new session's secret, or somebody who linked an identity and stays as they are."""

    session: str | None = field(repr=False)
    new: bool = False


def asked_by(secret: str) -> Asked:
    """What a sign-in is told by: state, nonce and verifier, none of which tells another."""
    made = [
        hmac.new(secret.encode(), what, hashlib.sha256).hexdigest()
        for what in (b"state", b"nonce", b"verifier")
    ]
    return Asked(*made)


async def set_out(
    database: Database,
    doors: Doors,
    provider: Provider,
    caller: Caller,
    uri: str,
    session: UUID | None = None,
) -> Going:
    """Begin a sign-in, or with a `session` linking for it. Raises MultiUserOff, RateLimited, OidcRefused."""
    doors.require()
    await use_try(database, BEGINS, "oidc", network_of(caller.address))
    secret = mint_link()
    asked = asked_by(secret)
    url = await provider.way(asked, uri)
    async with database.system() as connection:
        await oidc_store.begin(connection, digest(asked.state), provider.issuer, session, LIVES)
    return Going(url, secret)


async def arrive(
    database: Database,
    doors: Doors,
    provider: Provider,
    answer: Answer,
    caller: Caller,
    *,
    signed_in: Principal | None,
    invitation: str | None,
) -> Arrived:
    """Finish a sign-in: whoever the provider says this is, a new account where there is none, or a link.

    Raises MultiUserOff, Forbidden, BegunElsewhere, OidcRefused, Conflict, RateLimited, NotFound for an invitation.
    """
    doors.require()
    asked = asked_by(answer.secret)
    if not is_link(answer.secret) or not hmac.compare_digest(asked.state.encode(), answer.state.encode()):
        raise _begun_elsewhere()
    async with database.system() as connection:
        taken = await oidc_store.take(connection, digest(asked.state), provider.issuer)
    if taken is None:
        raise _begun_elsewhere()
    await provider.check_issuer(answer.issuer)
    if answer.error or not 0 < len(answer.code) <= LONGEST_CODE:
        why = "You did not let it" if answer.error == "access_denied" else "It would not"
        raise OidcRefused(
            f"{why} tell who you are, so nobody was signed in. Begin again, or sign in another way."
        )
    identity = await provider.identify(answer.code, asked, answer.uri)
    (session,) = taken
    if session is not None:
        await _link(database, signed_in, session, identity)
        return Arrived(None)
    if secret := await _begin(database, identity, caller, None):
        return Arrived(secret)
    return Arrived(await _sign_up(database, doors, identity, caller, invitation), new=True)


async def unlink(principal: Principal, database: Database, provider: Provider, issuer: str) -> None:
    """Take a provider from the principal's ways to sign in; their other sessions end.

    Raises NotFound, Conflict for the last way in. Whoever serves must make its `Authenticator` forget afterwards.
    """
    if principal.via != "session":
        raise Forbidden("Ways to sign in are changed in a signed-in browser, not with a token.")
    await require_confirmed(principal, database)
    async with database.system() as connection:
        outcome = await oidc_store.unlink(
            connection, principal.id, principal.credential, issuer, provider.issuer
        )
    if outcome == "missing":
        raise NotFound("You do not sign in with that provider.")
    if outcome == "last":
        raise Conflict("Nothing else lets you in. Set a password first, then take this away.")
    if outcome == "ended":
        raise _ended()


async def list_linked(principal: Principal, database: Database) -> list[Linked]:
    """With which providers the principal signs in."""
    async with database.system() as connection:
        return await oidc_store.list_linked(connection, principal.id)


@retried
async def _link(database: Database, signed_in: Principal | None, session: UUID, identity: Identity) -> None:
    if signed_in is None or signed_in.via != "session" or signed_in.credential != session:
        raise _begun_elsewhere()
    async with database.system() as connection:
        outcome = await oidc_store.link(connection, signed_in.id, session, identity.issuer, identity.subject)
    if outcome == "taken":
        raise Conflict("Somebody else here signs in with that account of the provider's.")
    if outcome == "other":
        raise Conflict("You sign in with another account of that provider's. Take that away first.")
    if outcome == "ended":
        raise _ended()


@retried
async def _begin(
    database: Database, identity: Identity, caller: Caller, workspace: UUID | None
) -> str | None:
    minted = mint("ses")
    async with database.system() as connection:
        user = await oidc_store.begin_session(
            connection,
            identity.issuer,
            identity.subject,
            new_uuid(),
            minted.digest,
            idle=IDLE_LIFETIME,
            whole=WHOLE_LIFETIME,
            address=caller.address,
            agent=printable_agent(caller.agent),
            workspace=workspace,
        )
    return minted.text if user else None


async def _sign_up(
    database: Database, doors: Doors, identity: Identity, caller: Caller, invitation: str | None
) -> str:
    doors.require_sign_up(invited=invitation is not None)
    hashed = await invitations.check_open(database, invitation) if invitation is not None else None
    await use_try(database, SIGN_UPS, "sign-up", network_of(caller.address))
    workspace = await _create(database, identity, hashed)
    secret = await _begin(database, identity, caller, workspace)
    if secret is None:
        raise _begun_elsewhere()  # unlinked in this very moment
    return secret


@retried
async def _create(database: Database, identity: Identity, invitation: bytes | None) -> UUID | None:
    """An account for an identity that nobody has: the workspace to begin in."""
    user, workspace = new_uuid(), new_uuid()
    for login in _logins(identity):
        for handle in handles_for(login):
            async with database.system() as connection:
                outcome, joined = await oidc_store.sign_up(
                    connection,
                    user,
                    login,
                    _name(identity) or login,
                    workspace=workspace,
                    handle=handle,
                    invitation=invitation,
                    issuer=identity.issuer,
                    subject=identity.subject,
                )
            if outcome == "made":
                return joined or workspace
            if outcome == "known":
                return None
            if outcome == "gone":
                raise invitations.gone()
            if outcome == "login_taken":
                break
    raise Conflict("No name to sign in with could be found for you. Sign up with one that you choose.")


def _logins(identity: Identity) -> list[str]:
    """What somebody may be called here, the best first; none that is somebody's already is ever theirs."""
    stem = re.sub(r"[^a-z0-9._-]+", "-", identity.login.partition("@")[0].lower()).strip("._-")[:36]
    if not LOGIN.fullmatch(stem):
        stem = "guest"
    return [
        stem,
        *(f"{stem}-{number}" for number in range(2, HANDLES_TRIED)),
        f"{stem[:20]}-{new_uuid().hex[-8:]}",
    ]


def _name(identity: Identity) -> str:
    shown = " ".join("".join(each if each.isprintable() else " " for each in identity.name).split())
    return shown.encode()[:NAME_BYTES].decode(errors="ignore").strip()


def _begun_elsewhere() -> BegunElsewhere:
    return BegunElsewhere(
        "This sign-in was not begun in this browser, or too long ago, or it is finished already. Begin again."
    )


def _ended() -> Forbidden:
    return Forbidden("This session has ended, or it ends with a token. Sign in again, and do it from there.")
