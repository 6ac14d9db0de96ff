"""Passkeys: adding, removing, and signing in with one.

Each is discoverable, and asks for a PIN, a finger or a face: it stands for name and password together.
"""

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from porch.contract.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from porch.contract.ids import new_uuid, parse_id
from porch.contract.principal import Principal
from porch.identity import passkey_store, people_store
from porch.identity.confirmed import require_confirmed
from porch.identity.limits import network_of
from porch.identity.model import Passkey
from porch.identity.people import NETWORK, PAIR, Caller, use_try
from porch.identity.service import check_name
from porch.identity.sessions import IDLE_LIFETIME, WHOLE_LIFETIME, printable_agent
from porch.identity.tokens import mint
from porch.identity.webauthn import (
    ALGORITHMS,
    MAX_CREDENTIAL_BYTES,
    NewKey,
    RelyingParty,
    WrongPasskey,
    challenge_of,
    check_assertion,
    check_registration,
)
from porch.storage.connection import Connection
from porch.storage.database import Database
from porch.storage.retrying import retried

Purpose = Literal["add", "sign_in"]

CHALLENGE_BYTES = 32
CHALLENGE_LIFETIME = timedelta(minutes=5)
MOST_PASSKEYS = 20
MOST_BYTES = 64 * 1024
# Those of WebAuthn, and room for those to come; they only help browsers to ask for the right device.
MOST_TRANSPORTS, LONGEST_TRANSPORT = 8, 32


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an authenticator answered to a challenge, each part in base64url."""

    credential: str
    client_data: str
    authenticator_data: str
    signature: str
    user_handle: str


async def begin_adding(principal: Principal, database: Database, party: RelyingParty) -> dict[str, Any]:
    """What the browser is to make a new passkey from (`PublicKeyCredentialCreationOptions`)."""
    require_session(principal)
    await require_confirmed(principal, database)
    async with database.system() as connection:
        known = await passkey_store.list_of(connection, principal.id)
        login, _ = await people_store.read_login(connection, principal.id)
    name = login or principal.name or principal.workspace_handle
    return {
        "challenge": await _challenge(database, "add", principal.credential),
        "rp": {"id": party.id, "name": f"Porch ({party.id})"},
        "user": {"id": _text(principal.id.bytes), "name": name, "displayName": principal.name or name},
        "pubKeyCredParams": [{"type": "public-key", "alg": each} for each in ALGORITHMS],
        "timeout": _milliseconds(),
        "attestation": "none",
        "authenticatorSelection": {
            "residentKey": "required",
            "requireResidentKey": True,
            "userVerification": "required",
        },
        "excludeCredentials": [_descriptor(each) for each in known],
    }


async def add(
    principal: Principal,
    database: Database,
    party: RelyingParty,
    *,
    name: str,
    client_data: str,
    attestation: str,
    transports: list[str],
) -> None:
    """Keep a new passkey of the principal's. Raises InvalidInput, Forbidden, Conflict."""
    require_session(principal)
    name = check_name(name, "The passkey's name")
    _check_transports(transports)
    said, stated = from_text(client_data, "client_data"), from_text(attestation, "attestation")
    await _use_challenge(database, said, "add", principal.credential)
    outcome = await _add(principal, database, check_registration(party, said, stated), name, transports)
    if outcome == "full":
        raise Conflict(f"You have {MOST_PASSKEYS} passkeys, the most that one person may. Remove one first.")
    if outcome == "taken":
        raise Conflict("That passkey is kept here already. Use another authenticator.")
    if outcome == "moved":
        raise Forbidden(
            "This session has ended, or was opened with a token that ends, and what it does ends with it. Sign in "
            "another way, and add the passkey then."
        )


@retried
async def _add(
    principal: Principal, database: Database, key: NewKey, name: str, transports: list[str]
) -> str:
    async with database.system() as connection:
        return await passkey_store.add(
            connection,
            principal.id,
            principal.credential,
            new_uuid(),
            key,
            name=name,
            transports=transports,
            most=MOST_PASSKEYS,
        )


async def list_passkeys(principal: Principal, database: Database) -> list[Passkey]:
    """The principal's own, the newest first."""
    require_session(principal)
    async with database.system() as connection:
        return await passkey_store.list_of(connection, principal.id)


@retried
async def remove(principal: Principal, database: Database, passkey: str) -> None:
    """Take away one of the principal's passkeys; the other sessions that it opened end. Raises NotFound.

    Whoever serves must make its `Authenticator` forget afterwards.
    """
    require_session(principal)
    await require_confirmed(principal, database)
    async with database.system() as connection:
        if not await passkey_store.remove(
            connection, principal.id, parse_id("psk", passkey), principal.credential
        ):
            raise NotFound(
                f"There is no passkey {passkey[:80]!r} of yours; it may have been removed already."
            )


