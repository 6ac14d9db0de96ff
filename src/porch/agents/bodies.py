"""What the agents' routes answer, as OpenAPI shows it."""

from datetime import datetime
from typing import Any, Literal, cast

import msgspec
from pydantic import ConfigDict, Field

from porch.agents.model import Agent, Conversation, Hit, Version
from porch.contract.definition import Definition
from porch.contract.ids import format_id
from porch.contract.principal import Principal
from porch.http.body_model import BodyModel

AGENT_ID, CONVERSATION_ID, MESSAGE_ID, RUN_ID, USER_ID = (
    f"{prefix}_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b" for prefix in ("agt", "conv", "msg", "run", "usr")
)
DEFINITION: dict[str, Any] = {
    "name": "helper",
    "title": "Helper",
    "description": "Answers short questions and knows what time it is.",
    "questions": ["What day is it?"],
    "instructions": "Answer briefly. Look at the clock before you speak of today.",
    "model": ["anthropic:claude-sonnet-4-5", "local:smollm2"],
    "tools": ["clock"],
    "settings": {"temperature": 0.2},
}
HASH = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class AgentBody(BodyModel):
    """An agent and its draft."""

    id: str = Field(examples=[AGENT_ID])
    handle: str = Field(examples=["helper"])
    agent: str = Field(examples=["@ada/helper"], description="How others call it.")
    definition: dict[str, Any] = Field(examples=[DEFINITION], description="The draft.")
    revision: int = Field(examples=[3], description="Counts the draft's changes; also the ETag.")
    latest_version: int | None = Field(examples=[2], description="Null until published.")
    created_at: datetime
    updated_at: datetime


class ChangedAgentBody(AgentBody):
    """An agent just written."""

    warnings: list[str] = Field(examples=[["ANTHROPIC_API_KEY is not set; set it and start Porch again."]])


class VersionBody(BodyModel):
    """A version: it never changes."""

    agent: str = Field(examples=["@ada/helper"])
    number: int = Field(examples=[2])
    definition: dict[str, Any] = Field(examples=[DEFINITION])
    content_hash: str = Field(examples=[HASH], description="Equal for equal definitions.")
    note: str = Field(examples=["Looks at the clock first."])
    created_by: str = Field(examples=[USER_ID])
    created_at: datetime


class PublishedVersionBody(VersionBody):
    """The version that a publication gave."""

    warnings: list[str]


class Publication(BodyModel):
    """What a new version is given besides the draft."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"note": "Looks at the clock first."}]}
    )

    note: str = ""


class ConversationRequest(BodyModel):
    """A conversation to be begun."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"title": "Plans for Sunday"}]})

    title: str = ""
    draft: bool = Field(
        default=False,
        description="Talk to the agent's draft as it stands at each message; needs `write:agents`. "
        "Such a conversation is in no list.",
    )


