"""Frames as projections get them."""

from collections.abc import Mapping

from porch.contract.events import AnyEvent
from porch.contract.frames import resync_frame, split_frames
from porch.faces.projection import Projection, Resync, project, read_frames
from tests.faces.journals import CANCELLED, FAILED, STARTED, everything, frames

UNKNOWN = b'id: 1-9\nevent: from.tomorrow\ndata: {"type":"from.tomorrow","v":9}\n\n'


class Spelled:
    """Says what it is given, for these tests."""

    media_type = "text/plain"
    headers: Mapping[str, str] = {}

    def feed(self, event: AnyEvent) -> bytes:
        return f"{event.seq} ".encode()

    def forget(self, keep_through: int) -> bytes:
        return b"forget %d " % keep_through

    def keep_alive(self) -> bytes:
        return b"alive "

    def cut(self) -> bytes:
        return b"cut "


def test_frames_are_events_resyncs_and_keep_alives() -> None:
    data = frames([STARTED]) + b": keep-alive\n\n" + UNKNOWN + resync_frame("takeover", 5)
    event, alive, resync = read_frames(data)
    assert isinstance(event, type(STARTED))
    assert (event.seq, event.epoch, event.conversation) == (1, 1, "conv_0")
    assert alive is None
    assert resync == Resync("takeover", 5)


def test_the_run_with_everything_and_the_other_endings_have_every_type_of_event() -> None:
    types = {type(event) for event in (*everything(), FAILED, CANCELLED)}
    assert types == set(AnyEvent.__args__)


class Kept(Spelled):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []

    def feed(self, event: AnyEvent) -> bytes:
        self.events.append(event)
        return super().feed(event)


def test_a_frame_alone_says_what_it_does_in_a_row() -> None:
    told = (*everything(), FAILED, CANCELLED)
    alone, row = Kept(), Kept()
    said = b"".join(project(alone, frame) for frame in split_frames(frames(told)))
    assert said == project(row, frames(told))
    assert alone.events == row.events
    assert [type(event) for event in row.events] == [type(event) for event in told]
    assert project(alone, UNKNOWN) == b""


def test_every_event_of_a_run_is_read() -> None:
    assert [type(event) for event in read_frames(frames(everything()))] == [type(e) for e in everything()]


def test_a_takeover_is_forgotten_and_an_overflow_is_a_cut() -> None:
    projection: Projection = Spelled()
    data = frames([STARTED]) + resync_frame("takeover", 1) + b": keep-alive\n\n" + resync_frame("overflow", 1)
    assert project(projection, data) == b"1 forget 1 alive cut "
