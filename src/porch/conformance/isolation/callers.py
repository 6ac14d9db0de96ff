"""Those who must not: who they are, and what a door owes them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from porch.conformance.isolation.belongings import SITE, Belongings
from porch.conformance.isolation.doors import PERSONAL, Door
from porch.conformance.isolation.web import Person, Refused, bearer
from porch.contract.principal import STRONGER

Standing = Literal[
    "nobody", "forged", "unsigned", "stale", "elsewhere", "guest", "agent", "limited", "inside"
]
UNKNOWN = "porch_pat_0000000000000000000000000000000000000000000"


@dataclass(frozen=True)
class Caller:
    """Somebody with a credential, or without one. `name` goes into sentences.

    `scopes` are what an insider may do; `own` are objects of their own workspace, for paths that begin there.
    """

    key: str
    name: str
    standing: Standing
    headers: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    scopes: frozenset[str] = frozenset()
    own: Belongings | None = None
    owner: bool = False

    def may(self, scope: str) -> bool:
        """Whether the scopes cover that one, whatever object it is about."""
        verb, _, kind = scope.partition(":")
        held = (verb, *STRONGER[verb])  # pyright: ignore[reportArgumentType]  # a verb of ours
        return any(f"{each}:{named}" in self.scopes for each in held for named in (kind, "*"))

    def may_narrowly(self, scope: str) -> bool:
        """Whether they cover it for some object alone."""
        verb, _, kind = scope.partition(":")
        held = (verb, *STRONGER[verb])  # pyright: ignore[reportArgumentType]  # a verb of ours
        return any(one.startswith(f"{each}:{kind}:") for one in self.scopes for each in held)


@dataclass(frozen=True, slots=True)
class Due:
    """What a door owes a caller: one of these statuses (any where there is none), and silence about all or about
    what is private; to be `sent_away` is to be led to the page where one signs in."""

    statuses: frozenset[int] = frozenset()
    sent_away: bool = False
    private_only: bool = False


NOT_FOUND, FORBIDDEN, NEITHER = frozenset({404}), frozenset({403}), frozenset({403, 404})


def due(caller: Caller, door: Door) -> Due | None:
    """What the door owes this caller; None where the caller may do what the door is for."""
    match caller.standing:
        case "nobody":
            sent_away = door.page and door.method == "GET"
            return Due(frozenset({401}), sent_away=sent_away)
        case "forged":
            return Due(FORBIDDEN)
        case "elsewhere":
            if door.home:
                return Due(FORBIDDEN)
            if door.shape.expects:
                return Due(door.shape.expects)
            return Due(NOT_FOUND if door.names else frozenset())
        case "unsigned":
            return None if door.method == "GET" else Due(FORBIDDEN)
        case "stale":
            # A form that was opened in a workspace that one has left; the workspace of a path goes before it.
            return None if door.method == "GET" or door.anywhere else Due(NEITHER)
        case "guest" | "agent" | "limited":
            return _narrow(caller, door)
        case "inside":
            return _inside(caller, door)


def _narrow(caller: Caller, door: Door) -> Due:
    """Whoever comes for another agent alone. What names its own workspace alone, it may have its own part of."""
    match caller.standing:
        case "guest":
            taken, others = door.guests, door.names
        case "agent":
            taken = door.agents
            others = door.names if caller.key == "agent-elsewhere" else door.names - {"ws"}
        case _:
            kind = (door.scope or "read:agents").partition(":")[2]
            taken, others = not door.home and kind in ("agents", "conversations"), door.names - {"ws"}
    if not taken:
        return Due(FORBIDDEN)
    return Due(NEITHER if others else frozenset())


def _inside(caller: Caller, door: Door) -> Due | None:
    # A member reads what all members do; a token of the owner's that may less is owed silence about all.
    member = not caller.owner
    if door.scope is None:
        return None
    if door.home:
        return Due(FORBIDDEN, private_only=member)
    if caller.may(door.scope):
        if caller.owner:
            return None
        if door.names & PERSONAL:
            return Due(NOT_FOUND, private_only=True)
        return Due(private_only=True) if not door.names or "chat" in door.parameters else None
    if caller.may_narrowly(door.scope):
        return Due(NEITHER if door.names else frozenset())
    return Due(FORBIDDEN, private_only=member)


# ---------------------------------------------------------------- making them


def nobody() -> list[Caller]:
    """Without a credential, and with one that never was."""
    return [
        Caller("nobody", "nobody", "nobody", {"Accept": "application/json"}),
        Caller("unknown", "an unknown token", "nobody", bearer(UNKNOWN)),
    ]


def browser(person: Person) -> dict[str, str]:
    """The headers of a page of ours in a person's browser."""
    return {
        "Cookie": person.cookie,
        "X-CSRF-Token": person.csrf,
        "Sec-Fetch-Site": "same-origin",
        "Origin": person.web.origin,
        "Accept": "text/html, application/json;q=0.9",
    }


