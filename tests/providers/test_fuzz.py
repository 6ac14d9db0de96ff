"""Good answers with something done to them, in all dialects.

Every split gives the same events, the short ways for plain text say what the long ones do, the laws hold, and no
error is raised but our own. `pytest -n0 -m long tests/providers` does it for as long as PORCH_TEST_FUZZ_EXAMPLES says
(20,000 for each dialect if it says nothing).
"""

import os
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from porch.providers.chat_completions.decoder import Decoder as ChatCompletions
from porch.providers.chat_completions.mould import Moulds
from porch.providers.messages.decoder import Decoder as Messages
from porch.providers.responses.decoder import Decoder as Responses
from tests.providers import messages
from tests.providers.decoding import decode, split
from tests.providers.test_chat_completions_decoder import frame

EXAMPLES = int(os.environ.get("PORCH_TEST_FUZZ_EXAMPLES") or 20_000)
WORDS = ("Good", " evening", "\u00fcber", "\U0001f600", '"\n', "\\")


def chat(delta: dict[str, Any], **more: Any) -> bytes:
    return frame(
        {
            "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": None, **more}],
            "usage": None,
        }
    )


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\n".encode() + frame({"type": kind} | fields)


CALL = {"index": 0, "id": "a", "function": {"name": "look", "arguments": '{"at"'}}
REST = {"index": 0, "function": {"arguments": ": 1}"}}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2}
BODIES = {
    ChatCompletions: [
        chat({"role": "assistant", "content": ""}),
        chat(
            {"reasoning": "Hm", "reasoning_details": [{"type": "reasoning.text", "text": "Hm", "index": 0}]}
        ),
        *(chat({"content": word}) for word in WORDS),
        chat({"tool_calls": [CALL]}),
        chat({"tool_calls": [REST]}),
        chat({}, finish_reason="stop"),
        frame({"model": "m", "choices": [], "usage": USAGE}),
        b"data: [DONE]\n\n",
    ],
    Messages: [
        messages.begin(),
        messages.start(0, "thinking", thinking=""),
        messages.delta(0, "thinking_delta", thinking="Hm"),
        messages.delta(0, "signature_delta", signature="c2ln"),
        messages.stop(0),
        messages.start(1, text=""),
        *(messages.delta(1, "text_delta", text=word) for word in WORDS),
        messages.PING,
        messages.stop(1),
        messages.call(2, "look", '{"at"', ": 1}"),
        messages.reason("tool_use"),
        messages.STOP,
    ],
    Responses: [
        event("response.created", response={"model": "m"}),
        event("response.output_item.added", output_index=0, item={"type": "message", "id": "msg"}),
        *(
            event("response.output_text.delta", output_index=0, content_index=0, item_id="msg", delta=word)
            for word in WORDS
        ),
        event("response.output_item.done", output_index=0, item={"type": "message", "id": "msg"}),
        event("response.output_item.added", output_index=1, item={"type": "function_call", "name": "look"}),
        event("response.function_call_arguments.delta", output_index=1, delta='{"at": 1}'),
        event("response.output_item.done", output_index=1, item={"type": "function_call", "name": "look"}),
        event("response.completed", response={"status": "completed", "usage": {"input_tokens": 1}}),
    ],
}
PIECES = (
    *(
        b"\n",
        b"\r\n",
        b"\n\n",
        b"\r",
        b"data: ",
        b"event: error\n",
        b": x\n\n",
        b"[DONE]",
        b"null",
        b"{}",
        b"[]",
    ),
    *(b"0", b'"', b"\\ud83d", b"\\u0000", b"\xff", b"\xc3", b'"error":{"message":"x"},', b'"content":"x",'),
    *(b'"index":1,', b"}{"),
)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["insert", "replace", "delete", "double", "move", "cut"]),
        st.floats(0, 1),
        st.floats(0, 1),
        st.sampled_from(PIECES) | st.binary(max_size=4),
    ),
    max_size=6,
)


class SlowChatCompletions(ChatCompletions):
    """Without the short ways."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._tries = 0
        self._moulds = Moulds(0)


class SlowMessages(Messages):
    """Without the short way for plain text."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._tries = 0