class ConversationChange(BodyModel):
    """What is to be different about a conversation."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"title": "Plans for Sunday"}]})

    title: str | None = Field(default=None, description="Empty: the next message names it.")
    head: str | None = Field(
        default=None,
        examples=[MESSAGE_ID],
        description="The last message of the branch to show and continue; 409 while a run is at work.",
    )
    audience: Literal["own", "members"] | None = Field(
        default=None,
        description="`members` opens it to all of the workspace's: they read it and take part as their roles let them.",
    )


class ParticipantBody(BodyModel):
    """Who the agent talks to."""

    kind: str = Field(examples=["user"])
    id: str = Field(examples=[USER_ID])


class ConversationBody(BodyModel):
    """A conversation."""

    id: str = Field(examples=[CONVERSATION_ID])
    agent: str = Field(examples=["@ada/helper"])
    agent_id: str = Field(examples=[AGENT_ID])
    participant: ParticipantBody
    title: str = Field(examples=["Plans for Sunday"], description="At first the beginning of what was said.")
    draft: bool = Field(description="Whether the agent's draft answers.")
    head: str | None = Field(
        examples=[MESSAGE_ID], description="The last message of the branch that is shown and continued."
    )
    active_run: str | None = Field(examples=[RUN_ID], description="The run at work in it now.")
    concurrency: Literal["reject", "queue", "interrupt"] | None = Field(
        default=None,
        examples=["queue"],
        description="What becomes of a message while another is answered, as its agent says; null in lists.",
    )
    waiting: int | None = Field(
        default=None, examples=[0], description="How many messages wait under `/queue`; null in lists."
    )
    audience: Literal["own", "members"] = Field(description="Who besides admins reads it.")
    created_at: datetime
    updated_at: datetime


class FoundConversationBody(ConversationBody):
    """A conversation of your list."""

    snippet: str | None = Field(
        examples=["…the train leaves at noon on Sunday, so…"],
        description="The text around what was searched for.",
    )


class AuthorBody(BodyModel):
    """Who said it."""

    id: str = Field(examples=[USER_ID])
    name: str = Field(examples=["Ada"])
    you: bool


class MessageBody(BodyModel):
    """A message. `parent` is the one it follows, `author` who said it, null for answers.

    `parts` are text, reasoning, refusals, tool calls and results; pictures and files, whose bytes are at `url`.
    """

    id: str = Field(examples=[MESSAGE_ID])
    role: str = Field(examples=["user"])
    parts: list[dict[str, Any]] = Field(examples=[[{"type": "text", "text": "What time is it?"}]])
    created_at: datetime
    parent: str | None = None
    run: str | None = Field(default=None, examples=[RUN_ID])
    author: AuthorBody | None = None


def agent_body(principal: Principal, agent: Agent) -> AgentBody:
    """The agent as its routes answer it."""
    return AgentBody(
        id=format_id("agt", agent.id),
        handle=agent.handle,
        agent=_address(principal, agent.handle),
        definition=msgspec.to_builtins(agent.draft),
        revision=agent.revision,
        latest_version=agent.latest_version,
        created_at=agent.created_at,
        updated_at=agent.updated_at,
    )


def version_body(principal: Principal, handle: str, version: Version) -> VersionBody:
    """The version as its routes answer it."""
    return VersionBody(
        agent=_address(principal, handle),
        number=version.number,
        definition=msgspec.to_builtins(version.definition),
        content_hash=version.content_hash,
        note=version.note,
        created_by=format_id("usr", version.created_by),
        created_at=version.created_at,
    )


def conversation_body(principal: Principal, conversation: Conversation) -> ConversationBody:
    """The conversation as its routes answer it."""
    prefix = {"user": "usr", "guest": "gst", "agent": "agt"}[conversation.participant_kind]
    return ConversationBody(
        id=format_id("conv", conversation.id),
        agent=_address(principal, conversation.agent_handle),
        agent_id=format_id("agt", conversation.agent_id),
        participant=ParticipantBody(
            kind=conversation.participant_kind, id=format_id(prefix, conversation.participant_id)
        ),
        title=conversation.title,
        draft=conversation.draft,
        head=format_id("msg", conversation.head_message_id) if conversation.head_message_id else None,
        active_run=format_id("run", conversation.active_run) if conversation.active_run else None,
        concurrency=conversation.concurrency,
        waiting=conversation.waiting,
        audience=conversation.audience,
        created_at=conversation.created_at,
        updated_at=conversation.updated_at,
    )


def found_body(principal: Principal, hit: Hit) -> FoundConversationBody:
    """A conversation as lists of one's own answer it."""
    body = conversation_body(principal, hit.conversation)
    return FoundConversationBody(**body.model_dump(), snippet=hit.snippet)


def definition_body() -> dict[str, Any]:
    """The request body of a definition, for `openapi_extra`."""
    (_,), components = msgspec.json.schema_components([Definition], ref_template="{name}")
    schema = _inlined(components["Definition"], components)
    return {"required": True, "content": {"application/json": {"schema": schema, "example": DEFINITION}}}


def patch_body() -> dict[str, Any]:
    """The request body of a change to a definition."""
    schema = {"type": "object", "description": "A JSON merge patch (RFC 7396): null removes a key."}
    example = {"instructions": "Answer in one sentence.", "tools": None}
    content = {"schema": schema, "example": example}
    return {
        "required": True,
        "content": {"application/json": content, "application/merge-patch+json": content},
    }


def _address(principal: Principal, handle: str) -> str:
    return f"@{principal.workspace_handle}/{handle}"


def _inlined(schema: Any, components: dict[str, Any]) -> Any:
    if isinstance(schema, dict):
        items = cast("dict[str, Any]", schema)
        if "$ref" in items:
            return _inlined(components[items["$ref"]], components)
        return {key: _inlined(value, components) for key, value in items.items()}
    if isinstance(schema, list):
        return [_inlined(entry, components) for entry in cast("list[Any]", schema)]
    return schema
