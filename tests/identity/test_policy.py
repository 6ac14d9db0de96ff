"""Scopes, roles, and how they meet."""

from typing import get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from porch.contract.errors import Forbidden, InvalidInput
from porch.contract.principal import Principal, Role, Verb
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
