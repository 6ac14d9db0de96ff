"""`/api/v1/passkeys`: what a page's script and an authenticator say to each other, for a browser's session alone."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import ConfigDict, Field
from starlette.responses import JSONResponse, Response

from porch.contract.ids import format_id
from porch.contract.principal import Principal
from porch.http.auth import public, requires
from porch.http.body_model import BodyModel
from porch.http.forgery import check_origin
from porch.http.pagination import Page
from porch.http.routing import api_router
from porch.http.state import authenticate, database
from porch.identity import passkeys
from porch.identity.signing_in import caller_of, enter, relying_party, signed_in, then_of

router: APIRouter = api_router("/api/v1", "passkeys")
# What concerns the person, in whichever of their workspaces.
Anybody = Annotated[Principal, requires(anywhere=True)]

PASSKEY_ID = "psk_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b"
Encoded = Annotated[
    str, Field(max_length=90_000, description="Base64url, without padding.", examples=["dGVzdA"])
]


class PasskeyBody(BodyModel):
    """A passkey as lists show it."""

    id: str = Field(examples=[PASSKEY_ID])
    name: str = Field(examples=["My phone"])
    created_at: datetime
    last_used_at: datetime | None


class PasskeyRequest(BodyModel):
    """A passkey that an authenticator has just made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="What you call it.", examples=["My phone"])
    client_data: Encoded
    attestation: Encoded
    transports: Annotated[list[str], Field(max_length=100)] = Field(
        default_factory=list[str], examples=[["internal"]]
    )


class AssertionRequest(BodyModel):
    """What an authenticator answered to a challenge."""

    model_config = ConfigDict(extra="forbid")

    credential: Encoded
    client_data: Encoded
    authenticator_data: Encoded
    signature: Encoded
    user_handle: Encoded

    def assertion(self) -> passkeys.Assertion:
        """The same for the service."""
        return passkeys.Assertion(
            self.credential, self.client_data, self.authenticator_data, self.signature, self.user_handle
        )


class SignInRequest(AssertionRequest):
    """The same, to sign in."""

    next: str = Field(default="", description="Where to go on; a path of this server.", examples=["/agents"])


class NextBody(BodyModel):
    """Where to go on."""

    next: str = Field(examples=["/"])


@router.get("/passkeys", operation_id="listPasskeys", summary="List passkeys")
async def list_passkeys(request: Request, principal: Anybody) -> Page[PasskeyBody]:
    """Your own passkeys, the newest first."""
    found = await passkeys.list_passkeys(principal, database(request))
    return Page[PasskeyBody](
        items=[
            PasskeyBody(
                id=format_id("psk", each.id),
                name=each.name,
                created_at=each.created_at,
                last_used_at=each.last_used_at,
            )
            for each in found
        ]
    )


@router.post("/passkeys/options", operation_id="beginPasskey", summary="Begin to add a passkey")
async def begin_passkey(request: Request, principal: Anybody) -> dict[str, Any]:
    """What the browser makes a passkey from; the challenge works once, within five minutes, in this session."""
    return await passkeys.begin_adding(principal, database(request), relying_party(request))


@router.post("/passkeys", status_code=204, operation_id="createPasskey", summary="Add a passkey")
async def create_passkey(request: Request, principal: Anybody, made: PasskeyRequest) -> None:
    """Keeps what the browser made from the options."""
    await passkeys.add(
        principal,
        database(request),
        relying_party(request),
        name=made.name,
        client_data=made.client_data,
        attestation=made.attestation,
        transports=made.transports,
    )


@router.delete(
    "/passkeys/{passkey}", status_code=204, operation_id="removePasskey", summary="Remove a passkey"
)
async def remove_passkey(
    request: Request, principal: Anybody, passkey: Annotated[str, Path(examples=[PASSKEY_ID])]
) -> None:
    """Takes a passkey away. The other sessions that it opened end."""
    await passkeys.remove(principal, database(request), passkey)
    authenticate(request).forget()


@router.post(
    "/sign-in/passkey/options",
    dependencies=[public()],
    operation_id="beginPasskeySignIn",
    summary="Begin to sign in with a passkey",
)
async def begin_sign_in(request: Request) -> dict[str, Any]:
    """What the browser asks its passkeys from; the challenge works once, within five minutes."""
    check_origin(request)
    return await passkeys.begin_signing_in(database(request), relying_party(request), caller_of(request))


@router.post(
    "/sign-in/passkey",
    dependencies=[public()],
    response_model=NextBody,
    operation_id="signInWithPasskey",
    summary="Sign in with a passkey",
)
async def sign_in(request: Request, said: SignInRequest) -> Response:
    """Signs this browser in. A session that it had before ends."""
    check_origin(request)
    then = await then_of(request, said.next)
    secret = await passkeys.sign_in(
        database(request), relying_party(request), said.assertion(), caller_of(request)
    )
    return await enter(request, JSONResponse({"next": then}), secret, await signed_in(request))
