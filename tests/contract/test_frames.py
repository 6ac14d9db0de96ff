"""Events on the wire: what is stamped, framed and cut apart comes back as it was."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from porch.contract.errors import InvalidInput
from porch.contract.events import TYPES, Event, Notice, StreamChunk, decode_event
from porch.contract.frames import (
    MAX_SEQ,
    Cursor,
    Framer,
    encode_frame,
    frame_data,
    resync_frame,
    split_frames,
    timestamp,
)
from porch.contract.ids import new_id
from porch.contract.sse import SseDecoder
from tests.contract.strategies import CLASSES, events

NOW = 1_700_000_000_123_456_789
positions = st.integers(1, 2**31)


@given(events, positions, positions)
def test_an_event_comes_back_with_its_envelope_and_nothing_else_changed(
    event: Any, epoch: int, seq: int
) -> None:
    run = new_id("run")
    back = decode_event(frame_data(encode_frame(event, run.encode(), epoch, seq, NOW)))
    when = datetime(2023, 11, 14, 22, 13, 20, 123_000, UTC)
    assert back == msgspec.structs.replace(event, v=1, run=run, epoch=epoch, seq=seq, ts=when)


@given(st.lists(events, max_size=5))
def test_frames_joined_and_split_again_are_the_same_bytes(many: list[Any]) -> None:
    frames = [encode_frame(event, b"run_1", 1, seq, NOW) for seq, event in enumerate(many, 1)]
    assert split_frames(b"".join(frames)) == frames


@given(events, positions)
def test_a_frame_is_one_server_sent_event_that_names_its_place(event: Any, seq: int) -> None:
    (sent,) = SseDecoder().feed(encode_frame(event, b"run_1", 2, seq, NOW))
    assert sent.id == f"2-{seq}"
    assert sent.event == msgspec.json.decode(sent.data)["type"]
    assert decode_event(sent.data) is not None


def test_every_type_of_event_has_a_name_of_its_own() -> None:
    assert len(TYPES) == len(CLASSES)


def test_a_resync_frame_has_no_place_in_the_stream() -> None:
    (sent,) = SseDecoder().feed(resync_frame("takeover", 50))
    assert (sent.event, sent.id) == ("stream.resync", None)
    assert msgspec.json.decode(sent.data)["keep_through"] == 50


def test_an_event_of_a_later_version_is_skipped_and_its_new_fields_too() -> None:
    assert decode_event(b'{"v":1,"type":"run.dreamt","seq":1}') is None
    known = decode_event(b'{"v":1,"type":"stream.chunk","part":"p1","delta":"a","colour":"red"}')
    assert known == StreamChunk(v=1, part="p1", delta="a")


@pytest.mark.parametrize(
    "text", ["", "null", "[]", '{"v":1}', '{"type":"stream.chunk","part":1,"delta":"a"}']
)
def test_what_is_no_event_raises(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_event(text)


def test_a_framer_says_what_single_frames_say_whatever_comes_between() -> None:
    one, other = Framer(b"run_1", 1), Framer(b"run_2", 7)
    for seq in range(1, 12):
        event = StreamChunk(step="s1", part="p1", delta="a") if seq % 2 else Notice(code="x", text="y")
        now = NOW + seq * 300_000
        assert one.frame(event, seq, now) == encode_frame(event, b"run_1", 1, seq, now)
        assert other.frame(event, seq + 90, now) == encode_frame(event, b"run_2", 7, seq + 90, now)
        assert timestamp(now) in one.frame(event, seq, now)
        row = one.frames([event, event], seq, now)
        assert row == one.frame(event, seq, now) + one.frame(event, seq + 1, now)
    assert one.frames([], 1, NOW) == b""


CHUNKS = st.builds(
    StreamChunk,
    step=st.sampled_from([None, "s1", "s2"]),
    part=st.sampled_from(["p1", "p2", ""]),
    delta=st.text(max_size=4),
    ext=st.sampled_from([None, None, {}, {"a": 1}]),
)


@settings(max_examples=50)
@given(st.lists(CHUNKS | events, max_size=6))
def test_chunks_in_a_row_are_framed_as_each_would_be_alone(many: list[Any]) -> None:
    framer = Framer(b"run_1", 3)
    for seq, event in enumerate(many, 1):
        alone = encode_frame(event, b"run_1", 3, seq, NOW)
        assert framer.frame(event, seq, NOW) == alone
        assert frame_data(alone).endswith(b"," + msgspec.json.encode(event)[1:])


@given(st.integers(0, 4_102_444_800_000))
def test_a_timestamp_is_utc_with_milliseconds(milliseconds: int) -> None:
    text = timestamp(milliseconds * 1_000_000 + 999_999).decode()
    assert text.endswith("Z")
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    assert datetime.fromisoformat(text) == expected


@given(st.integers(0, 10**9 - 1), st.integers(0, 10**9 - 1))
def test_a_cursor_reads_what_it_writes(epoch: int, seq: int) -> None:
    assert Cursor.parse(str(Cursor(epoch, seq))) == Cursor(epoch, seq)


@given(st.text(max_size=30) | st.text("0123456789- +_", max_size=12))
def test_any_text_is_a_cursor_or_refused_with_an_example(text: str) -> None:
    digits = re.fullmatch(r"(\d+)-(\d+)", text.strip(), re.ASCII)
    if digits and max(map(int, digits.groups())) < MAX_SEQ:
        assert Cursor.parse(text) == tuple(map(int, digits.groups()))
    else:
        with pytest.raises(InvalidInput, match="such as 1-57"):
            Cursor.parse(text)


@pytest.mark.parametrize(
    "text", ["1", "-", "1-", "-1", "1--2", "1-2-3", "1.0-2", "٣-٤", "1-" + "9" * 30, "1-2\x00"]
)
def test_almost_a_cursor_is_none(text: str) -> None:
    with pytest.raises(InvalidInput):
        Cursor.parse(text)


def test_an_event_without_a_place_is_smaller_than_its_defaults() -> None:
    assert Event().seq == 0
    assert b"epoch" not in msgspec.json.encode(StreamChunk(part="p1", delta="a"))
