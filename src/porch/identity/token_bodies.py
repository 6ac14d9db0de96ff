"""How tokens look over HTTP."""

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field
from starlette.responses import Response

from porch.contract.ids import format_id
from porch.http.body_model import BodyModel
from porch.identity.model import Token
from porch.identity.tokens import MintedToken

USER_ID, WORKSPACE_ID, TOKEN_ID = (
    f"{prefix}_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b" for prefix in ("usr", "ws", "tok")
)


class TokenRequest(BodyModel):
    """A token to be made."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"name": "nightly job", "scopes": ["run:agents", "read:conversations"], "expires_in": 604800}
            ]
        },
    )

    name: str
    scopes: Annotated[list[str], Field(max_length=100)]
    expires_in: Annotated[int, Field(strict=True)] | None = Field(
        default=None, description="Seconds; 90 days unless given, a year at most."
    )
    agents: list[str] | None = Field(
        default=None,
        examples=[["helper"]],
        description="The only agents that it reaches, with what was said to them: up to 20, by handle or id. All "
        "unless given, or those of the token that makes it. Its scopes are then of agents, conversations and tokens.",
    )
    agent: str | None = Field(
        default=None,
        description="The agent that it stands for, by handle or id, in place of you: then it is a `porch_agt_…`.",
    )
    levels: Annotated[int, Field(strict=True)] | None = Field(
        default=None,
        description="How many levels of tokens it may make below itself, 0 to 4; one less than the token that makes it "
        "unless given.",
    )


class RotationRequest(BodyModel):
    """A token to be given a successor."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"overlap": 86400}]})

    overlap: Annotated[int, Field(strict=True)] = Field(
        default=0, description="Seconds for which the one before goes on; a week at most."
    )


class TokenBody(BodyModel):
    """A token as lists show it."""

    id: str = Field(examples=[TOKEN_ID])
    name: str = Field(examples=["nightly job"])
    prefix: str = Field(examples=["porch_pat_4kQx9Z"], description="How the token begins.")
    scopes: list[str] = Field(examples=[["run:agents", "read:conversations"]])
    user: str = Field(examples=[USER_ID])
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    last_used_from: str | None = Field(examples=["192.0.2.7"])
    parent: str | None = Field(description="The token that made it, and with which it ends.")
    levels: int = Field(description="How many levels of tokens it may make below itself.")
    agents: list[str] | None = Field(description="The only agents that it reaches; null for all.")
    agent: str | None = Field(description="The agent that it stands for; null for its user.")
    replaced_by: str | None = Field(description="Its successor, where it was rotated.")


class NewTokenBody(TokenBody):
    """A token just made."""

    token: str | None = Field(
        examples=["porch_pat_4kQx9Z…"],
        description="The token itself, shown this once; null when an Idempotency-Key replays the answer.",
    )


def token_body(token: Token) -> TokenBody:
    """A token as lists show it."""
    return TokenBody(
        id=format_id("tok", token.id),
        name=token.name,
        prefix=token.prefix,
        scopes=token.scopes,
        user=format_id("usr", token.user_id),
        created_at=token.created_at,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
        last_used_at=token.last_used_at,
        last_used_from=token.last_used_from,
        parent=format_id("tok", token.line[-1]) if token.line else None,
        levels=token.levels,
        agents=None if token.agents is None else [format_id("agt", agent) for agent in token.agents],
        agent=format_id("agt", token.agent_id) if token.agent_id else None,
        replaced_by=format_id("tok", token.replaced_by) if token.replaced_by else None,
    )


def created(token: Token, minted: MintedToken) -> Response:
    """The answer that shows a token, this once."""
    body = NewTokenBody(**token_body(token).model_dump(), token=minted.text)
    return Response(body.model_dump_json(), 201, media_type="application/json")
