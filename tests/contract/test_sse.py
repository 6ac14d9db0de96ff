"""Law 11: the same events for every split of the same bytes, in every way a line can end."""

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from porch.contract.sse import BOM, ServerSentEvent, SseDecoder, StreamTooLarge

SAMPLE = (
    b": hello\n\n"
    b'data: {"a":1}\n\n'
    b"event: part.started\nid: 1-3\ndata: one\ndata:two\ndata\n\n"
    b"retry: 5\nid: 9\n\n"
    b"data:\n\n\n\n"
    b"data:  a leading space stays\n\n"
    b"data: \xc3\xa4\xf0\x9f\x8c\xbf\n\n"
    b"data: [DONE]"
)
EVENTS = [
    ServerSentEvent("message", b'{"a":1}'),
    ServerSentEvent("part.started", b"one\ntwo\n", "1-3"),
    ServerSentEvent("message", b""),
    ServerSentEvent("message", b" a leading space stays"),
    ServerSentEvent("message", "ä🌿".encode()),
    ServerSentEvent("message", b"[DONE]"),
]


class Read(NamedTuple):
    events: list[ServerSentEvent]
    too_large: bool


def read(data: bytes, cuts: list[int] | range = range(0), *, max_bytes: int = 1 << 20) -> Read:
    """Everything that comes of these bytes when they arrive in pieces."""
    decoder, events = SseDecoder(max_bytes=max_bytes), list[ServerSentEvent]()
    places = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    try:
        for start, end in pairwise(places):
            events += decoder.feed(data[start:end])
        return Read(events + decoder.finish(), too_large=False)
    except StreamTooLarge:
        return Read(events, too_large=True)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("start", [b"", BOM], ids=["plain", "BOM"])
@given(cuts=st.lists(st.integers(0, 400), max_size=8))
def test_the_same_events_for_every_split(line_end: bytes, start: bytes, cuts: list[int]) -> None:
    data = start + SAMPLE.replace(b"\n", line_end)
    assert read(data, cuts) == Read(EVENTS, too_large=False)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_the_same_events_for_single_bytes(line_end: bytes) -> None:
    data = BOM + SAMPLE.replace(b"\n", line_end)
    assert read(data, range(len(data))).events == EVENTS


# Bytes that matter to the decoder, in every order: what nobody thought of.
alphabet = st.sampled_from(
    [b"\n", b"\r", b"\r\n", b"\n\n", b":", b": c\n\n", b" ", b"data", b"data: ", b"a", b"event: x", b"id: 1"]
)
anything = st.lists(alphabet, max_size=24).map(b"".join)


@given(anything, st.lists(st.integers(0, 100), max_size=6))
@example(b"data: a\r\r\ndata: b", [8])
@example(b"\xef\xbb", [1])
def test_any_bytes_give_the_same_events_however_they_arrive(data: bytes, cuts: list[int]) -> None:
    assert read(data, cuts) == read(data)


@given(anything, st.lists(st.integers(0, 100), max_size=6), st.integers(1, 12))
def test_a_cap_holds_for_every_split_and_what_came_before_it_is_handed_out(
    data: bytes, cuts: list[int], cap: int
) -> None:
    whole, pieces = read(data, max_bytes=cap), read(data, cuts, max_bytes=cap)
    assert pieces == whole
    assert all(len(event.data) <= cap for event in whole.events)


def test_an_endless_event_is_refused_before_it_ends() -> None:
    decoder = SseDecoder(max_bytes=1000)
    assert decoder.feed(b"data: first\n\ndata: ") == [ServerSentEvent("message", b"first")]
    assert decoder.feed(b"a" * 995) == []
    with pytest.raises(StreamTooLarge):
        decoder.feed(b"aa")


@given(st.binary(max_size=40).filter(lambda data: not {10, 13} & set(data)), st.booleans())
def test_the_short_way_for_tokens_says_what_the_long_one_does(data: bytes, begun: bool) -> None:
    chunk = b"data: " + data + b"\n\n"
    short, long = SseDecoder(), SseDecoder()
    if begun:
        short.feed(b": begun\n\n")
        long.feed(b": begun\n\n")
    found = short.single(chunk)
    assert (found is None) == (not begun)
    assert long.feed(chunk) == [ServerSentEvent("message", data)]
    assert found in (None, data)


