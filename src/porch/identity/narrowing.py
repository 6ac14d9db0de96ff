"""Tokens that make narrower ones: what a child may be given, of its scopes, agents and levels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from porch.contract.errors import Forbidden, InvalidInput
from porch.contract.ids import format_id
from porch.identity.model import Token
from porch.identity.policy import parse_scope

MOST_LEVELS = 4
MOST_AGENTS = 20
# Of what belongs to single agents: whatever else there is belongs to the whole workspace.
KINDS = ("agents", "conversations", "tokens")


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What bounds a token besides its scopes: the tokens above it, levels below it, agents; and which one it is."""

    line: tuple[UUID, ...] = ()
    levels: int = MOST_LEVELS
    agents: tuple[UUID, ...] | None = None
    agent: UUID | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing but its scopes bounds it."""
        return not self.line and self.agents is None and self.agent is None


WHOLE = Narrowing()


def narrow(
    above: Token | None, levels: int | None, agents: Sequence[UUID] | None, agent: UUID | None
) -> Narrowing:
    """What bounds a token that is made with the one `above`, or without one by a person who is signed in.

    Raises Forbidden for one that may make none, InvalidInput for more levels or other agents than it has to give.
    """
    if above is None:
        most, line = MOST_LEVELS, ()
    elif above.levels < 1 or len(above.line) >= MOST_LEVELS:
        raise Forbidden("This token may make no others: it is at the last level that its makers allowed.")
    else:
        most, line = above.levels - 1, (*above.line, above.id)
    if levels is not None and not 0 <= levels <= most:
        raise InvalidInput(
            f"levels says how many levels of tokens it may make below itself: 0 to {most} here.",
            errors=[{"pointer": "/levels", "detail": "out of range"}],
        )
    given = above.agents if above is not None else None
    if agents is None:
        agents = given
    elif given is not None and not set(agents) <= set(given):
        raise Forbidden("A token cannot be given an agent that the one that makes it does not reach.")
    if above is not None and above.agent_id is not None:
        if agent not in (None, above.agent_id):
            raise Forbidden("An agent's token makes tokens of the same agent alone.")
        agent = above.agent_id
    if agent is not None:
        agents = (agent,)
    return Narrowing(
        line, most if levels is None else levels, tuple(agents) if agents is not None else None, agent
    )


def narrow_scopes(scopes: Iterable[str], narrowing: Narrowing) -> list[str]:
    """The same scopes, of the agents that a token reaches and no others. Raises InvalidInput."""
    if narrowing.agents is None:
        return list(scopes)
    reached = [format_id("agt", agent) for agent in narrowing.agents]
    narrowed: list[str] = []
    for text in scopes:
        scope = parse_scope(text)
        own = narrowing.agent is not None and (scope.verb, scope.kind) == ("write", "agents")
        if scope.kind not in KINDS or scope.verb == "admin" or own:
            raise InvalidInput(
                f"A token for single agents cannot have {text!r}. Give it scopes of {', '.join(KINDS)}, without admin"
                + (", and for an agent itself without write:agents." if narrowing.agent else "."),
                errors=[{"pointer": "/scopes", "detail": "wider than single agents"}],
            )
        if scope.kind != "agents":
            narrowed.append(text)
        elif scope.id is None:
            narrowed += [f"{scope}:{agent}" for agent in reached]
        elif scope.id in reached:
            narrowed.append(text)
        else:
            raise InvalidInput(
                f"{text!r} is of an agent that this token is not to reach.",
                errors=[{"pointer": "/scopes", "detail": "another agent"}],
            )
    return narrowed