class SlowResponses(Responses):
    """Without the short way for plain text."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._tries = 0


SLOW: dict[Any, Any] = {
    ChatCompletions: SlowChatCompletions,
    Messages: SlowMessages,
    Responses: SlowResponses,
}
Change = tuple[str, float, float, bytes]


def changed(frames: list[bytes], changes: list[Change]) -> bytes:
    """The frames with the changes made: whole frames are deleted, doubled and moved, bytes inserted and replaced."""
    frames = list(frames)
    for kind, at, to, _ in changes:
        here, there = int(at * (len(frames) - 1)), int(to * (len(frames) - 1))
        if kind == "delete" and len(frames) > 1:
            del frames[here]
        elif kind == "double":
            frames.insert(there, frames[here])
        elif kind == "move":
            frames.insert(there, frames.pop(here))
    body = b"".join(frames)
    for kind, at, to, piece in changes:
        here = int(at * len(body))
        if kind in ("insert", "replace"):
            body = body[:here] + piece + body[here + (len(piece) if kind == "replace" else 0) :]
        elif kind == "cut":
            body = body[: int(max(at, to) * len(body))]
    return body


def check(dialect: Any, changes: list[Change], seed: int) -> None:
    body = changed(BODIES[dialect], changes)
    sealed = {} if dialect is Messages else {"seal": "x"}
    make: Any = partial(dialect, **sealed)
    slow: Any = partial(SLOW[dialect], **sealed)
    whole = decode([body], dialect=make).plain()
    assert decode(split(body, seed), dialect=make).plain() == whole
    assert decode([body], dialect=slow).plain() == whole
    reads = [read + b"\n\n" for read in body.split(b"\n\n")]
    reads[-1] = reads[-1][:-2]
    assert decode(reads, dialect=make).plain() == whole


@pytest.mark.parametrize("dialect", list(BODIES), ids=lambda dialect: dialect.__module__.split(".")[-2])
def test_the_unchanged_answer_is_a_good_one(dialect: Any) -> None:
    decoded = decode(BODIES[dialect], dialect=dialect)
    assert decoded.error is None
    assert decoded.text() == "".join(WORDS)
    assert [call.arguments for call in decoded.calls] == [{"at": 1}]
    check(dialect, [], 0)


@pytest.mark.parametrize("dialect", list(BODIES), ids=lambda dialect: dialect.__module__.split(".")[-2])
@settings(deadline=None, max_examples=60)
@given(CHANGES, st.integers(0, 2**32))
def test_an_answer_with_something_done_to_it_keeps_the_laws_at_every_split(
    dialect: Any, changes: list[Change], seed: int
) -> None:
    check(dialect, changes, seed)


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("dialect", list(BODIES), ids=lambda dialect: dialect.__module__.split(".")[-2])
@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(CHANGES, st.integers(0, 2**32))
def test_a_great_many_answers_keep_the_laws(dialect: Any, changes: list[Change], seed: int) -> None:
    check(dialect, changes, seed)


@pytest.mark.parametrize("dialect", list(BODIES), ids=lambda dialect: dialect.__module__.split(".")[-2])
def test_half_a_character_in_the_name_of_a_member_harms_nobody(dialect: Any) -> None:
    odd = b'data: {"type": "ping", "in\\ud83ddex": {"\\ude00": [{"\\ud83d": "\\ud83d"}]}, "choices": []}\n\n'
    decoded = decode([BODIES[dialect][0], odd, *BODIES[dialect][1:]], dialect=dialect)
    assert decoded.error is None
    assert decoded.text() == "".join(WORDS)


@pytest.mark.parametrize("depth", [100, 900, 5000, 200_000])
@pytest.mark.parametrize("dialect", list(BODIES), ids=lambda dialect: dialect.__module__.split(".")[-2])
def test_what_nests_without_end_is_survived_half_characters_and_all(dialect: Any, depth: int) -> None:
    deep = b'{"\\ud83d":' * depth + b"1" + b"}" * depth
    odd = b'data: {"type": "ping", "delta": ' + deep + b', "choices": ' + deep + b"}\n\n"
    decoded = decode(
        [BODIES[dialect][0], odd, *BODIES[dialect][1:]], dialect=dialect, max_frame_bytes=1 << 24
    )
    assert decoded.error is None or decoded.error.kind == "protocol"
