"""Scopes, roles, and how they meet."""

import os
import re
from pathlib import Path
from typing import get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from porch.contract.errors import Forbidden, InvalidInput
from porch.contract.principal import STRONGER, Principal, Role, Verb
from porch.identity.policy import KINDS, ROLES, check_grantable, effective, parse_scope

VERBS: list[Verb] = list(get_args(Verb))
KIND_NAMES = ["*", *KINDS]
scopes = st.frozensets(
    st.builds(
        "{}:{}{}".format,
        st.sampled_from(VERBS),
        st.sampled_from(KIND_NAMES),
        st.sampled_from(["", ":x", ":y"]),
    ),
    max_size=4,
)


def principal(held: frozenset[str], role: Role = "owner") -> Principal:
    nobody = UUID(int=0)
    return Principal("user", nobody, nobody, "ada", role, held, nobody)


def test_every_role_has_scopes_that_parse() -> None:
    assert set(ROLES) == set(get_args(Role))
    for held in ROLES.values():
        assert {str(parse_scope(text)) for text in held} == set(held)


@pytest.mark.parametrize(
    ("role", "verb", "kind", "allowed"),
    [
        ("owner", "admin", "workspaces", True),
        ("admin", "admin", "conversations", True),
        ("editor", "write", "agents", True),
        ("editor", "admin", "agents", False),
        ("editor", "admin", "workspaces", False),
        ("runner", "run", "agents", True),
        ("runner", "write", "agents", False),
        ("runner", "write", "conversations", True),
        ("viewer", "read", "agents", True),
        ("viewer", "run", "agents", False),
        ("viewer", "write", "conversations", False),
        ("viewer", "admin", "conversations", False),
    ],
)
def test_the_table_of_roles_says_what_it_means(role: Role, verb: Verb, kind: str, allowed: bool) -> None:
    everything = principal(effective(frozenset({"admin:*"}), role), role)
    assert everything.allows(verb, kind) is allowed


@given(
    scopes,
    st.sampled_from(list(get_args(Role))),
    st.sampled_from(VERBS),
    st.sampled_from(list(KINDS)),
    st.sampled_from([None, "x", "y"]),
)
def test_a_credential_allows_exactly_what_both_its_scopes_and_its_role_allow(
    granted: frozenset[str], role: Role, verb: Verb, kind: str, object_id: str | None
) -> None:
    both = principal(granted).allows(verb, kind, object_id) and principal(ROLES[role]).allows(
        verb, kind, object_id
    )
    assert principal(effective(granted, role)).allows(verb, kind, object_id) is both


@pytest.mark.parametrize(
    "text",
    [
        "",
        "read",
        "read:",
        "fly:agents",
        "read:nothing",
        "agents:read",
        "read:agents:",
        "read:agents:a\x00",
        "read:agents:é",
        "read:agents:" + "x" * 81,
    ],
)
def test_what_is_no_scope_is_refused_with_what_is_possible(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_scope(text)
    assert "verb:kind" in caught.value.message


def test_a_token_is_given_no_scope_that_its_maker_lacks() -> None:
    maker = principal(frozenset({"write:agents", "run:agents:agt_1", "write:tokens"}))
    assert check_grantable(maker, ["read:agents", "run:agents:agt_1", "read:agents"]) == [
        "read:agents",
        "run:agents:agt_1",
    ]
    for wanted in ("run:agents", "run:agents:agt_2", "admin:agents", "read:*", "read:conversations"):
        with pytest.raises(Forbidden):
            check_grantable(maker, [wanted])
    with pytest.raises(InvalidInput):
        check_grantable(maker, [])


DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"
ROLES_TABLE = re.compile(r"(?<=<!-- roles -->\n\n).*?(?=\n\n<!-- end -->)", re.DOTALL)


def roles_table() -> str:
    """What each role may do with each kind of thing, in Markdown: its verbs but for those that a stronger one holds."""
    roles = get_args(Role)
    lines = ["| kind | what that is | " + " | ".join(roles) + " |", "|---" * (len(roles) + 2) + "|"]
    for kind, what in KINDS.items():
        cells = [" ".join(verbs_of(role, kind)) or "–" for role in roles]
        lines.append(f"| `{kind}` | {what} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verbs_of(role: Role, kind: str) -> list[str]:
    held: list[Verb] = [verb for verb in VERBS if principal(ROLES[role], role).allows(verb, kind)]
    return [verb for verb in held if not set(held) & set(STRONGER.get(verb, ()))]


def test_the_documented_roles_are_the_code() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    if os.environ.get("PORCH_WRITE_DOCS"):
        text = ROLES_TABLE.sub(lambda _: roles_table(), text)
        DOCUMENT.write_text(text, encoding="utf-8")
    found = ROLES_TABLE.search(text)
    assert found
    assert found[0] == roles_table(), (
        "PORCH_WRITE_DOCS=1 ./dev test tests/identity/test_policy.py writes it anew."
    )
