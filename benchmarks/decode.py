"""What decoding a provider's stream and encoding its events costs, as microseconds an event and as ratios.

`python benchmarks/decode.py [--tokens N] [--rounds N]`. One token travels in each read, as from a slow model;
"coalesced" reads 64 tokens at a time, as from a fast one. The floor is msgspec alone: one typed decode of the
chunk's JSON and one encode of the event. Best round of each.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec

from porch.contract.events import StreamChunk, encode_event
from porch.contract.frames import encode_frame
from porch.contract.sse import SseDecoder
from porch.providers.assembly import Assembly
from porch.providers.chat_completions.decoder import Decoder
from porch.providers.chat_completions.wire import Chunk
from porch.providers.endpoint import Endpoint
from porch.providers.failures import Asked
from porch.providers.request import StepOutcome

Work = Callable[[list[bytes]], int]
RUN = b"run_01a2048982887e59879b97c309235708"
ASKED = Asked(Endpoint("Benchmark", "http://localhost"), "model")


def payload(number: int) -> bytes:
    """A chunk as OpenAI sends it."""
    return json.dumps(
        {
            "id": "chatcmpl-CkA1nUhoHB7Ym5FYy6VZ1AyZzbrHJ",
            "object": "chat.completion.chunk",
            "created": 1765000000,
            "model": "gpt-4o-mini-2024-07-18",
            "service_tier": "default",
            "system_fingerprint": "fp_50906f2aac",
            "choices": [
                {"index": 0, "delta": {"content": f" word{number}"}, "logprobs": None, "finish_reason": None}
            ],
            "usage": None,
            "obfuscation": "x8Kq2Lm",
        },
        separators=(",", ":"),
    ).encode()


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


def decoding(reads: list[bytes]) -> int:
    """Bytes to contract events."""
    assembly = Assembly("s1", max_characters=1 << 40)
    decoder = Decoder(assembly, StepOutcome(), ASKED)
    events = 0
    for data in reads:
        decoder.feed(data)
        events += len(assembly.take())
    return events


def decoding_and_framing(reads: list[bytes]) -> int:
    """Bytes to contract events to the frames that are sent and journaled."""
    assembly = Assembly("s1", max_characters=1 << 40)
    decoder = Decoder(assembly, StepOutcome(), ASKED)
    seq = 0
    for data in reads:
        decoder.feed(data)
        now = time.time_ns()
        for event in assembly.take():
            seq += 1
            encode_frame(event, RUN, 1, seq, now)
    return seq


def measure(works: dict[str, tuple[Work, list[bytes]]], events: int, rounds: int) -> dict[str, float]:
    """Microseconds an event for each, the best of many short interleaved rounds: other load is left out."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, (work, reads) in works.items():
            started = time.perf_counter()
            work(reads)
            best[name] = min(best[name], time.perf_counter() - started)
    return {name: seconds / events * 1e6 for name, seconds in best.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    payloads = [payload(number) for number in range(options.tokens)]
    frames = [b"data: " + data + b"\n\n" for data in payloads]
    joined = [b"".join(frames[at : at + 64]) for at in range(0, len(frames), 64)]
    works: dict[str, tuple[Work, list[bytes]]] = {
        "msgspec alone": (msgspec_alone, payloads),
        "splitting": (splitting, frames),
        "decode, one token a read": (decoding, frames),
        "decode + frame, one token a read": (decoding_and_framing, frames),
        "decode + frame, coalesced": (decoding_and_framing, joined),
    }
    costs = measure(works, len(payloads), options.rounds)
    for name, cost in costs.items():
        print(f"{name:<36}{cost:6.2f} us an event, {cost / costs['msgspec alone']:4.1f} times msgspec alone")


if __name__ == "__main__":
    main()
