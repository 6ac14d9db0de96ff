"""Who acts: the one thing every service takes first."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from porch.contract.errors import Forbidden
from porch.contract.ids import format_id

Verb = Literal["read", "write", "run", "admin"]
Role = Literal["owner", "admin", "editor", "runner", "viewer"]
Kind = Literal["user", "guest", "agent"]
Via = Literal["token", "session"]


@dataclass(frozen=True, slots=True)
class Scope:
    """`verb:kind[:id]`; `*` stands for every kind. `admin` covers the other verbs of its kind, `write` reads."""

    verb: Verb
    kind: str
    id: str | None = None

    def __str__(self) -> str:
        return f"{self.verb}:{self.kind}" + (f":{self.id}" if self.id else "")


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller within one workspace.

    `scopes` is what its credential allows there; `credential` is the id of the token or session used, `via` says
    which of the two it is, and `expires` when that ends by itself. `line` are the tokens above it, with which it
    ends. Where it is good for some `agents` alone, it reaches nothing of others. A guest's is good for one `agent`,
    on pages of one `origin`.
    """

    kind: Kind
    id: UUID
    workspace: UUID
    workspace_handle: str
    role: Role
    scopes: frozenset[str]
    credential: UUID
    name: str = ""
    via: Via = "token"
    agent: UUID | None = None
    origin: str = ""
    expires: datetime | None = None
    agents: frozenset[UUID] | None = None
    line: tuple[UUID, ...] = ()

    @property
    def label(self) -> str:
        """How events name it: `user:usr_…`."""
        prefix = {"user": "usr", "guest": "gst", "agent": "agt"}[self.kind]
        return f"{self.kind}:{format_id(prefix, self.id)}"

    def reaches(self, agent: UUID) -> bool:
        """Whether its credential is good for this agent, and what was said to it."""
        return self.agents is None or agent in self.agents

    def allows(self, verb: Verb, kind: str, object_id: str | None = None) -> bool:
        """Whether the scopes cover this verb on this kind, or on this object of it."""
        for held in (verb, *STRONGER[verb]):
            for named in (kind, "*"):
                if f"{held}:{named}" in self.scopes:
                    return True
                if object_id is not None and f"{held}:{named}:{object_id}" in self.scopes:
                    return True
        return False

    def require(self, verb: Verb, kind: str, object_id: str | None = None) -> None:
        """Raise Forbidden unless the scopes cover it."""
        if not self.allows(verb, kind, object_id):
            wanted = f"{verb}:{kind}" + (f":{object_id}" if object_id else "")
            raise Forbidden(f"This credential lacks the scope {wanted!r}; use a token that has it.")


STRONGER: dict[Verb, tuple[Verb, ...]] = {
    "read": ("write", "admin"),
    "write": ("admin",),
    "run": ("admin",),
    "admin": (),
}
