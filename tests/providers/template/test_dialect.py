"""What every new adapter shows first; begin with a copy of this."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from porch.egress import Egress
from porch.providers.endpoint import fixed
from porch.providers.request import ToolSpec
from porch.providers.transport import Retries
from tests.providers.asking import ask, endpoint, request
from tests.providers.decoding import Decoded, decode, split
from tests.providers.template.dialect import Decoder, Template
from tests.providers.upstream import answer, upstream

ROOT = Path(__file__).parents[3]


def frame(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


ANSWER = [
    frame(think="Hm"),
    frame(say="Good "),
    frame(say="evening"),
    frame(call={"id": "1", "name": "clock"}),
    frame(input='{"zone":'),
    frame(input=' "UTC"}'),
    frame(end="done", tokens={"in": 3, "out": 5}),
]


def run(*frames: bytes) -> Decoded:
    """Decoded whole and byte by byte, which must come to the same; the laws are checked on the way."""
    body = b"".join(frames)
    whole = decode([body], dialect=Decoder)
    assert decode([body[at : at + 1] for at in range(len(body))], dialect=Decoder).plain() == whole.plain()
    return whole


def test_an_answer_comes_in_parts_and_calls_with_its_usage() -> None:
    result = run(*ANSWER)
    assert (result.error, result.text("reasoning"), result.text()) == (None, "Hm", "Good evening")
    assert [(call.name, call.arguments) for call in result.calls] == [("clock", {"zone": "UTC"})]
    assert [(usage.input_tokens, usage.output_tokens) for usage in result.usage] == [(3, 5)]
    assert (result.outcome.reason, result.outcome.raw_reason) == ("tool_calls", "done")


def test_a_fault_in_the_stream_is_an_error_of_the_taxonomy() -> None:
    result = run(frame(say="Good"), frame(fault={"code": "overloaded", "message": "busy"}))
    assert result.error is not None
    assert (result.error.kind, result.text()) == ("overloaded", "Good")


@pytest.mark.parametrize("kept", range(len(ANSWER)))
def test_a_stream_without_its_end_is_a_cut(kept: int) -> None:
    result = run(b": begun\n\n", *ANSWER[:kept])
    assert result.error is not None
    assert result.error.kind == "cut"


FRAMES = st.sampled_from(ANSWER) | st.binary(max_size=8) | st.just(b'data: {"say": 1}{"say": "x"}\n\n')


@settings(deadline=None)
@given(st.lists(FRAMES, max_size=6), st.integers(0, 2**32))
def test_any_bytes_give_the_same_events_at_every_split_and_only_our_own_errors(
    frames: list[bytes], seed: int
) -> None:
    body = b"".join(frames)
    assert decode(split(body, seed), dialect=Decoder).plain() == decode([body], dialect=Decoder).plain()


async def test_it_asks_over_http_what_it_should() -> None:
    async with Egress() as egress, upstream(answer(*ANSWER)) as place:
        provider = Template(egress, fixed(endpoint(place.url)), Retries(first_wait=0))
        result = await ask(provider, request("Hello", tools=[ToolSpec("clock", "The time.", {})]))
    assert (result.error, result.text()) == (None, "Good evening")
    (asked,) = place.requests
    assert asked.json() == {
        "model": "gpt-test",
        "system": "",
        "turns": [{"role": "user", "parts": [{"text": "Hello"}]}],
        "tools": [{"name": "clock", "about": "The time.", "input": {}}],
    }


def test_what_the_page_shows_of_the_template_stands_in_it() -> None:
    page = (ROOT / "docs" / "adapters.md").read_text("utf-8")
    source = Path(__file__).with_name("dialect.py").read_text("utf-8")
    blocks = [block.partition("```")[0] for block in page.split("```python\n")[1:]]
    assert len(blocks) >= 2
    assert [block for block in blocks if block not in source] == []