PLAIN = st.binary(max_size=12).filter(lambda data: not {10, 13} & set(data))


@given(PLAIN, PLAIN, st.sampled_from([b"", b"\n", b"\n\n", b"\r\n\r\n", b"\n\ndata: x\n\n"]))
def test_the_short_way_takes_a_name_only_with_the_ending_that_was_asked_for(
    name: bytes, data: bytes, end: bytes
) -> None:
    short, long = SseDecoder(), SseDecoder()
    short.feed(b": begun\n\n")
    chunk = b"event: " + name + b"\ndata: " + data + end
    found = short.single(chunk, b"delta")
    assert short.single(chunk) is None
    assert (found is not None) == (end == b"\n\n" and (b"event: " + name).endswith(b"delta"))
    if found is not None:
        assert [event.data for event in long.feed(chunk)] == [found]


def test_the_short_way_takes_nothing_while_an_event_is_half_here() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: a\n\ndata: ") == [ServerSentEvent("message", b"a")]
    assert decoder.single(b"data: b\n\n") is None
    assert decoder.feed(b"data: b\n\n") == [ServerSentEvent("message", b"data: b")]


def test_the_short_way_takes_nothing_over_the_cap() -> None:
    decoder = SseDecoder(max_bytes=10)
    decoder.feed(b":\n\n")
    assert decoder.single(b"data: abcdefgh\n\n") is None
    assert decoder.single(b"data: ab\n\n") == b"ab"


@pytest.mark.parametrize("name", [b"x", b" x ", b"a:b", b"", b"\xff"])
@pytest.mark.parametrize("data", [b"{}", b" {}", b""])
def test_a_name_and_its_data_in_two_lines_say_what_they_do_line_by_line(name: bytes, data: bytes) -> None:
    two = b"event: " + name + b"\ndata: " + data
    assert read(two + b"\n\n") == read(b":\n" + two + b"\n\n")


def test_a_field_named_error_is_an_event_of_that_name() -> None:
    assert read(b'error: {"code":500}\n\ndata: x\n\n').events == [
        ServerSentEvent("error", b'{"code":500}'),
        ServerSentEvent("message", b"x"),
    ]


COMMENTS = st.lists(
    st.sampled_from(
        [b": x", b":", b"\n: x", b": a\n: b", b"", b"data: 1", b": c\ndata: 2", b"data: 3\n: d\ndata: 4"]
    ),
    max_size=12,
)


@given(COMMENTS, st.lists(st.integers(0, 200), max_size=6))
def test_comments_anywhere_change_nothing(blocks: list[bytes], cuts: list[int]) -> None:
    silent = b"".join(block + b"\n\n" for block in blocks)
    spoken = b"".join(
        b"\n".join(line for line in block.split(b"\n") if line[:1] != b":") + b"\n\n" for block in blocks
    )
    assert read(silent, cuts) == read(spoken)


def test_a_flood_of_comments_is_not_looked_at_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bytes] = []
    look = SseDecoder._parse_block  # pyright: ignore[reportPrivateUsage]  # what costs is how often it is asked

    def count(decoder: SseDecoder, block: bytes, events: list[ServerSentEvent]) -> None:
        looked.append(block)
        look(decoder, block, events)

    monkeypatch.setattr(SseDecoder, "_parse_block", count)
    flood = b": x\n\n" * 1000
    decoder = SseDecoder()
    told = [ServerSentEvent("message", b"1")]
    assert decoder.feed(flood) == []
    assert decoder.feed(flood[:-3]) == []
    assert decoder.feed(b"x\n\n" + flood + b"data: 1\n\n" + flood + b": ha") == told
    assert decoder.feed(b"lf\n\n" + flood.replace(b"\n", b"\r\n") + b"data: 1\r\n\r\n") == told
    assert decoder.feed(b"data: 1\n\n" + flood) == told
    assert len(looked) <= 1


def test_what_waits_for_its_end_is_counted() -> None:
    decoder = SseDecoder()
    decoder.feed(b"data: 1\n\ndata")
    assert decoder.held == 4
    decoder.feed(b": 2\n\n")
    assert decoder.held == 0
