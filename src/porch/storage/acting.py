"""Who acts in this task: transactions say so of themselves, for the audit trail to note."""

from contextvars import ContextVar
from uuid import UUID

import msgspec

from porch.contract.ids import format_id
from porch.contract.principal import Principal

_acting: ContextVar[str] = ContextVar("porch_acting", default="")
LONGEST = 300


def act_as(principal: Principal, source: str, address: str | None) -> None:
    """What this task writes from now on, the principal does. `source` is in small letters: api, page."""
    said = {
        "source": source,
        "actor": principal.label.partition(":")[2],
        "name": principal.name[:LONGEST],
        "credential": format_id("ses" if principal.via == "session" else "tok", principal.credential),
        "address": address,
    }
    _acting.set(msgspec.json.encode(said).decode())


def begin(workspace: UUID) -> str:
    """The statements that begin a transaction of a workspace."""
    first = f"BEGIN; SET LOCAL porch.workspace = '{UUID(int=workspace.int)}'"
    said = _acting.get()
    return first if not said else f"{first}; SET LOCAL porch.actor = {_literal(said)}"


def _literal(text: str) -> str:
    # standard_conforming_strings is on: a quote is all that could end it. JSON has no NUL.
    return "'" + text.replace("'", "''") + "'"
