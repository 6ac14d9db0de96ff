"""The mould of a stream's chunks: what fits it says what it would say if every member of it were read."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from porch.contract.events import PartKind
from porch.contract.sse import SseDecoder
from porch.providers.chat_completions import decoder, mould
from porch.providers.chat_completions.decoder import Decoder
from porch.providers.chat_completions.mould import Mould, Moulds, find_mould
from porch.providers.chat_completions.wire import decode_text, said_alone
from tests.providers.decoding import decode, split
from tests.providers.test_chat_completions_decoder import frame

Delta = dict[str, Any]


class Careful(Decoder):
    """Without a mould, or any other short way."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._tries = 0
        self._moulds = Moulds(0)


def chunk(delta: Delta | str, padding: str | None = None, **more: Any) -> dict[str, Any]:
    said = {"content": delta} if isinstance(delta, str) else delta
    choice = {"index": 0, "delta": said, "finish_reason": None}
    rest = {} if padding is None else {"obfuscation": padding}
    return {"id": "a", "model": "m", "choices": [choice], "usage": None} | more | rest


def wire(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


PLAIN, PADDED, SPACED = wire(chunk("Hi")), wire(chunk("Hi", "x8K")), json.dumps(chunk("Hi")).encode()
THOUGHT = wire(chunk({"content": None, "reasoning_content": "Hi"}))
MODELS: dict[bytes, PartKind] = {
    **dict.fromkeys((PLAIN, PADDED, SPACED), "text"),
    **dict.fromkeys((THOUGHT, wire(chunk({"reasoning": "Hi", "content": ""}, "x8K"))), "reasoning"),
}


def mould_of(model: bytes) -> Mould:
    mould = find_mould(model, MODELS[model])
    assert mould is not None
    assert mould.kind == MODELS[model]
    return mould


@given(st.text(min_size=1, max_size=20), st.sampled_from(["a", "x8Kq2Lm"]), st.sampled_from(list(MODELS)))
def test_all_words_fit_and_so_does_padding_of_any_length(text: str, padding: str, model: bytes) -> None:
    mould = mould_of(model)
    data = model.replace(b'"Hi"', msgspec.json.encode(text)).replace(b"x8K", padding.encode())
    event = b"data: " + data
    assert mould.event(event) == mould.read(event + b"\n\n") == said_alone(data, mould.kind) == text
    assert mould.read(event) is mould.event(event + b"\n\n") is mould.read(event + b"\n") is None


PIECES = st.sampled_from(
    [b'"', b"\\", b'\\"', b"\n", b"\r", b"}", b'","', b'"content":"x",', b"\xff", b"\\u0000"]
)
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), PIECES | st.binary(max_size=3)), max_size=3)


@given(st.sampled_from(list(MODELS)), st.text(min_size=1, max_size=6), EDITS)
def test_whatever_fits_is_one_event_and_says_the_same_when_it_is_read_as_a_whole(
    model: bytes, text: str, edits: list[tuple[float, int, bytes]]
) -> None:
    mould = mould_of(model)
    event = b"data: " + model.replace(b'"Hi"', msgspec.json.encode(text))
    for at, gone, piece in edits:
        here = int(at * len(event))
        event = event[:here] + piece + event[here + gone :]
    words = mould.event(event)
    assert mould.read(event + b"\n\n") == words
    if not words:
        assert edits
    else:
        (found,) = SseDecoder().feed(event + b"\n\n")
        assert (found.event, found.id) == ("message", None)
        assert said_alone(found.data, mould.kind) == words


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b'{"choices":[{"delta":{"content":"Hi","content":"Hi"}}]}', "text"),
        (b'{"message":{"content":"Hi"},"choices":[{"delta":{"content":"Hi"}}]}', "text"),
        (b'{"a":"\\"content\\":\\"Hi\\"","choices":[{"delta":{"content" : "Hi"}}]}', "text"),
        (b'{"a":1,\n"choices":[{"delta":{"content":"Hi"}}]}', "text"),
        (b'{"a":"' + b"a" * 5000 + b'","choices":[{"delta":{"content":"Hi"}}]}', "text"),
        (b'{"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}', "text"),
        (b'{"choices":[{"delta":{"content":""}}]}', "text"),
        (b'{"choices":[{"delta":{"content":"Hi"}}]}', "reasoning"),
        (b'{"choices":[{"delta":{"reasoning":"Hi"}}]}', "text"),
        (b'{"choices":[{"delta":{"reasoning":"Hi","content":"Ho"}}]}', "reasoning"),
        (b'{"choices":[{"delta":{"reasoning":"Hi","reasoning_content":"Hi"}}]}', "reasoning"),
        (b'{"choices":[{"delta":{"reasoning":"Hi","reasoning_details":[{}]}}]}', "reasoning"),
        (b'{"choices":[{"delta":{"refusal":"Hi"}}]}', "refusal"),
    ],
)
def test_a_chunk_that_leaves_a_doubt_is_no_mould(data: bytes, kind: PartKind) -> None:
    assert find_mould(data, kind) is None


@pytest.mark.parametrize("padding", [b"", b'a"b', b"a\\", b'","error":"x', b"\xc3\xbc", b"a b"])
def test_padding_is_letters_and_digits_alone(padding: bytes) -> None:
    mould = mould_of(PADDED)
    assert mould.event(b"data: " + PADDED.replace(b"x8K", b"9zZ")) == "Hi"
    assert mould.event(b"data: " + PADDED.replace(b"x8K", padding)) is None


