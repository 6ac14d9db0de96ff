"""What telling a run in a client's protocol costs, as microseconds an event and as ratios.

`python -m benchmarks.projections [--tokens N] [--rounds N]`. The frames are those of the journal, one token in each
push, as live readers get them. A projection's figure is all that it adds to a stream that would hand on the frame as
it is: finding the event in it, decoding, and encoding it anew. Decoding the event is told alone too, and the floor is
the one of `benchmarks.decode`, of the same run.
"""

import argparse
from collections.abc import Callable
from typing import Any

from benchmarks.decode import msgspec_alone, payload
from benchmarks.rounds import FLOOR, measure, report
from porch.contract.events import (
    AnyEvent,
    PartFinished,
    PartStarted,
    RunStarted,
    StepStarted,
    StreamChunk,
    decode_event,
)
from porch.contract.frames import encode_frame, frame_data
from porch.faces.ag_ui.projection import AgUi
from porch.faces.ai_sdk.projection import UiMessageStream
from porch.faces.openai.chat_stream import ChatChunks
from porch.faces.openai.response_stream import ResponseEvents
from porch.faces.projection import Projection, project

RUN = b"run_01a2048982887e59879b97c309235708"


def journal(tokens: int) -> list[bytes]:
    """A run of one long part, a frame each."""
    words = [f" word{number}" for number in range(tokens)]
    events: list[AnyEvent] = [
        RunStarted(agent="@a/b", version=1, workspace="a", conversation="conv_0", message="msg_0"),
        StepStarted(step="s1", model="scripted:test"),
        PartStarted(step="s1", part="s1p1", kind="text"),
        *(StreamChunk(step="s1", part="s1p1", delta=word) for word in words),
        PartFinished(step="s1", part="s1p1", kind="text", value="".join(words)),
    ]
    return [encode_frame(event, RUN, 1, seq, seq * 1_000_000) for seq, event in enumerate(events, 1)]


def read(frames: list[bytes]) -> None:
    """Decoding and nothing else."""
    for frame in frames:
        decode_event(frame_data(frame))


def tell(make: Callable[[], Projection]) -> Callable[[list[bytes]], None]:
    """A projection at work."""

    def run(frames: list[bytes]) -> None:
        projection = make()
        for frame in frames:
            project(projection, frame)

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    frames = journal(options.tokens)
    works: dict[str, tuple[Callable[[Any], object], Any]] = {
        FLOOR: (msgspec_alone, [payload(number) for number in range(len(frames))]),
        "decoding the event alone": (read, frames),
        "Chat Completions": (tell(lambda: ChatChunks(())), frames),
        "Responses": (tell(lambda: ResponseEvents((), {})), frames),
        "AG-UI": (tell(lambda: AgUi("thread", "run")), frames),
        "AI SDK UI message stream": (tell(UiMessageStream), frames),
    }
    report(measure(works, len(frames), options.rounds))


if __name__ == "__main__":
    main()