async def begin_signing_in(database: Database, party: RelyingParty, caller: Caller) -> dict[str, Any]:
    """What the browser is to ask any passkey for this server from. Raises RateLimited."""
    await use_try(database, NETWORK, "passkey", network_of(caller.address))
    return {
        "challenge": await _challenge(database, "sign_in", None),
        "rpId": party.id,
        "timeout": _milliseconds(),
        "userVerification": "required",
        "allowCredentials": [],
    }


async def sign_in(database: Database, party: RelyingParty, said: Assertion, caller: Caller) -> str:
    """The secret of a new session. Raises WrongPasskey, Unauthenticated, RateLimited."""
    network = network_of(caller.address)
    await use_try(database, NETWORK, "network", network)
    credential = from_text(said.credential, "credential", MAX_CREDENTIAL_BYTES)
    await use_try(database, PAIR, "passkey", credential.hex(), network)
    user, passkey, count = await _check(database, party, said, "sign_in", None)
    return await _begin(database, user, passkey, count, caller)


@retried
async def _begin(database: Database, user: UUID, passkey: UUID, count: int, caller: Caller) -> str:
    minted = mint("ses")
    async with database.system() as connection:
        outcome = await passkey_store.begin_session(
            connection,
            user,
            passkey,
            count,
            new_uuid(),
            minted.digest,
            idle=IDLE_LIFETIME,
            whole=WHOLE_LIFETIME,
            address=caller.address,
            agent=printable_agent(caller.agent),
        )
    _check_outcome(outcome)
    return minted.text


async def _check(
    database: Database, party: RelyingParty, said: Assertion, purpose: Purpose, session: UUID | None
) -> tuple[UUID, UUID, int]:
    """Whose passkey signed, which it is, and its counter."""
    client_data = from_text(said.client_data, "client_data")
    data = from_text(said.authenticator_data, "authenticator_data")
    signature = from_text(said.signature, "signature")
    await _use_challenge(database, client_data, purpose, session)
    async with database.system() as connection:
        found = await passkey_store.find(
            connection, from_text(said.credential, "credential", MAX_CREDENTIAL_BYTES)
        )
    if found is None:
        raise _unknown()
    passkey, user, key = found
    if from_text(said.user_handle, "user_handle") != user.bytes:
        raise WrongPasskey("The passkey says that it is another person's. Use another one.")
    return user, passkey, check_assertion(party, key, client_data, data, signature)


def _check_outcome(outcome: str) -> None:
    if outcome == "cloned":
        raise WrongPasskey(
            "The passkey's counter did not rise: there may be a copy of it. Sign in another way, and remove it."
        )
    if outcome != "done":
        raise _unknown()


def _unknown() -> Unauthenticated:
    return Unauthenticated(
        "That passkey is not known here; it may have been removed. Use another one, or sign in another way."
    )


async def _challenge(database: Database, purpose: Purpose, session: UUID | None) -> str:
    text = _text(os.urandom(CHALLENGE_BYTES))
    async with database.system() as connection:
        await passkey_store.make_challenge(
            connection, _digest(text.encode()), purpose, session, CHALLENGE_LIFETIME
        )
    return text


async def _use_challenge(
    database: Database, client_data: bytes, purpose: Purpose, session: UUID | None
) -> None:
    """Use up the challenge that this answers, before anything else of it is looked at. Raises WrongPasskey."""
    async with database.system() as connection:
        used = await _used(connection, challenge_of(client_data), purpose, session)
    if not used:
        raise WrongPasskey(
            "That was asked for too long ago, in another session, or was answered already. Try again from the page."
        )


async def _used(connection: Connection, challenge: bytes, purpose: Purpose, session: UUID | None) -> bool:
    return await passkey_store.use_challenge(connection, _digest(challenge), purpose, session)


def require_session(principal: Principal) -> None:
    """Raise Forbidden for a token: ways to sign in are a person's own, in a browser."""
    if principal.via != "session":
        raise Forbidden("Passkeys are a signed-in browser's to see and change, not a token's.")


def from_text(text: str, what: str, most: int = MOST_BYTES) -> bytes:
    """Bytes from base64url without padding. Raises InvalidInput."""
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not 0 < len(found) <= most:
        raise InvalidInput(
            f"{what} is to be 1 to {most:,} bytes in base64url.",
            errors=[{"pointer": f"/{what}", "detail": "not base64url of that length"}],
        )
    return found


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _digest(challenge: bytes) -> bytes:
    return hashlib.sha256(challenge).digest()


def _descriptor(passkey: Passkey) -> dict[str, Any]:
    return {"type": "public-key", "id": _text(passkey.credential), "transports": passkey.transports}


def _milliseconds() -> int:
    return int(CHALLENGE_LIFETIME.total_seconds() * 1000)


def _check_transports(transports: list[str]) -> None:
    if len(transports) > MOST_TRANSPORTS or not all(
        each.isascii() and each.isprintable() and len(each) <= LONGEST_TRANSPORT for each in transports
    ):
        raise InvalidInput(
            f"A passkey has at most {MOST_TRANSPORTS} transports, such as 'internal' or 'usb'.",
            errors=[{"pointer": "/transports", "detail": "not transports"}],
        )