def forged(person: Person) -> Caller:
    """The owner's own browser, made to ask by a page of another site."""
    headers = {
        "Cookie": person.cookie,
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "cors",
        "Origin": "https://evil.example",
        "Accept": "application/json",
    }
    return Caller("forged", "another site, in the owner's browser", "forged", headers)


def unsigned(person: Person) -> Caller:
    """The owner's own browser, without the token that only pages of ours have."""
    headers = {name: value for name, value in browser(person).items() if name != "X-CSRF-Token"}
    return Caller("unsigned", "the owner's browser without a CSRF token", "unsigned", headers)


def strangers(person: Person, own: Belongings) -> list[Caller]:
    """Somebody with a workspace of their own, as a program and as a browser."""
    return [
        Caller("stranger", "a stranger's token", "elsewhere", bearer(person.token), own=own),
        Caller("stranger-session", "a stranger's browser", "elsewhere", browser(person), own=own),
    ]


async def member(key: str, name: str, person: Person, token: str, workspace: str) -> list[Caller]:
    """Somebody who belongs to the owner's workspace, as a program and as a browser that stands in it."""
    told = (await person.web.ask("GET", "/api/v1/me", bearer(token), b"")).told
    scopes = frozenset(str(scope) for scope in told.get("scopes", ()))
    if not scopes:
        raise Refused(f"/api/v1/me does not tell the scopes of {name}.")
    switched = await person.submit("/workspaces/switch", {"workspace": workspace})
    if switched.status != 303:
        raise Refused(f"{name} could not switch to the workspace: {switched.refusal}")
    await person.browse("GET", "/")
    return [
        Caller(key, f"{name}'s token", "inside", bearer(token), scopes),
        Caller(f"{key}-session", f"{name}'s browser", "inside", browser(person), scopes),
    ]


async def minted(
    owner: Person, scopes: Iterable[str], seconds: int = 3600, **narrower: Any
) -> tuple[str, str]:
    """A token of the owner's with these scopes, and its id."""
    body = {"name": "isolation", "scopes": list(scopes), "expires_in": seconds, **narrower}
    told = (await owner.must("POST", f"{owner.path}/tokens", body)).told
    owner.tokens.append(told["id"])
    return told["token"], told["id"]


async def narrowed(owner: Person, own: Belongings) -> Caller:
    """A token for another agent of the same workspace."""
    scopes = [f"{verb}:agents:{own.other_id}" for verb in ("read", "write", "run")]
    token, _ = await minted(owner, scopes)
    return Caller(
        "narrowed",
        "a token narrowed to another agent",
        "inside",
        bearer(token),
        frozenset(scopes),
        owner=True,
    )


async def limited(owner: Person, own: Belongings) -> Caller:
    """A token for another agent of the same workspace, and what was said to it: its scopes name no agent."""
    scopes = ["read:agents", "run:agents", "write:conversations"]
    token, _ = await minted(owner, scopes, agents=[own.other])
    held = [f"{verb}:agents:{own.other_id}" for verb in ("read", "run")]
    name = "a token for another agent alone"
    return Caller("limited", name, "limited", bearer(token), frozenset(held))


async def bot(owner: Person, own: Belongings, key: str, name: str) -> Caller:
    """A token that stands for another agent than the one whose objects are tried."""
    token, _ = await minted(owner, ["run:agents", "write:conversations", "write:tokens"], agent=own.other)
    return Caller(key, name, "agent", bearer(token))


async def reading(owner: Person) -> Caller:
    """A token that may only read."""
    token, _ = await minted(owner, ["read:*"])
    return Caller(
        "reading", "a token that may only read", "inside", bearer(token), frozenset({"read:*"}), owner=True
    )


async def guest(owner: Person, own: Belongings, key: str, name: str) -> Caller:
    """A visitor of another agent than the one whose objects are tried."""
    path = f"/@{owner.handle}/{own.other}/guests"
    answer = await owner.web.ask("POST", path, {"Origin": SITE, "Sec-Fetch-Site": "cross-site"}, b"")
    token: Any = answer.told.get("token")
    if answer.status != 201 or not token:
        raise Refused(f"No guest is admitted: {answer.refusal}")
    headers = {**bearer(token), "Origin": SITE, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    return Caller(key, name, "guest", headers)
