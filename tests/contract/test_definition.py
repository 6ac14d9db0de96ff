"""A definition is checked key by key, and its hash says what it says, not how it was written."""

import json
import re
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from porch.contract.definition import Approval, content_hash, encode_definition, parse_definition
from porch.contract.errors import InvalidInput
from tests.contract.strategies import handles, words

LEAST: dict[str, Any] = {"name": "guide", "instructions": "Help.", "model": "local:smollm2"}


@given(st.randoms(), handles, words)
def test_the_hash_does_not_know_the_order_of_keys(random: Any, name: str, title: str) -> None:
    values = {**LEAST, "name": name, "title": title, "settings": {"seed": 1, "temperature": 0.5}}
    keys = list(values)
    random.shuffle(keys)
    shuffled = {key: values[key] for key in keys}
    one, other = parse_definition(values), parse_definition(json.dumps(shuffled).encode())
    assert content_hash(one) == content_hash(other)
    assert content_hash(one) != content_hash(parse_definition({**values, "instructions": "Else."}))


def test_the_hash_does_not_change_with_a_release() -> None:
    assert encode_definition(parse_definition(LEAST)) == (
        b'{"instructions":"Help.","model":"local:smollm2","name":"guide"}'
    )
    assert content_hash(parse_definition(LEAST)).startswith("sha256:9c43cf8d")


def test_a_definition_kept_before_there_were_questions_reads_and_hashes_as_it_did() -> None:
    kept = b'{"description":"Says when.","instructions":"Help.","model":"local:smollm2","name":"guide"}'
    read = parse_definition(kept)
    assert read.questions == []
    assert encode_definition(read) == kept
    assert content_hash(parse_definition({**json.loads(kept), "questions": []})) == content_hash(read)
    assert content_hash(parse_definition({**json.loads(kept), "questions": ["When?"]})) != content_hash(read)


def test_an_agent_may_have_six_questions_of_two_hundred_characters() -> None:
    questions = ["é" * 200, "نعم؟", "👩‍👩‍👧 Who?", "c", "d", "e"]
    read = parse_definition({**LEAST, "questions": questions})
    assert parse_definition(encode_definition(read)).questions == questions


@given(words.filter(lambda key: key not in LEAST))
def test_an_unknown_key_is_named(key: str) -> None:
    known = {
        "title",
        "description",
        "questions",
        "tools",
        "plugins",
        "memory",
        "concurrency",
        "approval",
        "settings",
    }
    if key not in known:
        with pytest.raises(InvalidInput, match="unknown field"):
            parse_definition(json.dumps({**LEAST, key: 1}).encode())


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"name": 1}, "/name"),
        ({"settings": {"temprature": 1}}, "/settings"),
        ({"tools": ["clock", 2]}, "/tools/1"),
        ({"tools": ["clock", "clock", "clock"]}, "/tools/1"),
        ({"tools": ["clock"], "approval": {"tools": ["clock", "clock"]}}, "/approval/tools/1"),
        ({"questions": ["x"] * 7}, "/questions"),
        ({"questions": "When?"}, "/questions"),
        ({"questions": ["When?", 2]}, "/questions/1"),
        ({"questions": ["When?", " "]}, "/questions/1"),
        ({"questions": ["x" * 201]}, "/questions/0"),
        *(({"questions": [f"a{bad}b"]}, "/questions/0") for bad in "\x00\n\t\x1b\x7f\x85\u2028\u202e\u2066"),
        ({"model": "gpt"}, "/model"),
        ({"name": "No Handle"}, "/name"),
    ],
)
def test_what_is_wrong_is_pointed_at(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_definition({**LEAST, **changes})
    assert caught.value.errors[0]["pointer"].startswith(pointer)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "ä", "a" * 41, "a\n"])
def test_what_is_no_handle_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        parse_definition({**LEAST, "name": name})


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"name":"a"}', b"\xff"])
def test_any_other_bytes_are_refused_with_a_sentence(text: bytes) -> None:
    with pytest.raises(InvalidInput, match="definition"):
        parse_definition(text)


def test_an_empty_chain_of_models_is_refused() -> None:
    with pytest.raises(InvalidInput, match="empty list"):
        parse_definition({**LEAST, "model": []})


def test_a_definition_survives_its_own_json() -> None:
    definition = parse_definition({**LEAST, "model": ["a:b", "c:d"], "settings": {"max_steps": 3}})
    assert parse_definition(encode_definition(definition)) == definition
    assert msgspec.json.decode(encode_definition(definition))["model"] == ["a:b", "c:d"]


@pytest.mark.parametrize(
    ("approval", "said"),
    [
        ({"tools": ["rocket"]}, "\"approval\" names the tool 'rocket', which the agent does not have"),
        ({"tools": ["clock"], "expires_in": 59}, "approval.expires_in is 59"),
        ({"tools": ["clock"], "expires_in": 30 * 86400 + 1}, "a minute to 30 days"),
        ({"tool": "clock"}, "unknown field `tool`"),
        (
            {"tools": ["clock", "clock"]},
            "\"approval.tools\" names the tool 'clock' more than once; name it once.",
        ),
    ],
)
def test_what_cannot_ask_for_approval_is_told(approval: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(said)):
        parse_definition({**LEAST, "tools": ["clock"], "approval": approval})


def test_a_definition_may_ask_for_approval_of_its_tools() -> None:
    found = parse_definition({**LEAST, "tools": ["clock"], "approval": {"tools": ["clock"]}})
    assert found.approval == Approval(tools=["clock"])


def test_as_many_tools_as_a_request_holds_are_checked_in_a_moment() -> None:
    tools, began = [f"t{number}" for number in range(40_000)], time.perf_counter()
    found = parse_definition({**LEAST, "tools": tools, "approval": {"tools": tools}})
    assert time.perf_counter() - began < 2
    assert found.tools == tools
