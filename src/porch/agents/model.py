"""Agents, their versions, and the conversations people have with them."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

from porch.contract.definition import Definition
from porch.contract.errors import Conflict
from porch.contract.messages import Message


class StaleRevision(Conflict):
    """Raised when If-Match names a revision of a draft that is not the present one."""

    code = "stale_revision"
    status = 412


class Agent(Struct, frozen=True, kw_only=True):
    """An agent with its draft. `revision` counts the draft's changes; `latest_version` is None until published."""

    id: UUID
    handle: str
    draft: Definition
    revision: int
    latest_version: int | None
    created_at: datetime
    updated_at: datetime


class Version(Struct, frozen=True, kw_only=True):
    """A published definition; it never changes. `content_hash` is equal for equal definitions."""

    number: int
    definition: Definition
    content_hash: str
    note: str
    created_by: UUID
    created_at: datetime


class Conversation(Struct, frozen=True, kw_only=True):
    """A conversation between a participant and an agent.

    `draft` says that the agent's draft answers. `head_message_id` ends the branch that is shown and continued;
    `active_run` is at work now. Of one conversation it is told how its agent takes messages meanwhile, its
    `concurrency`, and how many are `waiting` besides that run, both as of one moment; lists leave it out. With the
    `audience` of members all of its workspace's read it and take part, each as far as their role goes.
    """

    id: UUID
    agent_id: UUID
    agent_handle: str
    participant_kind: str
    participant_id: UUID
    title: str
    created_at: datetime
    updated_at: datetime
    draft: bool
    head_message_id: UUID | None
    active_run: UUID | None
    concurrency: Literal["reject", "queue", "interrupt"] | None = None
    waiting: int | None = None
    audience: Literal["own", "members"] = "own"


class Hit(Struct, frozen=True, kw_only=True):
    """A conversation of a list or a search; `snippet` is the text around what was searched, where there is any."""

    conversation: Conversation
    message: UUID | None = None
    snippet: str | None = None


class Share(Struct, frozen=True, kw_only=True):
    """A link under which anybody reads a conversation's branch as far as `message_id`."""

    id: UUID
    conversation_id: UUID
    message_id: UUID
    created_by: UUID
    created_at: datetime


class SharedConversation(Struct, frozen=True, kw_only=True):
    """What a shared link shows. `left_out` says that the beginning is not among the messages."""

    title: str
    agent: str
    agent_title: str
    created_at: datetime
    messages: list[Message]
    left_out: bool