SAID = [{"content": "{}"}, {"content": None, "reasoning_content": "{}"}, {"content": "", "reasoning": "{}"}]
STOP = frame({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("padding", [None, "abc"])
@pytest.mark.parametrize("at_once", [1, 7])
def test_a_stream_is_looked_at_only_where_its_mould_changes(
    said: Delta, padding: str | None, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bytes] = []

    def counted(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        def look(data: bytes) -> Any:
            looks.append(data)
            return read(data)

        return look

    for name in ("decode_text", "decode_ascii"):
        monkeypatch.setattr(decoder, name, counted(getattr(decoder, name)))
    words = [f"{at} " for at in range(140)]
    deltas = [{name: text and text.format(word) for name, text in said.items()} for word in words]
    frames = [frame(chunk(delta, padding, created=at // 70)) for at, delta in enumerate(deltas)]
    result = decode([*(b"".join(frames[at : at + at_once]) for at in range(0, 140, at_once)), STOP])
    assert result.error is None
    assert result.text() + result.text("reasoning") == "".join(words)
    assert 0 < len(looks) < 6 * at_once + 8


def test_where_moulds_do_not_last_no_more_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []

    def find(data: bytes, _kind: PartKind) -> None:
        made.append(data)

    monkeypatch.setattr(mould, "find_mould", find)
    result = decode([*(frame(chunk("a", id=str(at))) for at in range(100)), STOP])
    assert (result.error, result.text()) == (None, "a" * 100)
    assert 0 < len(made) <= mould.MAX_MOULDS


def test_a_part_without_moulds_leaves_the_next_one_its_chances(monkeypatch: pytest.MonkeyPatch) -> None:
    thought = {
        "content": "",
        "reasoning": "Hm",
        "reasoning_details": [{"type": "reasoning.text", "text": "Hm"}],
    }
    looks: list[bytes] = []

    def look(data: bytes) -> Any:
        looks.append(data)
        return decode_text(data)

    monkeypatch.setattr(decoder, "decode_text", look)
    frames = [*([frame(chunk(thought))] * 20), *(frame(chunk(f"{at} ")) for at in range(40)), STOP]
    result = decode(frames)
    assert (result.error, result.text("reasoning")) == (None, "Hm" * 20)
    assert 0 < len(looks) < 10


LONG = frame(chunk("x" * 600, "xy"))
REMARKED = b": comment\n" + frame(chunk("c", "xy"))
REMARKED_LATE = frame(chunk("d", "xy"))[:-1] + b": comment\n\n"
LAST = frame(chunk("e", "xy"))[:-2] + b"[DONE]\n\n"
WONDER, PONDER = frame(chunk({"reasoning": "Hm"}, "x")), frame(chunk({"reasoning": "Oh"}, "xyz"))
CALL = {"index": 0, "function": {"name": "f"}}
ODD = [
    *(LONG, REMARKED, REMARKED_LATE, LAST, STOP),
    *(frame(chunk("")), frame(chunk("new", id="b")), frame(chunk("\x00\ud83d"))),
    *(frame(chunk({"tool_calls": [CALL]})), frame({"error": {"message": "gone", "code": 503}})),
    *(b": comment\n\n", b"\n", b"\r\n\r\n", b"data: [DONE]\n\n", b"event: error\n", b"data: {}"),
]
TEXT = frame(chunk("t", "xy"))
USUAL = st.sampled_from([TEXT, frame(chunk("ü", "x")), frame(chunk("\ud83d", "xyz")), WONDER, PONDER])


@settings(max_examples=60)
@given(
    st.lists(USUAL | USUAL | USUAL | st.sampled_from(ODD), max_size=24),
    st.integers(1, 6),
    st.integers(0, 2**32),
    st.sampled_from([500, 1 << 20]),
)
@example([LONG, TEXT], 1, 0, 500)
@example([REMARKED, REMARKED, TEXT], 3, 0, 1 << 20)
@example([REMARKED_LATE, REMARKED_LATE, TEXT], 2, 0, 1 << 20)
@example([LAST, TEXT], 1, 0, 1 << 20)
@example([TEXT[:20], TEXT], 1, 0, 1 << 20)
@example([TEXT + TEXT[:-1], b"data: x\n\n"], 1, 0, 1 << 20)
@example([WONDER, TEXT], 1, 0, 1 << 20)
@example([WONDER, PONDER, PONDER, TEXT, PONDER], 1, 0, 1 << 20)
def test_a_stream_says_the_same_with_moulds_and_without_however_it_is_read(
    frames: list[bytes], at_once: int, seed: int, most: int
) -> None:
    begin = [frame(chunk("a", "x")), frame(chunk("b", "xyz"))]
    frames = begin + frames
    run = partial(decode, max_frame_bytes=most)
    whole = run([b"".join(frames)], dialect=Careful).plain()
    reads = [b"".join(frames[at : at + at_once]) for at in range(0, len(frames), at_once)]
    assert run(frames).plain() == whole
    assert run(reads).plain() == whole
    assert run([*begin, *split(b"".join(frames[2:]), seed)]).plain() == whole
