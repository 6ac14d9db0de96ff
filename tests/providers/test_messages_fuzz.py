"""Anything at all as an answer in Messages: the same events at every split, and no error but our own."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from porch.providers.messages.decoder import Decoder
from tests.providers.decoding import decode, split
from tests.providers.messages import PING, STOP, begin, event, reason

TEXTS = st.text(max_size=8)
ODD: list[Any] = ["a", [1], {}, 1.5, True]
INDEXES: st.SearchStrategy[Any] = st.integers(0, 2) | st.none() | st.sampled_from(ODD)
KINDS = st.sampled_from(
    ["text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "sparkle", None, 5]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "error", "delta", "index", "usage", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
BLOCKS = st.fixed_dictionaries(
    {"type": KINDS},
    optional={
        "text": TEXTS | JSON,
        "thinking": TEXTS | JSON,
        "signature": TEXTS | JSON,
        "data": TEXTS | JSON,
        "name": TEXTS | st.none(),
        "input": JSON,
        "citations": st.lists(JSON, max_size=2) | JSON,
    },
)
DELTAS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            [
                "text_delta",
                "thinking_delta",
                "input_json_delta",
                "signature_delta",
                "citations_delta",
                "x",
                None,
            ]
        )
    },
    optional={
        "text": TEXTS | JSON,
        "thinking": TEXTS | JSON,
        "partial_json": TEXTS | JSON,
        "signature": TEXTS | JSON,
        "citation": st.fixed_dictionaries({}, optional={"url": TEXTS, "cited_text": TEXTS, "x": JSON}) | JSON,
        "content": JSON,
    },
)


def block_start(index: Any, block: Any) -> bytes:
    return event("content_block_start", index=index, content_block=block)


def block_delta(index: Any, more: Any) -> bytes:
    return event("content_block_delta", index=index, delta=more)


def block_stop(index: Any) -> bytes:
    return event("content_block_stop", index=index)


def unknown(kind: str, value: Any) -> bytes:
    return event(kind.replace("\n", ""), x=value)


def nameless(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


FRAMES = st.one_of(
    st.builds(block_start, INDEXES, BLOCKS),
    st.builds(block_delta, INDEXES, DELTAS),
    st.builds(block_stop, INDEXES),
    st.builds(reason, TEXTS | st.sampled_from(["end_turn", "refusal", "pause_turn"]), JSON),
    st.builds(begin, JSON),
    st.builds(unknown, TEXTS, JSON),
    st.builds(nameless, JSON),
    st.binary(max_size=12),
    st.sampled_from(
        [STOP, PING, b": x\n\n", b"\r", b"\n", b"data:", b"event: error\n", b"data: [DONE]\n\n", b"{"]
    ),
)


@pytest.mark.parity("messages", "any split of the bytes")
@settings(deadline=None)
@given(st.lists(FRAMES, max_size=8), st.integers(0, 2**32), st.booleans())
def test_any_bytes_give_the_same_events_at_every_split_and_only_our_own_errors(
    frames: list[bytes], seed: int, crlf: bool
) -> None:
    body = b"".join(frames)
    if crlf:
        body = body.replace(b"\n", b"\r\n")
    assert decode(split(body, seed), dialect=Decoder).plain() == decode([body], dialect=Decoder).plain()


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {"type": st.just("message")}, optional={"content": st.lists(BLOCKS, max_size=4) | JSON}
    )
)
def test_any_document_raises_only_our_own_errors(document: dict[str, Any]) -> None:
    decode([json.dumps(document).encode()], dialect=Decoder)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_only_our_own_errors(body: bytes) -> None:
    decode([body], dialect=Decoder)
    decode([b"data: ", body, b"\n\n"], dialect=Decoder)
