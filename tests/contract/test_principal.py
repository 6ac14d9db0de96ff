"""What a credential's scopes cover, and what they do not."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from porch.contract.errors import Forbidden
from porch.contract.ids import new_uuid
from porch.contract.principal import Principal, Verb

VERBS: tuple[Verb, ...] = get_args(Verb)
verbs = st.sampled_from(VERBS)
kinds = st.sampled_from(["agents", "conversations", "tokens"])
COVERS = {
    "admin": {"read", "write", "run", "admin"},
    "write": {"read", "write"},
    "read": {"read"},
    "run": {"run"},
}


def holding(*scopes: str) -> Principal:
    """A user whose credential has these scopes."""
    return Principal("user", new_uuid(), new_uuid(), "home", "owner", frozenset(scopes), new_uuid())


@given(verbs, verbs, kinds, kinds)
def test_a_scope_covers_its_kind_and_the_weaker_verbs_alone(
    held: Verb, asked: Verb, mine: str, its: str
) -> None:
    assert holding(f"{held}:{mine}").allows(asked, its) == (mine == its and asked in COVERS[held])


@given(verbs, verbs, kinds)
def test_a_star_stands_for_every_kind(held: Verb, asked: Verb, kind: str) -> None:
    assert holding(f"{held}:*").allows(asked, kind) == (asked in COVERS[held])


@given(verbs, verbs, kinds)
def test_a_scope_on_one_object_covers_that_object_alone(held: Verb, asked: Verb, kind: str) -> None:
    principal = holding(f"{held}:{kind}:agt_1")
    assert principal.allows(asked, kind, "agt_1") == (asked in COVERS[held])
    assert not principal.allows(asked, kind, "agt_2")
    assert not principal.allows(asked, kind)


@given(verbs, kinds)
def test_no_scopes_allow_nothing(asked: Verb, kind: str) -> None:
    assert not holding().allows(asked, kind, "agt_1")


def test_a_refusal_names_the_scope_that_is_missing() -> None:
    with pytest.raises(Forbidden, match="'write:agents:agt_1'"):
        holding("read:agents").require("write", "agents", "agt_1")


def test_a_label_says_who_it_is() -> None:
    principal = holding()
    assert principal.label == f"user:usr_{principal.id.hex}"
