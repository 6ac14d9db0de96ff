"""Who may do what: the scopes of every role, and how scopes meet.

A credential allows what both its own scopes and its user's role allow. Conversations are their participant's;
`admin:conversations` sees all of a workspace's.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import cast, get_args

from porch.contract.errors import Forbidden, InvalidInput
from porch.contract.principal import STRONGER, Principal, Role, Scope, Verb

KINDS: dict[str, str] = {
    "workspaces": "workspaces; write makes further ones of one's own, admin changes the name of this one",
    "tokens": "personal access tokens; admin reaches those of others",
    "members": "who belongs to the workspace; write leaves it, admin invites and changes others",
    "agents": "definitions and versions; run talks to them",
    "conversations": "conversations, their messages and runs; admin reaches those of others",
    "models": "which models there are; admin reaches their providers' keys",
}

ROLES: dict[Role, frozenset[str]] = {
    "owner": frozenset({"admin:*"}),
    "admin": frozenset({"admin:*"}),
    "editor": frozenset(
        {
            "write:workspaces",
            "write:members",
            "write:tokens",
            "write:agents",
            "run:agents",
            "write:conversations",
            "read:models",
        }
    ),
    "runner": frozenset(
        {
            "write:workspaces",
            "write:members",
            "write:tokens",
            "read:agents",
            "run:agents",
            "write:conversations",
            "read:models",
        }
    ),
    "viewer": frozenset(
        {
            "write:workspaces",
            "write:members",
            "write:tokens",
            "read:agents",
            "read:conversations",
            "read:models",
        }
    ),
}

FULL = frozenset({"admin:*"})
MAX_ID = 80


def parse_scope(text: str) -> Scope:
    """`verb:kind` or `verb:kind:id`. Raises InvalidInput that names what is possible."""
    verb, _, rest = text.partition(":")
    kind, narrowed, identifier = rest.partition(":")
    if verb not in get_args(Verb) or (kind not in KINDS and kind != "*"):
        raise InvalidInput(
            f"{text[:80]!r} is not a scope. Write verb:kind or verb:kind:id with a verb of "
            f"{', '.join(get_args(Verb))} and a kind of {', '.join(KINDS)} or *."
        )
    if narrowed and not (identifier.isascii() and identifier.isprintable() and 0 < len(identifier) <= MAX_ID):
        raise InvalidInput(f"The scope {text[:80]!r} ends in an id that cannot be one; write verb:kind:id.")
    return Scope(cast("Verb", verb), kind, identifier or None)


@lru_cache(maxsize=4096)
def effective(granted: frozenset[str], role: Role) -> frozenset[str]:
    """What a credential with these scopes may do for a user of this role."""
    allowed = ROLES[role]
    if allowed == FULL:
        return granted
    mine, theirs = [_split(s) for s in granted], [_split(s) for s in allowed]
    return frozenset(str(scope) for a in mine for b in theirs if (scope := meet(a, b)))


def meet(a: Scope, b: Scope) -> Scope | None:
    """The scope that allows what both allow, None when that is nothing."""
    kind = b.kind if a.kind == "*" else a.kind
    if kind not in (a.kind, b.kind) or "*" != b.kind != kind:
        return None
    if a.id and b.id and a.id != b.id:
        return None
    if a.verb == b.verb or a.verb in STRONGER[b.verb]:
        verb = b.verb
    elif b.verb in STRONGER[a.verb]:
        verb = a.verb
    else:
        return None
    return Scope(verb, kind, a.id or b.id)


def check_grantable(minter: Principal, scopes: Iterable[str]) -> list[str]:
    """The scopes, sorted, that this principal may give away. Raises InvalidInput, Forbidden."""
    wanted = sorted({str(parse_scope(text)) for text in scopes})
    if not wanted:
        raise InvalidInput("A token needs at least one scope, such as 'run:agents'.")
    for text in wanted:
        scope = parse_scope(text)
        if not minter.allows(scope.verb, scope.kind, scope.id):
            raise Forbidden(
                f"A token cannot be given {text!r}: the credential that makes it lacks that scope."
            )
    return wanted


def _split(text: str) -> Scope:
    verb, kind, *rest = text.split(":", 2)
    return Scope(cast("Verb", verb), kind, rest[0] if rest else None)
