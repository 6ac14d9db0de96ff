"""What decoding a provider's stream and encoding its events costs, as microseconds an event and as ratios.

`python -m benchmarks.decode [--tokens N] [--rounds N]`. One token travels in each read, as from a slow model;
or 64 of them, as from a fast one. The floor is msgspec alone: one typed decode of the
chunk's JSON and one encode of the event.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks.rounds import FLOOR, measure, report
from porch.contract.events import StreamChunk, encode_event
from porch.contract.frames import Framer
from porch.contract.sse import SseDecoder
from porch.providers.assembly import Assembly
from porch.providers.chat_completions.decoder import Decoder
from porch.providers.chat_completions.wire import Chunk
from porch.providers.endpoint import Endpoint
from porch.providers.failures import Asked
from porch.providers.messages.decoder import Decoder as MessagesDecoder
from porch.providers.reader import AnswerReader
from porch.providers.request import StepOutcome
from porch.providers.responses.decoder import Decoder as ResponsesDecoder

Work = Callable[[list[bytes]], int]
Dialect = Callable[[Assembly, StepOutcome, Asked], AnswerReader]
RUN = b"run_01a2048982887e59879b97c309235708"
PADDING = "x8Kq2LmT4vWz9bN"
"""OpenAI's padding, of another length in each chunk."""
ASKED = Asked(Endpoint("Benchmark", "http://localhost"), "model")


def payload(number: int, name: str = "content", identifier: str = "CkA1nUhoHB7Ym5FYy6VZ1AyZzbrHJ") -> bytes:
    """A chunk as OpenAI sends it; `name` is the member that holds its words."""
    return json.dumps(
        {
            "id": f"chatcmpl-{identifier}",
            "object": "chat.completion.chunk",
            "created": 1765000000,
            "model": "gpt-4o-mini-2024-07-18",
            "service_tier": "default",
            "system_fingerprint": "fp_50906f2aac",
            "choices": [
                {"index": 0, "delta": {name: f" word{number}"}, "logprobs": None, "finish_reason": None}
            ],
            "usage": None,
            "obfuscation": PADDING[: 1 + number % 15],
        },
        separators=(",", ":"),
    ).encode()


def event(data: bytes) -> bytes:
    """A server-sent event without a name."""
    return b"data: " + data + b"\n\n"


def message_start() -> bytes:
    """The beginning of an answer in Messages."""
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    return b"event: content_block_start\ndata: " + json.dumps(block).encode() + b"\n\n"


def message_delta(number: int) -> bytes:
    """An event as Anthropic sends it."""
    delta = {"type": "text_delta", "text": f" word{number}"}
    event = {"type": "content_block_delta", "index": 0, "delta": delta}
    data = json.dumps(event, separators=(",", ":")).encode()
    return b"event: content_block_delta\ndata: " + data[:-1] + b" " * (number % 15) + b"}\n\n"


def response_delta(number: int) -> bytes:
    """An event as OpenAI sends it in Responses."""
    event: dict[str, Any] = {
        "type": "response.output_text.delta",
        "sequence_number": number + 4,
        "item_id": "msg_0ca0ba552749d18c0069414e6a4bd08197b70d83e91162dd13",
        "output_index": 1,
        "content_index": 0,
        "delta": f" word{number}",
        "logprobs": [],
        "obfuscation": PADDING[: 1 + number % 15],
    }
    data = json.dumps(event, separators=(",", ":")).encode()
    return b"event: response.output_text.delta\ndata: " + data + b"\n\n"


def msgspec_alone(payloads: list[bytes]) -> int:
    """The floor."""
    decode = msgspec.json.Decoder(Chunk).decode
    for data in payloads:
        choices: Any = decode(data).choices
        encode_event(StreamChunk(step="s1", part="s1p1", delta=choices[0].delta.content))
    return len(payloads)


def splitting(reads: list[bytes]) -> int:
    """Server-sent events out of bytes, nothing else."""
    sse = SseDecoder()
    return sum(len(sse.feed(data)) for data in reads)


def decoding(dialect: Dialect, begin: bytes = b"") -> Work:
    """Bytes to contract events."""

    def work(reads: list[bytes]) -> int:
        assembly = Assembly("s1", max_characters=1 << 40)
        decoder = dialect(assembly, StepOutcome(), ASKED)
        decoder.feed(begin)
        events = 0
        for data in reads:
            decoder.feed(data)
            events += len(assembly.take())
        return events

    return work


def decoding_and_framing(dialect: Dialect, begin: bytes = b"") -> Work:
    """Bytes to contract events to the frames that are sent and journaled."""

    def work(reads: list[bytes]) -> int:
        assembly = Assembly("s1", max_characters=1 << 40)
        decoder = dialect(assembly, StepOutcome(), ASKED)
        decoder.feed(begin)
        seq, framer = 0, Framer(RUN, 1)
        for data in reads:
            decoder.feed(data)
            now = time.time_ns()
            events = assembly.take()
            if len(events) == 1:
                framer.frame(events[0], seq + 1, now)
            else:
                framer.frames(events, seq + 1, now)
            seq += len(events)
        return seq

    return work


def coalesced(frames: list[bytes]) -> list[bytes]:
    """The same frames, many to a read."""
    return [b"".join(frames[at : at + 64]) for at in range(0, len(frames), 64)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    numbers = range(options.tokens)
    payloads = [payload(number) for number in numbers]
    frames = [event(data) for data in payloads]
    thoughts = [event(payload(number, "reasoning_content")) for number in numbers]
    unlike = [event(payload(number, identifier=f"{number:029}")) for number in numbers]
    messages = [message_delta(number) for number in numbers]
    begin = message_start()
    responses = [response_delta(number) for number in numbers]
    works: dict[str, tuple[Work, list[bytes]]] = {
        FLOOR: (msgspec_alone, payloads),
        "splitting alone": (splitting, frames),
        "Chat Completions: decode": (decoding(Decoder), frames),
        "  decode + frame": (decoding_and_framing(Decoder), frames),
        "  64 in a read": (decoding_and_framing(Decoder), coalesced(frames)),
        "  thoughts": (decoding_and_framing(Decoder), thoughts),
        "  no two chunks alike": (decoding_and_framing(Decoder), unlike),
        "Messages: decode": (decoding(MessagesDecoder, begin), messages),
        "  decode + frame ": (decoding_and_framing(MessagesDecoder, begin), messages),
        "  64 in a read ": (decoding_and_framing(MessagesDecoder, begin), coalesced(messages)),
        "Responses: decode": (decoding(ResponsesDecoder), responses),
        "  decode + frame  ": (decoding_and_framing(ResponsesDecoder), responses),
        "  64 in a read  ": (decoding_and_framing(ResponsesDecoder), coalesced(responses)),
    }
    report(measure(works, len(payloads), options.rounds))


if __name__ == "__main__":
    main()
